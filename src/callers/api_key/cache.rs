//! What was read of API keys not long ago. Only for what a transaction decides, which looks at the key again: what is stale
//! here lets nobody do anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::memcmp;
use openssl::sha::sha256;
use quick_cache::sync::Cache;

use crate::store::KeptApiKey;

/// How long a key is remembered. Until then whoever has a key that has ended may still be told that its request is
/// malformed, and nothing else.
const MAX_LENGTH: Duration = Duration::from_secs(60);
/// How many keys are remembered, some 300 bytes each. When there are more, those go that were not used again.
const MAX_CACHED: usize = 200_000;

/// Keys that proved somebody, by the number of their id.
#[derive(Debug)]
pub(super) struct KeyCache(Cache<u64, CachedKey>);

/// A key as it was read, and which of its secrets was shown then. The keyed hash of what the database has takes several
/// times as long as this digest, of 256 random bits, which stays in memory.
#[derive(Clone)]
pub(super) struct CachedKey {
    pub(super) key: Arc<KeptApiKey>,
    /// The number of the secret.
    pub(super) secret: i32,
    digest: [u8; 32],
    read: Instant,
}

impl CachedKey {
    /// Whether this is the secret that was shown.
    pub(super) fn is_for(&self, secret: &str) -> bool {
        memcmp::eq(&self.digest, &sha256(secret.as_bytes()))
    }
}

impl std::fmt::Debug for CachedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl KeyCache {
    /// Keeps a key that was proven by the secret of this number.
    pub(super) fn keep(&self, number: u64, key: KeptApiKey, secret: i32, shown: &str) {
        let remembered = CachedKey {
            key: Arc::new(key),
            secret,
            digest: sha256(shown.as_bytes()),
            read: Instant::now(),
        };
        self.0.insert(number, remembered);
    }

    pub(super) fn recall(&self, number: u64) -> Option<CachedKey> {
        let found = self.0.get(&number)?;
        (found.read.elapsed() < MAX_LENGTH).then_some(found)
    }

    pub(super) fn forget(&self, number: u64) {
        self.0.remove(&number);
    }
}

impl Default for KeyCache {
    fn default() -> Self {
        Self(Cache::new(MAX_CACHED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Role;
    use crate::domain::clock::from_unix;
    use crate::domain::credentials::api_key::{ApiKey, KeyValidity};

    fn key() -> KeptApiKey {
        KeptApiKey {
            key: ApiKey {
                id: "key".to_owned(),
                role: Role::Portal,
                accounts: Vec::new(),
                label: String::new(),
                created_at: from_unix(0),
                allow_from: Vec::new(),
                validity: KeyValidity {
                    expires_at: None,
                    revoked_at: None,
                    secret: 1,
                    previous_until: None,
                },
                rotated_at: None,
                last_used_at: None,
            },
            secret_hash: Vec::new(),
            previous_hash: None,
        }
    }

    #[test]
    fn a_flood_leaves_keys_in_use_where_they_are() {
        const HOT: u64 = 50;
        let memory = KeyCache::default();
        for number in 0..HOT {
            memory.keep(number, key(), 1, "secret");
        }
        for number in HOT..2 * MAX_CACHED as u64 {
            if number % 1_024 == 0 {
                let in_use = (0..HOT).all(|number| memory.recall(number).is_some());
                assert!(in_use, "after {number}");
            }
            memory.keep(number, key(), 1, "secret");
        }
        assert!(memory.0.len() <= MAX_CACHED, "{}", memory.0.len());
    }

    #[test]
    fn a_key_is_remembered_for_a_while() {
        let memory = KeyCache::default();
        memory.keep(7, key(), 1, "secret");
        let mut known = memory.recall(7).expect("a key");
        assert!(known.is_for("secret") && !known.is_for("another"));
        assert!(memory.recall(8).is_none());
        memory.forget(7);
        assert!(memory.recall(7).is_none());

        known.read = Instant::now().checked_sub(MAX_LENGTH).expect("uptime");
        memory.0.insert(7, known);
        assert!(memory.recall(7).is_none(), "it was read too long ago");
    }
}
