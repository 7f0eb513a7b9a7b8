//! When accounts first got a token for an ACME account key.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text};
use serde_json::json;

use super::probe_query::{BYTES, ProbeQuery, bytes};
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
    fingerprint: Vec<u8>,
    first_used_at: i64,
}

impl AccountKeyRow {
    pub(in crate::store) fn new(account: &AccountId, key: Fingerprint, at: Time) -> Self {
        Self {
            account_id: account.to_string(),
            fingerprint: key.as_bytes().to_vec(),
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
            json!({ "request": n, "account_id": account, "fingerprint": bytes(key.as_bytes()) })
        });
        let query = ProbeQuery::<(Integer, BigInt)>::new(
            &[
                ("request", "INTEGER"),
                ("account_id", "TEXT"),
                ("fingerprint", BYTES),
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
        if rows.is_empty() {
            return Ok(());
        }
        self.run(|connection| match connection {
            AnyConnection::Sqlite(c) => insert_into_sqlite(c, rows),
            AnyConnection::Postgres(c) => insert_into_postgres(c, rows),
        })
    }
}

/// Row by row: a statement for several would be prepared anew for each number of them.
fn insert_into_sqlite(c: &mut SqliteConnection, rows: &[AccountKeyRow]) -> QueryResult<()> {
    for row in rows {
        diesel::insert_or_ignore_into(account_keys::table)
            .values(row)
            .execute(c)?;
    }
    Ok(())
}

fn insert_into_postgres(c: &mut PgConnection, rows: &[AccountKeyRow]) -> QueryResult<()> {
    let accounts: Vec<&str> = rows.iter().map(|row| row.account_id.as_str()).collect();
    let keys: Vec<&[u8]> = rows.iter().map(|row| row.fingerprint.as_slice()).collect();
    let times: Vec<i64> = rows.iter().map(|row| row.first_used_at).collect();
    sql_query(
        "INSERT INTO account_keys (account_id, fingerprint, first_used_at) \
         SELECT * FROM unnest($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(accounts)
    .bind::<Array<Binary>, _>(keys)
    .bind::<Array<BigInt>, _>(times)
    .execute(c)?;
    Ok(())
}
