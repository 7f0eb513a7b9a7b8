//! When accounts first got a token for an ACME account key.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use serde_json::json;

use super::probe_query::ProbeQuery;
use super::versioned::ROWS_PER_INSERT;
use crate::domain::clock::{Time, from_unix};
use crate::domain::{AccountId, Fingerprint};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::account_keys;
use crate::store::tx::Tx;

/// An ACME account key of an account, and when the account first got a token for it.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = account_keys, treat_none_as_default_value = false)]
pub(in crate::store) struct AccountKeyRow {
    account_id: String,
    fingerprint: String,
    first_used_at: i64,
}

impl AccountKeyRow {
    pub(in crate::store) fn new(account: &AccountId, key: Fingerprint, at: Time) -> Self {
        Self {
            account_id: account.to_string(),
            fingerprint: key.to_string(),
            first_used_at: at.timestamp(),
        }
    }
}

impl Tx<'_> {
    /// When each of these keys was first used by its account; `None` if it never was.
    pub(in crate::store) fn keys_first_used(
        &mut self,
        keys: &[(&AccountId, Fingerprint)],
    ) -> Result<Vec<Option<Time>>, StoreError> {
        let mut found = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        let probes = keys.iter().enumerate().map(|(n, (account, key))| {
            json!({ "request": n, "account_id": account, "fingerprint": key.to_string() })
        });
        let query = ProbeQuery::<(Integer, BigInt)>::new(
            &[
                ("request", "INTEGER"),
                ("account_id", "TEXT"),
                ("fingerprint", "TEXT"),
            ],
            [
                "SELECT p.request, t.first_used_at FROM ",
                " CROSS JOIN account_keys t WHERE t.account_id = p.account_id \
                 AND t.fingerprint = p.fingerprint",
            ],
            &probes.collect::<Vec<_>>(),
        );
        let rows: Vec<(i32, i64)> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        for (n, at) in rows {
            let n = usize::try_from(n).map_err(StoreError::corrupt)?;
            let found = found.get_mut(n);
            *found.ok_or_else(|| StoreError::corrupt("a key that was not asked for"))? =
                Some(from_unix(at));
        }
        Ok(found)
    }

    /// Inserts these keys, which are distinct, unless they are known already.
    pub(in crate::store) fn insert_account_keys(
        &mut self,
        rows: &[AccountKeyRow],
    ) -> Result<(), StoreError> {
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            self.run(|connection| insert(connection, chunk))?;
        }
        Ok(())
    }
}

fn insert(connection: &mut AnyConnection, rows: &[AccountKeyRow]) -> QueryResult<usize> {
    match connection {
        AnyConnection::Sqlite(c) => diesel::insert_or_ignore_into(account_keys::table)
            .values(rows)
            .execute(c),
        AnyConnection::Postgres(c) => diesel::insert_into(account_keys::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(c),
    }
}
