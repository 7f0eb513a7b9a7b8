//! The counter of changes: orders delegations and departures, since seconds are too coarse.

use diesel::prelude::*;

use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::change_counter;
use crate::store::tx::Tx;

impl Tx<'_> {
    /// The sequence of a new change: higher than that of every change before it, because the row
    /// stays locked until COMMIT. A change takes one, and gives it to all rows that it makes.
    pub fn next_change(&mut self) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(change_counter::table)
                .set(change_counter::last.eq(change_counter::last + 1))
                .execute(c))
        })?;
        self.run(|connection| {
            on_either!(connection, c => change_counter::table
                .select(change_counter::last)
                .first::<i64>(c))
        })
    }
}
