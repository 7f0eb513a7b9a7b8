//! Hashes keys anew after the API key secret was changed: the secret of a key is known only while
//! the key is used. Collected in memory and written periodically, so that no request waits for it.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::ApiKeys;
use crate::store::{Rehash, StoreError, Tx};

/// Keys that are collected. Others are hashed anew at a later use.
const MAX_PENDING: usize = 100_000;
/// Keys that one transaction writes.
const CHUNK: usize = 200;

/// Hashes that are not written yet, by the hash that each replaces.
#[derive(Debug, Default)]
pub(super) struct Rehashes(Mutex<HashMap<Vec<u8>, Rehash>>);

impl Rehashes {
    pub(super) fn note(&self, rehash: Rehash) {
        let mut pending = self.0.lock();
        if pending.len() < MAX_PENDING {
            pending.insert(rehash.old.clone(), rehash);
        }
    }

    fn take(&self) -> Vec<Rehash> {
        let mut pending = self.0.lock();
        pending.drain().map(|(_, rehash)| rehash).collect()
    }
}

impl ApiKeys {
    /// Writes the hashes of the keys that were used since the last call. What an error leaves out
    /// is hashed anew at the next use.
    pub async fn write_rehashes(&self) -> Result<(), StoreError> {
        for chunk in self.rehashes.take().chunks(CHUNK) {
            let chunk = chunk.to_vec();
            let write = move |tx: &mut Tx<'_>| {
                chunk
                    .iter()
                    .try_for_each(|rehash| tx.rehash_api_key(rehash))
            };
            self.store.write_alongside("api-key-hashes", write).await?;
        }
        Ok(())
    }
}
