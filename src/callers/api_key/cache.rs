//! A cache of recently used API keys. Only for requests that a transaction decides: it checks the
//! key again, so a stale entry never grants anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::memcmp;
use openssl::sha::sha256;
use quick_cache::sync::Cache;

use crate::store::KeptApiKey;

/// How long an entry is used. Until then, the most that the holder of an ended key can learn is
/// that its request is malformed.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Entries, of about 300 bytes each. When full, keys that were not used again are evicted first.
const MAX_CACHED: usize = 200_000;

/// Keys that authenticated a caller, by their id as a number.
#[derive(Debug)]
pub(super) struct KeyCache(Cache<u64, CachedKey>);

/// A key as it was read, and the secret that was presented with it. The digest is unkeyed, because
/// it is several times faster than the keyed hash of the database. That is safe: the secret has 256
/// random bits, and the digest never leaves cache.
#[derive(Clone)]
pub(super) struct CachedKey {
    pub(super) key: Arc<KeptApiKey>,
    /// The number of the secret that was presented.
    pub(super) secret: i32,
    digest: [u8; 32],
    read: Instant,
}

impl CachedKey {
    /// Whether this is the secret that was presented before.
    pub(super) fn is_for(&self, secret: &str) -> bool {
        memcmp::eq(&self.digest, &sha256(secret.as_bytes()))
    }
}

impl std::fmt::Debug for CachedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl KeyCache {
    /// Adds a key that authenticated with the secret of this number.
    pub(super) fn keep(&self, number: u64, key: KeptApiKey, secret: i32, presented: &str) {
        let entry = CachedKey {
            key: Arc::new(key),
            secret,
            digest: sha256(presented.as_bytes()),
            read: Instant::now(),
        };
        self.0.insert(number, entry);
    }

    pub(super) fn get(&self, number: u64) -> Option<CachedKey> {
        let entry = self.0.get(&number)?;
        (entry.read.elapsed() < MAX_AGE).then_some(entry)
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
            hashed_by: None,
            previous_hashed_by: None,
        }
    }

    #[test]
    fn a_flood_does_not_evict_keys_in_use() {
        const HOT: u64 = 50;
        let cache = KeyCache::default();
        for number in 0..HOT {
            cache.keep(number, key(), 1, "secret");
        }
        for number in HOT..2 * MAX_CACHED as u64 {
            if number % 1_024 == 0 {
                let in_use = (0..HOT).all(|number| cache.get(number).is_some());
                assert!(in_use, "after {number}");
            }
            cache.keep(number, key(), 1, "secret");
        }
        assert!(cache.0.len() <= MAX_CACHED, "{}", cache.0.len());
    }

    #[test]
    fn an_entry_is_used_for_a_limited_time() {
        let cache = KeyCache::default();
        cache.keep(7, key(), 1, "secret");
        let mut known = cache.get(7).expect("a key");
        assert!(known.is_for("secret") && !known.is_for("another"));
        assert!(cache.get(8).is_none());
        cache.forget(7);
        assert!(cache.get(7).is_none());

        known.read = Instant::now().checked_sub(MAX_AGE).expect("uptime");
        cache.0.insert(7, known);
        assert!(cache.get(7).is_none(), "it was read too long ago");
    }
}
