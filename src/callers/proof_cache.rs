//! Credentials that were verified before: signatures cost more than everything else of a request, and the same token or
//! certificate comes with one request after another. Only what was proven is cached, and never used longer than it holds.

use std::fmt;

use openssl::sha::sha256;
use quick_cache::sync::Cache;

/// Proofs that are kept: some megabytes.
const CAPACITY: usize = 4_096;

/// Proofs that hold, by the SHA-256 of what was offered. When there are too many, those go that were not used again: a
/// flood of tokens that are used once leaves those of busy callers where they are.
pub(super) struct ProofCache<T>(Cache<[u8; 32], T>);

impl<T: Clone> ProofCache<T> {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// What was proven by exactly this, if it still holds.
    pub(super) fn get(&self, offered: &[u8], holds: impl FnOnce(&T) -> bool) -> Option<T> {
        self.0.get(&sha256(offered)).filter(holds)
    }

    /// Keeps what was proven.
    pub(super) fn keep(&self, offered: &[u8], proven: T) {
        self.0.insert(sha256(offered), proven);
    }
}

impl<T> fmt::Debug for ProofCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_what_is_used_where_it_is() {
        let remembered = ProofCache::new();
        let hot = |n: usize| format!("hot {n}").into_bytes();
        // What is missing is verified and kept once more.
        let use_all = |all: std::ops::Range<usize>| {
            let missing = |one: &usize| remembered.get(&hot(*one), |_| true) != Some(*one);
            let missing: Vec<usize> = all.filter(missing).collect();
            for one in &missing {
                remembered.keep(&hot(*one), *one);
            }
            missing.len()
        };
        // The second time it is full of what nobody uses.
        for all in [0..50, 50..100] {
            assert_eq!(use_all(all.clone()), all.len());
            for n in 0..2 * CAPACITY {
                if n % 64 == 0 {
                    let missing = use_all(all.clone());
                    assert!(missing <= 5, "{missing} are missing after {n}");
                }
                let once = [all.start, n].map(usize::to_be_bytes).concat();
                remembered.keep(&once, n);
                assert!(remembered.0.len() <= CAPACITY, "after {n}");
            }
        }
    }

    #[test]
    fn what_holds_no_more_is_not_returned() {
        let remembered = ProofCache::new();
        remembered.keep(b"a token", 1);
        assert_eq!(remembered.get(b"a token", |_| false), None);
        assert_eq!(remembered.get(b"a token", |_| true), Some(1));
        remembered.keep(b"a token", 2);
        assert_eq!(remembered.get(b"a token", |_| true), Some(2));
        assert_eq!(remembered.get(b"another token", |_| true), None);
    }
}
