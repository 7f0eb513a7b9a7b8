//! What the writer remembers from one transaction of mints to the next: sums of refused tokens, and
//! which keys of accounts are known. What a transaction adds counts only once it is committed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Time;
use crate::domain::issuance::{RefusalSums, StagedRefusals};
use crate::domain::{AccountId, Fingerprint};

/// How many keys are remembered, at some 100 bytes each.
const MAX_KEYS: usize = 65_536;

/// An account and one of its keys, as a hash.
type KeyId = [u8; 32];

/// What is remembered.
#[derive(Debug)]
pub(in crate::store) struct MintMemory {
    pub(super) refusals: Arc<Mutex<RefusalSums>>,
    pub(super) keys: KnownKeys,
}

/// What one transaction adds to it.
#[derive(Debug, Default)]
pub(in crate::store) struct StagedMemory {
    pub(super) refusals: StagedRefusals,
    pub(super) keys: StagedKeys,
}

impl MintMemory {
    pub(in crate::store) fn new(refusals: Arc<Mutex<RefusalSums>>) -> Self {
        Self {
            refusals,
            keys: KnownKeys(Cache::new(MAX_KEYS)),
        }
    }

    /// Takes over what a committed transaction has added.
    pub(in crate::store) fn commit(&self, staged: StagedMemory) {
        self.refusals.lock().commit(staged.refusals);
        for (id, first_used) in staged.keys.0 {
            self.keys.0.insert(id, first_used);
        }
    }
}

/// Keys that are in `account_keys`, with the time of their first use if it was ever read. A row of
/// that table never changes.
#[derive(Debug)]
pub(super) struct KnownKeys(Cache<KeyId, Option<Time>>);

impl KnownKeys {
    pub(super) fn has(&self, account: &AccountId, key: Fingerprint) -> bool {
        self.0.get(&id(account, key)).is_some()
    }

    pub(super) fn first_used(&self, account: &AccountId, key: Fingerprint) -> Option<Time> {
        self.0.get(&id(account, key)).flatten()
    }
}

/// Keys that a transaction has read or inserted.
#[derive(Debug, Default)]
pub(super) struct StagedKeys(HashMap<KeyId, Option<Time>>);

impl StagedKeys {
    pub(super) fn has(&self, account: &AccountId, key: Fingerprint) -> bool {
        self.0.contains_key(&id(account, key))
    }

    /// Adds a key that was inserted, unless it was there already: then at another time.
    pub(super) fn add_inserted(&mut self, account: &AccountId, key: Fingerprint) {
        self.0.entry(id(account, key)).or_insert(None);
    }

    pub(super) fn add_read(&mut self, account: &AccountId, key: Fingerprint, first_used: Time) {
        self.0.insert(id(account, key), Some(first_used));
    }
}

fn id(account: &AccountId, key: Fingerprint) -> KeyId {
    let mut digest = Sha256::new();
    digest.update(account.as_str().len().to_be_bytes());
    digest.update(account.as_str());
    digest.update(key.as_bytes());
    digest.finalize().into()
}
