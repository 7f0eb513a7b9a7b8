//! What the limits of effective control count: the proofs that were started, whatever became of
//! them.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::domain::clock::{Time, from_unix};
use crate::domain::control::proof::{ControlProof, Method};
use crate::domain::{AccountId, Tn};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{accounts, control_proofs};
use crate::store::tx::Tx;

/// A proof that was started for a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedProof {
    pub number: Tn,
    pub account: AccountId,
    /// The customer of the carrier that the account is, or is below of.
    pub customer: AccountId,
    pub at: Time,
    pub method: Method,
    /// Whether a right to renew started it.
    pub is_reproof: bool,
    /// Whether it only reports that the number was not asked.
    pub is_unsent: bool,
    /// Until when its code can come back; `None` if it came back, or no longer can.
    pub pending_until: Option<Time>,
}

/// Whose proofs are counted.
#[derive(Debug, Clone, Copy)]
pub enum StartedBy<'a> {
    /// What callers have started for an account, and no right to renew.
    Callers(&'a AccountId),
    /// The service, for the rights to renew of an account.
    RightsOf(&'a AccountId),
    /// A customer of the carrier, with all accounts below, over a gateway.
    Customer(&'a AccountId, &'a str),
    Gateway(&'a str),
}

/// The columns of a [`StartedProof`].
type StartedRow = (
    i64,
    String,
    String,
    Option<String>,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    String,
);

/// The ids of a customer of the carrier and of all accounts below. `0` is the character after `/`.
macro_rules! of_customer {
    ($customer:expr) => {{
        let is_below = accounts::path.ge(format!("/{}/", $customer));
        let is_below = is_below.and(accounts::path.lt(format!("/{}0", $customer)));
        accounts::table
            .select(accounts::id)
            .filter(accounts::path.eq(format!("/{}", $customer)).or(is_below))
    }};
}
pub(super) use of_customer;

/// The proofs of these that were started at or after an instant.
macro_rules! started_by {
    ($by:expr, $since:expr) => {{
        let query = control_proofs::table
            .filter(control_proofs::started_at.ge($since.timestamp()))
            .filter(control_proofs::gateway.ne(ControlProof::NO_GATEWAY))
            .into_boxed();
        match $by {
            StartedBy::Callers(account) => query
                .filter(control_proofs::account_id.eq(account.as_str()))
                .filter(control_proofs::renewal_id.is_null()),
            StartedBy::RightsOf(account) => query
                .filter(control_proofs::account_id.eq(account.as_str()))
                .filter(control_proofs::renewal_id.is_not_null()),
            StartedBy::Customer(customer, gateway) => query
                .filter(control_proofs::gateway.eq(gateway))
                .filter(control_proofs::account_id.eq_any(of_customer!(customer))),
            StartedBy::Gateway(name) => query.filter(control_proofs::gateway.eq(name)),
        }
    }};
}

impl Tx<'_> {
    /// The proofs of these numbers, of any account, that were started at or after `since`, oldest
    /// first. The limits of the numbers bound how many there are.
    pub fn control_starts(
        &mut self,
        numbers: &[Tn],
        since: Time,
    ) -> Result<Vec<StartedProof>, StoreError> {
        let positions: Vec<i64> = numbers.iter().map(|number| number.position()).collect();
        let rows = self.run(|connection| {
            on_either!(connection, c => control_proofs::table
                .inner_join(accounts::table.on(accounts::id.eq(control_proofs::account_id)))
                .filter(control_proofs::position.eq_any(&positions))
                .filter(control_proofs::started_at.ge(since.timestamp()))
                .order((control_proofs::started_at, control_proofs::id))
                .select((
                    control_proofs::position,
                    control_proofs::account_id,
                    control_proofs::method,
                    control_proofs::renewal_id,
                    control_proofs::started_at,
                    control_proofs::expires_at,
                    control_proofs::confirmed_at,
                    control_proofs::ends_at,
                    control_proofs::gateway,
                    accounts::path,
                ))
                .load::<StartedRow>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// How many proofs one of these started at or after `since`.
    pub fn count_control_starts(
        &mut self,
        by: StartedBy<'_>,
        since: Time,
    ) -> Result<u64, StoreError> {
        let count: i64 = self.run(
            |connection| on_either!(connection, c => started_by!(by, since).count().get_result(c)),
        )?;
        u64::try_from(count).map_err(StoreError::corrupt)
    }

    /// How many proofs the service started for rights of each of these accounts at or after
    /// `since`; none is left out.
    pub fn control_starts_by_account(
        &mut self,
        accounts: &[&AccountId],
        since: Time,
    ) -> Result<HashMap<AccountId, u64>, StoreError> {
        let ids: Vec<&str> = accounts.iter().map(|account| account.as_str()).collect();
        let rows: Vec<(String, i64)> = self.run(|connection| {
            on_either!(connection, c => control_proofs::table
                .filter(control_proofs::account_id.eq_any(&ids))
                .filter(control_proofs::started_at.ge(since.timestamp()))
                .filter(control_proofs::renewal_id.is_not_null())
                .filter(control_proofs::gateway.ne(ControlProof::NO_GATEWAY))
                .group_by(control_proofs::account_id)
                .select((control_proofs::account_id, diesel::dsl::count_star()))
                .load(c))
        })?;
        let mut counts: HashMap<AccountId, u64> = accounts
            .iter()
            .map(|account| ((*account).clone(), 0))
            .collect();
        for (account, count) in rows {
            let account = account.parse().map_err(StoreError::corrupt)?;
            counts.insert(account, u64::try_from(count).map_err(StoreError::corrupt)?);
        }
        Ok(counts)
    }

    /// When the proof was started that has `before` older ones since then.
    pub fn control_start_after(
        &mut self,
        by: StartedBy<'_>,
        since: Time,
        before: u64,
    ) -> Result<Option<Time>, StoreError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let found = self.run(|connection| {
            on_either!(connection, c => started_by!(by, since)
                .order(control_proofs::started_at)
                .offset(before)
                .limit(1)
                .select(control_proofs::started_at)
                .first::<i64>(c)
                .optional())
        })?;
        Ok(found.map(from_unix))
    }
}

impl TryFrom<StartedRow> for StartedProof {
    type Error = StoreError;

    fn try_from(row: StartedRow) -> Result<Self, StoreError> {
        let (
            position,
            account,
            method,
            renewal,
            at,
            expires_at,
            confirmed_at,
            ends_at,
            gateway,
            path,
        ) = row;
        let customer = path.split('/').nth(1).unwrap_or_default();
        let until = ends_at.map_or(expires_at, |end| end.min(expires_at));
        Ok(Self {
            number: Tn::from_position(position).map_err(StoreError::corrupt)?,
            account: account.parse().map_err(StoreError::corrupt)?,
            customer: customer.parse().map_err(StoreError::corrupt)?,
            at: from_unix(at),
            method: method.parse().map_err(StoreError::corrupt)?,
            is_reproof: renewal.is_some(),
            is_unsent: gateway == ControlProof::NO_GATEWAY,
            pending_until: confirmed_at.is_none().then(|| from_unix(until)),
        })
    }
}
