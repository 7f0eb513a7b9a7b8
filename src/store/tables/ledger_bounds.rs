//! Bounds that spare the ledger an index: what can still be redeemed was issued recently.

use diesel::prelude::*;

use crate::domain::clock::Time;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::ledger_bounds;
use crate::store::tx::Tx;

impl Tx<'_> {
    /// A lower bound of the ids of grants whose tokens can be redeemed after an instant: an id is
    /// never older than its grant.
    pub(super) fn first_jti_expiring_after(&mut self, time: Time) -> Result<Vec<u8>, StoreError> {
        let longest = self.run(|connection| {
            on_either!(connection, c => ledger_bounds::table
                .select(ledger_bounds::longest_lifetime)
                .first::<i64>(c))
        })?;
        Ok(first_jti_at(time.timestamp().saturating_sub(longest)))
    }
}

/// A lower bound of the ids of grants that were issued at a second or later.
pub(super) fn first_jti_at(seconds: i64) -> Vec<u8> {
    let millis = u64::try_from(seconds).unwrap_or_default();
    let millis = millis.saturating_mul(1_000).min((1 << 48) - 1);
    millis.to_be_bytes()[2..].to_vec()
}
