//! What was read of API keys not long ago. Only for what a transaction decides, which looks at the key again: what is stale
//! here lets nobody do anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssl::memcmp;
use openssl::sha::sha256;

use crate::store::KeptApiKey;

/// How long a key is remembered. Until then whoever has a key that has ended may still be told that its request is
/// malformed, and nothing else.
const LONGEST: Duration = Duration::from_secs(60);
/// How many keys are remembered, at least; and at most twice as many. Some 300 bytes each.
const MOST: usize = 100_000;

/// Keys that proved somebody, by the number of their id: the recent ones, and those before them. When there are too many
/// recent ones, those before are forgotten.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    recent: HashMap<u64, Remembered>,
    before: HashMap<u64, Remembered>,
}

/// A key as it was read, and which of its secrets was shown then. The keyed hash of what the database has takes several
/// times as long as this digest, of 256 random bits, which stays in memory.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) key: Arc<KeptApiKey>,
    /// The number of the secret.
    pub(super) secret: i32,
    digest: [u8; 32],
    read: Instant,
}

impl Remembered {
    /// Whether this is the secret that was shown.
    pub(super) fn is_for(&self, secret: &str) -> bool {
        memcmp::eq(&self.digest, &sha256(secret.as_bytes()))
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// Keeps a key that was proven by the secret of this number.
    pub(super) fn keep(&self, number: u64, key: KeptApiKey, secret: i32, shown: &str) {
        let remembered = Remembered {
            key: Arc::new(key),
            secret,
            digest: sha256(shown.as_bytes()),
            read: Instant::now(),
        };
        self.lock().keep(number, remembered);
    }

    pub(super) fn recall(&self, number: u64) -> Option<Remembered> {
        let mut generations = self.lock();
        let found = if let Some(found) = generations.recent.get(&number) {
            found.clone()
        } else {
            let found = generations.before.remove(&number)?;
            generations.keep(number, found.clone());
            found
        };
        (found.read.elapsed() < LONGEST).then_some(found)
    }

    pub(super) fn forget(&self, number: u64) {
        let mut generations = self.lock();
        generations.recent.remove(&number);
        generations.before.remove(&number);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn keep(&mut self, number: u64, one: Remembered) {
        if self.recent.len() >= MOST {
            self.before = std::mem::take(&mut self.recent);
        }
        self.recent.insert(number, one);
    }
}
