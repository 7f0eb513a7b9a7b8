//! The wrong codes of proofs of control, which are counted over many proofs.

use diesel::dsl::{sql, sum};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::control_starts::of_customer;
use crate::domain::AccountId;
use crate::domain::clock::{Time, from_unix};
use crate::domain::control::proof::Method;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{accounts, control_proofs};
use crate::store::tx::Tx;

/// Whose wrong codes are counted.
#[derive(Debug, Clone, Copy)]
pub enum TriedBy<'a> {
    Account(&'a AccountId),
    /// A customer of the carrier, with all accounts below.
    Customer(&'a AccountId),
}

/// The proofs of these with wrong codes that were started at or after an instant. Nonces, which an
/// agent returns, cannot be guessed. The condition is literally that of the index.
macro_rules! tried {
    ($by:expr, $since:expr) => {{
        let query = control_proofs::table
            .filter(sql::<Bool>("tries > 0"))
            .filter(control_proofs::method.ne(Method::Sip.as_str()))
            .filter(control_proofs::started_at.ge($since.timestamp()))
            .into_boxed();
        match $by {
            TriedBy::Account(account) => {
                query.filter(control_proofs::account_id.eq(account.as_str()))
            }
            TriedBy::Customer(customer) => {
                query.filter(control_proofs::account_id.eq_any(of_customer!(customer)))
            }
        }
    }};
}

impl Tx<'_> {
    /// How many wrong codes the proofs have that one of these has started since then.
    pub fn count_control_tries(&mut self, by: TriedBy<'_>, since: Time) -> Result<u64, StoreError> {
        let count: Option<i64> = self.run(|connection| {
            on_either!(connection, c => tried!(by, since)
                .select(sum(control_proofs::tries))
                .get_result(c))
        })?;
        u64::try_from(count.unwrap_or_default()).map_err(StoreError::corrupt)
    }

    /// When the newest of these proofs were started, and how many codes of each were wrong, newest
    /// first: at most `most` proofs.
    pub fn control_tries(
        &mut self,
        by: TriedBy<'_>,
        since: Time,
        most: u32,
    ) -> Result<Vec<(Time, u32)>, StoreError> {
        let rows: Vec<(i64, i32)> = self.run(|connection| {
            on_either!(connection, c => tried!(by, since)
                .order((control_proofs::started_at.desc(), control_proofs::id))
                .limit(most.into())
                .select((control_proofs::started_at, control_proofs::tries))
                .load(c))
        })?;
        let tried = rows.into_iter().map(|(at, tries)| {
            let tries = u32::try_from(tries).map_err(StoreError::corrupt)?;
            Ok((from_unix(at), tries))
        });
        tried.collect()
    }
}
