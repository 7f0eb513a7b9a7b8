//! Exclusions: numbers inside an allocation for which there is no authority now.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use super::overlap::{OverlapQuery, Versions};
use super::range_probes::RangeProbes;
use super::versioned::versioned_table;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::Exclusion;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::exclusions;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = exclusions)]
pub(in crate::store) struct Row {
    id: String,
    version: i32,
    first_position: i64,
    last_position: i64,
    span: i64,
    reason: String,
    valid_from: i64,
    valid_until: Option<i64>,
    recorded_at: i64,
    superseded_at: Option<i64>,
}

impl From<&Exclusion> for Row {
    fn from(exclusion: &Exclusion) -> Self {
        Self {
            id: exclusion.row.id.to_string(),
            version: exclusion.row.version,
            first_position: exclusion.numbers.first().position(),
            last_position: exclusion.numbers.last().position(),
            span: exclusion.numbers.span(),
            reason: exclusion.reason.as_str().to_owned(),
            valid_from: exclusion.window.from().timestamp(),
            valid_until: columns::seconds(exclusion.window.until()),
            recorded_at: exclusion.belief.recorded_at.timestamp(),
            superseded_at: columns::seconds(exclusion.belief.superseded_at),
        }
    }
}

impl TryFrom<Row> for Exclusion {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            row: columns::row_ref(&row.id, row.version)?,
            numbers: columns::numbers(row.first_position, row.last_position)?,
            reason: row.reason.parse().map_err(StoreError::corrupt)?,
            window: columns::window(row.valid_from, row.valid_until)?,
            belief: columns::belief(row.recorded_at, row.superseded_at),
        })
    }
}

versioned_table! {
    table: exclusions, name: "exclusions", domain: Exclusion,
    insert: insert_exclusions, find: exclusion, list: list_exclusions, supersede: supersede_exclusion,
    touching: exclusions_touching, versions: exclusion_versions,
    after_insert: end_proofs_of_excluded,
}
