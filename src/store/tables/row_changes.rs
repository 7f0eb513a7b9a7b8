//! Row changes: which rows of the inventory an import or a disconnect changed.

use diesel::prelude::*;
use uuid::Uuid;

use super::versioned::ROWS_PER_INSERT;
use crate::domain::inventory::row_change::{ChangedVersions, RowChange, RowKind};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::row_changes;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = row_changes)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields have the names of the columns"
)]
struct Row {
    cause_id: String,
    row_id: String,
    kind: String,
    version_before: Option<i32>,
    version_after: Option<i32>,
}

impl Row {
    fn new(cause: Uuid, change: &RowChange) -> Self {
        let (version_before, version_after) = match change.versions {
            ChangedVersions::Added(after) => (None, Some(after)),
            ChangedVersions::Ended(before, after) => (Some(before), Some(after)),
            ChangedVersions::Cancelled(before) => (Some(before), None),
        };
        Self {
            cause_id: cause.to_string(),
            row_id: change.row.to_string(),
            kind: change.kind.as_str().to_owned(),
            version_before,
            version_after,
        }
    }
}

impl TryFrom<Row> for RowChange {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.kind.parse().map_err(StoreError::corrupt)?,
            row: Uuid::parse_str(&row.row_id).map_err(StoreError::corrupt)?,
            versions: match (row.version_before, row.version_after) {
                (None, Some(after)) => ChangedVersions::Added(after),
                (Some(before), Some(after)) => ChangedVersions::Ended(before, after),
                (Some(before), None) => ChangedVersions::Cancelled(before),
                (None, None) => {
                    return Err(StoreError::corrupt("a row change without a version"));
                }
            },
        })
    }
}

impl Tx<'_> {
    /// Records what a change did, under the id of its job or exclusion.
    pub fn insert_row_changes(
        &mut self,
        cause: Uuid,
        changes: &[RowChange],
    ) -> Result<(), StoreError> {
        for chunk in changes.chunks(ROWS_PER_INSERT) {
            let rows: Vec<Row> = chunk.iter().map(|change| Row::new(cause, change)).collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(row_changes::table).values(&rows).execute(c))
            })?;
        }
        Ok(())
    }

    /// What a change did, by row.
    pub fn row_changes_of(&mut self, cause: Uuid) -> Result<Vec<RowChange>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => row_changes::table
                .filter(row_changes::cause_id.eq(cause.to_string()))
                .order(row_changes::row_id)
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The recorded changes of one row, each with the id of the job or exclusion, oldest first.
    pub fn changes_of_row(&mut self, row: Uuid) -> Result<Vec<(Uuid, RowChange)>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => row_changes::table
                .filter(row_changes::row_id.eq(row.to_string()))
                .load::<Row>(c))
        })?;
        let mut changes = Vec::with_capacity(rows.len() + 1);
        for change in rows {
            let cause = Uuid::parse_str(&change.cause_id).map_err(StoreError::corrupt)?;
            changes.push((cause, RowChange::try_from(change)?));
        }
        if let Some(import) = self.staged_import_of(row)? {
            let added = RowChange {
                kind: RowKind::Delegation,
                row,
                versions: ChangedVersions::Added(1),
            };
            changes.push((import, added));
        }
        changes.sort_by_key(|(_, change): &(Uuid, RowChange)| change.versions.newest());
        Ok(changes)
    }
}
