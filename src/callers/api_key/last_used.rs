//! Records when keys were last used: collected in memory and written periodically, so that using a
//! key costs no write.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::{ApiKeys, ID_LENGTH};
use crate::domain::Time;
use crate::store::{StoreError, Tx};

/// Keys that are collected. Uses of others are dropped until these are written.
const MAX_PENDING: usize = 100_000;
/// Keys that one statement writes.
const CHUNK: usize = 5_000;

/// Uses that are not written yet: seconds since 1970, by the key's id as a number.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<u64, i64>>);

impl Uses {
    pub(super) fn note(&self, number: u64, now: Time) {
        self.put_back([(number, now.timestamp())]);
    }

    fn put_back(&self, uses: impl IntoIterator<Item = (u64, i64)>) {
        let mut pending = self.0.lock();
        for (number, at) in uses {
            if pending.len() < MAX_PENDING || pending.contains_key(&number) {
                let latest = pending.entry(number).or_insert(at);
                *latest = at.max(*latest);
            }
        }
    }

    fn take(&self) -> Vec<(u64, i64)> {
        let mut pending = self.0.lock();
        pending.drain().collect()
    }
}

impl ApiKeys {
    /// Writes when keys were last used. Call it periodically, and before the service stops. After
    /// an error, the next call writes the rest.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let all = self.uses.take();
        for (index, chunk) in all.chunks(CHUNK).enumerate() {
            let id = |number: u64| format!("{number:0ID_LENGTH$x}");
            let uses = chunk.iter().map(|(number, at)| (id(*number), *at));
            let uses: BTreeMap<String, i64> = uses.collect();
            let write = move |tx: &mut Tx<'_>| tx.note_api_key_uses(&uses);
            let result = self.store.write_alongside("api-key-uses", write).await;
            if let Err(error) = result {
                self.uses.put_back(all[index * CHUNK..].iter().copied());
                return Err(error);
            }
        }
        Ok(())
    }
}
