//! A cache of verified credentials. Verifying a signature costs more than the rest of a request,
//! and a client sends the same token or certificate many times. An entry is never used beyond its
//! validity.

use std::fmt;

use openssl::sha::sha256;
use quick_cache::sync::Cache;

/// Entries: a few megabytes.
const CAPACITY: usize = 4_096;

/// Verified credentials, by their SHA-256. When full, entries that were not used again are evicted
/// first, so a flood of tokens that are used once does not evict those of busy callers.
pub(super) struct ProofCache<T>(Cache<[u8; 32], T>);

impl<T: Clone> ProofCache<T> {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// The entry of this credential, if `is_valid` accepts it.
    pub(super) fn get(&self, credential: &[u8], is_valid: impl FnOnce(&T) -> bool) -> Option<T> {
        self.0.get(&sha256(credential)).filter(is_valid)
    }

    pub(super) fn keep(&self, credential: &[u8], verified: T) {
        self.0.insert(sha256(credential), verified);
    }
}

impl<T> fmt::Debug for ProofCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofCache(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_does_not_evict_what_is_in_use() {
        let cache = ProofCache::new();
        let hot = |n: usize| format!("hot {n}").into_bytes();
        // As in the service, a missing entry is verified and added again.
        let use_all = |all: std::ops::Range<usize>| {
            let missing = |one: &usize| cache.get(&hot(*one), |_| true) != Some(*one);
            let missing: Vec<usize> = all.filter(missing).collect();
            for one in &missing {
                cache.keep(&hot(*one), *one);
            }
            missing.len()
        };
        // In the second round, the cache is full of entries that are not used again.
        for all in [0..50, 50..100] {
            assert_eq!(use_all(all.clone()), all.len());
            for n in 0..2 * CAPACITY {
                if n % 64 == 0 {
                    let missing = use_all(all.clone());
                    assert!(missing <= 5, "{missing} are missing after {n}");
                }
                let once = [all.start, n].map(usize::to_be_bytes).concat();
                cache.keep(&once, n);
                assert!(cache.0.len() <= CAPACITY, "after {n}");
            }
        }
    }

    #[test]
    fn an_invalid_entry_is_not_returned() {
        let cache = ProofCache::new();
        cache.keep(b"a token", 1);
        assert_eq!(cache.get(b"a token", |_| false), None);
        assert_eq!(cache.get(b"a token", |_| true), Some(1));
        cache.keep(b"a token", 2);
        assert_eq!(cache.get(b"a token", |_| true), Some(2));
        assert_eq!(cache.get(b"another token", |_| true), None);
    }
}
