//! Staged imports: delegations that are written over a time, in many transactions, and count from
//! one instant on. Their `sequence` says to which import they belong. As long as that is not
//! effective, no query returns them, except for those that ask whether numbers are free.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use uuid::Uuid;

use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::row_change::{ChangedVersions, RowChange, RowKind};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::{delegations, staged_imports};
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = staged_imports)]
struct Row {
    sequence: i64,
    import_id: String,
    heartbeat_at: Option<i64>,
    effective_at: Option<i64>,
    last_id: Option<String>,
}

/// An import whose rows are not effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedImport {
    /// Of all its rows.
    pub sequence: i64,
    pub import: Uuid,
    /// The last heartbeat of its process; `None` if it was given up.
    pub heartbeat_at: Option<Time>,
}

/// The condition that a delegation is not one of an import that is not effective.
macro_rules! not_staged {
    () => {
        $crate::store::schema::delegations::sequence.ne_all(
            $crate::store::schema::staged_imports::table
                .filter($crate::store::schema::staged_imports::effective_at.is_null())
                .select($crate::store::schema::staged_imports::sequence),
        )
    };
}
pub(super) use not_staged;

/// The same in SQL, for delegations `t`.
pub(super) const NOT_STAGED: &str = " AND t.sequence NOT IN \
    (SELECT i.sequence FROM staged_imports i WHERE i.effective_at IS NULL";

/// Deletes some of the rows of an import, in the order in which they were written.
const DELETE_STAGED: [&str; 2] = [
    "DELETE FROM delegations WHERE id IN (SELECT id FROM delegations \
     WHERE id > $1 AND sequence = $2 ORDER BY id LIMIT $3)",
    "DELETE FROM delegations WHERE id IN (SELECT id FROM delegations \
     WHERE id > ?1 AND sequence = ?2 ORDER BY id LIMIT ?3)",
];

impl Tx<'_> {
    /// Begins an import, and returns the sequence for its rows. They do not count until
    /// [`Tx::make_import_effective`].
    pub fn begin_staged_import(&mut self, import: Uuid, now: Time) -> Result<i64, StoreError> {
        let row = Row {
            sequence: self.next_change()?,
            import_id: import.to_string(),
            heartbeat_at: Some(now.timestamp()),
            effective_at: None,
            last_id: None,
        };
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(staged_imports::table).values(&row).execute(c))
        })?;
        Ok(row.sequence)
    }

    /// The imports that are not effective: those that are being staged, and those that failed.
    pub fn unfinished_imports(&mut self) -> Result<Vec<UnfinishedImport>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => staged_imports::table
                .filter(staged_imports::effective_at.is_null())
                .load::<Row>(c))
        })?;
        let unfinished = rows.into_iter().map(|row| {
            Ok(UnfinishedImport {
                sequence: row.sequence,
                import: Uuid::parse_str(&row.import_id).map_err(StoreError::corrupt)?,
                heartbeat_at: row.heartbeat_at.map(from_unix),
            })
        });
        unfinished.collect()
    }

    /// Records that the process of an import is alive. Returns whether the import may continue: not
    /// after it was given up.
    pub fn record_import_heartbeat(
        &mut self,
        sequence: i64,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.update_unfinished(sequence, Some(now), None)
    }

    /// From now on the rows of an import count. Returns whether the import had not been given up.
    pub fn make_import_effective(
        &mut self,
        sequence: i64,
        last: Uuid,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.update_unfinished(sequence, None, Some((now, last)))
    }

    fn update_unfinished(
        &mut self,
        sequence: i64,
        heartbeat: Option<Time>,
        effective: Option<(Time, Uuid)>,
    ) -> Result<bool, StoreError> {
        let changed = self.run(|connection| {
            on_either!(connection, c => diesel::update(staged_imports::table
                .find(sequence)
                .filter(staged_imports::heartbeat_at.is_not_null()))
                .set((
                    staged_imports::heartbeat_at.eq(heartbeat.map(|at| at.timestamp())),
                    staged_imports::effective_at.eq(effective.map(|(at, _)| at.timestamp())),
                    staged_imports::last_id.eq(effective.map(|(_, last)| last.to_string())),
                ))
                .execute(c))
        })?;
        Ok(changed == 1)
    }

    /// Gives up an import that is not effective: its process can no longer add to it.
    pub fn give_up_import(&mut self, sequence: i64) -> Result<(), StoreError> {
        self.update_unfinished(sequence, None, None).map(drop)
    }

    /// Deletes rows of an import that was given up, at most `limit` of them, and then the import
    /// itself. Returns whether all is gone.
    pub fn discard_import(
        &mut self,
        import: UnfinishedImport,
        limit: i64,
    ) -> Result<bool, StoreError> {
        let [postgres, sqlite] = DELETE_STAGED;
        let (id, sequence) = (import.import.to_string(), import.sequence);
        let deleted = self.run(|connection| match connection {
            AnyConnection::Postgres(c) => sql_query(postgres)
                .bind::<Text, _>(&id)
                .bind::<BigInt, _>(sequence)
                .bind::<BigInt, _>(limit)
                .execute(c),
            AnyConnection::Sqlite(c) => sql_query(sqlite)
                .bind::<Text, _>(&id)
                .bind::<BigInt, _>(sequence)
                .bind::<BigInt, _>(limit)
                .execute(c),
        })?;
        if i64::try_from(deleted).is_ok_and(|deleted| deleted >= limit) {
            return Ok(false);
        }
        self.run(|connection| {
            on_either!(connection, c => diesel::delete(staged_imports::table
                .find(sequence)
                .filter(staged_imports::effective_at.is_null()))
                .execute(c))
        })?;
        Ok(true)
    }

    /// The rows that a staged import added, at most `limit` of them; none if it was not staged.
    pub fn rows_of_staged_import(
        &mut self,
        import: Uuid,
        limit: usize,
    ) -> Result<Vec<RowChange>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let ids: Vec<String> = self.run(|connection| {
            on_either!(connection, c => delegations::table
                .inner_join(staged_imports::table.on(staged_imports::sequence.eq(delegations::sequence)))
                .filter(staged_imports::import_id.eq(import.to_string()))
                .filter(delegations::id.gt(import.to_string()))
                .filter(delegations::id.nullable().le(staged_imports::last_id))
                .filter(delegations::version.eq(1))
                .order(delegations::id)
                .limit(limit)
                .select(delegations::id)
                .load(c))
        })?;
        let added = ids.iter().map(|id| {
            Ok(RowChange {
                kind: RowKind::Delegation,
                row: Uuid::parse_str(id).map_err(StoreError::corrupt)?,
                versions: ChangedVersions::Added(1),
            })
        });
        added.collect()
    }

    /// The staged import that added a row, if one did.
    pub(super) fn staged_import_of(&mut self, row: Uuid) -> Result<Option<Uuid>, StoreError> {
        let import: Option<String> = self.run(|connection| {
            on_either!(connection, c => delegations::table
                .inner_join(staged_imports::table.on(staged_imports::sequence.eq(delegations::sequence)))
                .filter(delegations::id.eq(row.to_string()))
                .filter(delegations::version.eq(1))
                .select(staged_imports::import_id)
                .first(c)
                .optional())
        })?;
        import
            .map(|id| Uuid::parse_str(&id).map_err(StoreError::corrupt))
            .transpose()
    }
}
