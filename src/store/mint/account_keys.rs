//! Keys of accounts: a key that is new is recorded with the grant. Known ones cost no statement.

use std::collections::BTreeMap;

use super::memory::{KnownKeys, StagedKeys};
use crate::domain::tokens::grant::Grant;
use crate::store::error::StoreError;
use crate::store::tables::account_keys::AccountKeyRow;
use crate::store::tx::Tx;

/// Records the keys of these grants that are not known yet.
pub(super) fn record_new(
    tx: &mut Tx<'_>,
    granted: &[&Grant],
    known: &KnownKeys,
    staged: &mut StagedKeys,
) -> Result<(), StoreError> {
    // In one order on all replicas, so that two which insert the same keys do not deadlock.
    let mut new = BTreeMap::new();
    for grant in granted {
        let (account, key) = (&grant.account, grant.fingerprint);
        if !known.has(account, key) && !staged.has(account, key) {
            let row = || AccountKeyRow::new(account, key, grant.issued_at);
            new.entry((account, *key.as_bytes())).or_insert_with(row);
            staged.add_inserted(account, key);
        }
    }
    let rows: Vec<AccountKeyRow> = new.into_values().collect();
    tx.insert_account_keys(&rows)
}
