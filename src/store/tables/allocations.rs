//! Allocations: the numbers that the carrier holds.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use super::overlap::{OverlapQuery, Versions};
use super::range_probes::RangeProbes;
use super::versioned::versioned_table;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::Allocation;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::allocations;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = allocations)]
pub(in crate::store) struct Row {
    id: String,
    version: i32,
    spc: String,
    first_position: i64,
    last_position: i64,
    span: i64,
    basis: String,
    valid_from: i64,
    valid_until: Option<i64>,
    recorded_at: i64,
    superseded_at: Option<i64>,
}

impl From<&Allocation> for Row {
    fn from(allocation: &Allocation) -> Self {
        Self {
            id: allocation.row.id.to_string(),
            version: allocation.row.version,
            spc: allocation.spc.to_string(),
            first_position: allocation.numbers.first().position(),
            last_position: allocation.numbers.last().position(),
            span: allocation.numbers.span(),
            basis: allocation.basis.as_str().to_owned(),
            valid_from: allocation.window.from().timestamp(),
            valid_until: columns::seconds(allocation.window.until()),
            recorded_at: allocation.belief.recorded_at.timestamp(),
            superseded_at: columns::seconds(allocation.belief.superseded_at),
        }
    }
}

impl TryFrom<Row> for Allocation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            row: columns::row_ref(&row.id, row.version)?,
            spc: row.spc.parse().map_err(StoreError::corrupt)?,
            numbers: columns::numbers(row.first_position, row.last_position)?,
            basis: row.basis.parse().map_err(StoreError::corrupt)?,
            window: columns::window(row.valid_from, row.valid_until)?,
            belief: columns::belief(row.recorded_at, row.superseded_at),
        })
    }
}

versioned_table! {
    table: allocations, name: "allocations", domain: Allocation,
    insert: insert_allocations, find: allocation, list: list_allocations, supersede: supersede_allocation,
    touching: allocations_touching, versions: allocation_versions,
}
