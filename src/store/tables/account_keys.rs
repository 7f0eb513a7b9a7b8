//! When accounts first got a token for an ACME account key.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};

use super::probe_query::{ProbeColumn, ProbeQuery};
use crate::domain::clock::{Time, from_unix};
use crate::domain::tokens::grant::Grant;
use crate::domain::{AccountId, Fingerprint};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::account_keys;
use crate::store::tx::Tx;

/// An ACME account key of an account, and when the account first got a token for it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Insertable)]
#[diesel(table_name = account_keys)]
pub(super) struct AccountKeyRow {
    pub(super) account_id: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) first_used_at: i64,
}

impl From<&Grant> for AccountKeyRow {
    fn from(grant: &Grant) -> Self {
        Self {
            account_id: grant.account.to_string(),
            fingerprint: grant.fingerprint.as_bytes().to_vec(),
            first_used_at: grant.issued_at.timestamp(),
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
        let accounts = keys.iter().map(|(account, _)| account.to_string());
        let fingerprints = keys.iter().map(|(_, key)| key.as_bytes().to_vec());
        let query = ProbeQuery::<(Integer, BigInt)>::new(
            [
                ("request", ProbeColumn::indices(0..keys.len())),
                ("account_id", ProbeColumn::texts(accounts)),
                ("fingerprint", ProbeColumn::Bytes(fingerprints.collect())),
            ],
            [
                "SELECT p.request, t.first_used_at FROM ",
                " CROSS JOIN account_keys t WHERE t.account_id = p.account_id \
                 AND t.fingerprint = p.fingerprint",
            ],
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
}

/// Inserts those of these rows that are missing. PostgreSQL does it with the grants.
pub(super) fn insert_missing(
    connection: &mut SqliteConnection,
    rows: &BTreeSet<AccountKeyRow>,
) -> QueryResult<()> {
    for row in rows {
        diesel::insert_or_ignore_into(account_keys::table)
            .values(row)
            .execute(connection)?;
    }
    Ok(())
}
