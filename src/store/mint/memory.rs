//! What the writer remembers from one transaction of mints to the next: sums of refused tokens, and
//! which keys of accounts are known. What a transaction adds counts only once it is committed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Time;
use crate::domain::issuance::{RefusalSums, StagedRefusals};
use crate::domain::tokens::grant::Grant;
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
    /// Whether the key of a grant has to be recorded with it: it is neither known nor staged, and
    /// then is staged.
    pub(super) fn is_new(&self, grant: &Grant, staged: &mut StagedKeys) -> bool {
        let id = id(&grant.account, grant.fingerprint);
        if self.0.get(&id).is_some() {
            return false;
        }
        match staged.0.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                // It can be there already, and then was first used at another time.
                entry.insert(None);
                true
            }
        }
    }

    pub(super) fn first_used(&self, account: &AccountId, key: Fingerprint) -> Option<Time> {
        self.0.get(&id(account, key)).flatten()
    }
}

/// Keys that a transaction has read or inserted.
#[derive(Debug, Default)]
pub(super) struct StagedKeys(HashMap<KeyId, Option<Time>>);

impl StagedKeys {
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
