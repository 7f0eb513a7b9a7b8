//! When keys were last used: gathered in memory, and written now and then, so that a use costs no write.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::{ApiKeys, ID_LENGTH};
use crate::domain::Time;
use crate::store::{StoreError, Tx};

/// How many keys are gathered at most; others are noted when these are written.
const MAX_NOTED: usize = 100_000;
/// How many of them one statement writes.
const IN_ONE_GO: usize = 5_000;

/// Uses that are not written yet: seconds since 1970, by the number of the key's id.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<u64, i64>>);

impl Uses {
    pub(super) fn note(&self, number: u64, now: Time) {
        self.put_back([(number, now.timestamp())]);
    }

    fn put_back(&self, uses: impl IntoIterator<Item = (u64, i64)>) {
        let mut noted = self.0.lock();
        for (number, at) in uses {
            if noted.len() < MAX_NOTED || noted.contains_key(&number) {
                let latest = noted.entry(number).or_insert(at);
                *latest = at.max(*latest);
            }
        }
    }

    fn take(&self) -> Vec<(u64, i64)> {
        let mut noted = self.0.lock();
        noted.drain().collect()
    }
}

impl ApiKeys {
    /// Writes when keys were last used. To be called now and then, and before the service stops.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it; then it is written the next time.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let all = self.uses.take();
        for (place, chunk) in all.chunks(IN_ONE_GO).enumerate() {
            let id = |number: u64| format!("{number:0ID_LENGTH$x}");
            let named = chunk.iter().map(|(number, at)| (id(*number), *at));
            let named: BTreeMap<String, i64> = named.collect();
            let write = move |tx: &mut Tx<'_>| tx.note_api_key_uses(&named);
            let written = self.store.write_alongside("api-key-uses", write).await;
            if let Err(error) = written {
                self.uses.put_back(all[place * IN_ONE_GO..].iter().copied());
                return Err(error);
            }
        }
        Ok(())
    }
}
