//! Rights to renew whose numbers are due to be proven again. Replicas share the work: each
//! transaction moves the rights that it takes forward.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool};
use uuid::Uuid;

use super::probe_query::{ProbeColumn, ProbeQuery};
use super::renewals::Row;
use crate::domain::AccountId;
use crate::domain::clock::Time;
use crate::domain::control::proof::Method;
use crate::domain::tokens::renewal::Renewal;
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::locks::REPROOF_LOCK;
use crate::store::schema::renewals;
use crate::store::tx::Tx;

/// When a right is due next.
#[derive(Debug, Clone, Copy)]
pub struct NextDue {
    pub right: Uuid,
    /// When it was due as it was read.
    pub was: Time,
    /// `None`: never.
    pub at: Option<Time>,
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// The rights of these methods that are due.
macro_rules! due {
    ($now:expr, $methods:expr) => {{
        let methods: Vec<&str> = $methods.iter().map(|method| method.as_str()).collect();
        renewals::table
            .filter(renewals::control_due_at.le($now.timestamp()))
            .filter(renewals::control_method.eq_any(methods))
    }};
}

impl Tx<'_> {
    /// Takes the lock of those who start proofs while minting continues, until COMMIT: otherwise
    /// two replicas could ask a number at one time, or exceed a limit together. Returns whether it
    /// was free.
    pub fn lock_reproofs(&mut self) -> Result<bool, StoreError> {
        self.run(|connection| match connection {
            // It has one writer anyway.
            AnyConnection::Sqlite(_) => Ok(true),
            AnyConnection::Postgres(c) => {
                sql_query("SELECT pg_try_advisory_xact_lock($1) AS locked")
                    .bind::<BigInt, _>(REPROOF_LOCK)
                    .get_result::<Locked>(c)
                    .map(|found| found.locked)
            }
        })
    }

    /// Whether any right of these methods is due.
    pub fn has_due_reproof(&mut self, now: Time, methods: &[Method]) -> Result<bool, StoreError> {
        let found = self.run(|connection| {
            on_either!(connection, c => due!(now, methods)
                .select(renewals::id)
                .first::<String>(c)
                .optional())
        })?;
        Ok(found.is_some())
    }

    /// Counts the rights that prove control by a method, and are not over.
    pub fn count_reproofs_by(&mut self, method: Method) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => renewals::table
                .filter(renewals::control_due_at.is_not_null())
                .filter(renewals::control_method.eq(method.as_str()))
                .count()
                .get_result::<i64>(c))
        })
    }

    /// The rights of these methods that are due, the one that has been due for the longest time
    /// first; at most `limit`.
    pub fn due_reproofs(
        &mut self,
        now: Time,
        methods: &[Method],
        limit: u16,
    ) -> Result<Vec<Renewal>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => due!(now, methods)
                .order((renewals::control_due_at, renewals::id))
                .limit(limit.into())
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The rights of these methods whose proofs may be too old by now: they have been due for more
    /// than the time between the first check and that age (23 of 60 parts of it); at most `limit`.
    pub fn overdue_reproofs(
        &mut self,
        now: Time,
        methods: &[Method],
        limit: u16,
    ) -> Result<Vec<Renewal>, StoreError> {
        if methods.is_empty() {
            return Ok(Vec::new());
        }
        let latest = renewals::control_due_at + renewals::control_max_age * 23 / 60;
        let rows = self.run(|connection| {
            on_either!(connection, c => due!(now, methods)
                .filter(latest.le(now.timestamp()))
                .order((renewals::control_due_at, renewals::id))
                .limit(limit.into())
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Sets when rights are due next; `None` is never. Each is given with when it was due as it was
    /// read: one that has become due anew since then stays due.
    pub fn set_reproofs_due(&mut self, due: &[NextDue]) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let ids = due.iter().map(|next| next.right.to_string());
        let was = due.iter().map(|next| next.was.timestamp());
        let due_at = due.iter().map(|next| next.at.map(|at| at.timestamp()));
        let update = ProbeQuery::<()>::new(
            [
                ("id", ProbeColumn::texts(ids)),
                ("was", ProbeColumn::big_ints(was)),
                ("due_at", ProbeColumn::big_ints(due_at)),
            ],
            [
                "UPDATE renewals SET control_due_at = p.due_at FROM ",
                " WHERE renewals.id = p.id AND renewals.control_due_at = p.was",
            ],
        );
        self.run(|connection| on_either!(connection, c => update.execute(c)))?;
        Ok(())
    }

    /// Makes all rights of an account due that prove control: which numbers they need has changed.
    /// The time always changes, so that no check that has begun before moves it on.
    pub fn set_reproofs_of_account_due(
        &mut self,
        account: &AccountId,
        now: Time,
    ) -> Result<(), StoreError> {
        let now = now.timestamp();
        self.run(|connection| {
            on_either!(connection, c => {
                let of_account = || renewals::table
                    .filter(renewals::account_id.eq(account.as_str()))
                    .filter(renewals::control_due_at.is_not_null());
                let due = renewals::control_due_at;
                diesel::update(of_account().filter(due.le(now))).set(due.eq(due - 1)).execute(c)?;
                diesel::update(of_account().filter(due.gt(now))).set(due.eq(now)).execute(c)
            })
        })?;
        Ok(())
    }
}
