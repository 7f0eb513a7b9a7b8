//! What was checked before: signatures cost more than everything else of a request, and the same token or certificate
//! comes again and again. Only what was proven is kept, and never longer than the proof itself holds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use openssl::sha::sha256;

/// Proofs that are kept: some megabytes.
const CAPACITY: usize = 4_096;

/// Proofs that hold, by the SHA-256 of what was offered.
pub(super) struct Remembered<T>(Mutex<HashMap<[u8; 32], T>>);

impl<T: Clone> Remembered<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// What was proven by exactly this, if it still holds.
    pub(super) fn get(&self, offered: &[u8], holds: impl FnOnce(&T) -> bool) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&sha256(offered))
            .filter(|proven| holds(proven))
            .cloned()
    }

    /// Keeps what was proven. When there is no more room, what holds no more makes some; if that is not enough, everything.
    pub(super) fn keep(&self, offered: &[u8], proven: T, holds: impl Fn(&T) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.retain(|_, proven| holds(proven));
        }
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(sha256(offered), proven);
    }
}

impl<T> fmt::Debug for Remembered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_beyond_its_room() {
        let remembered = Remembered::new();
        for n in 0..3 * CAPACITY {
            remembered.keep(&n.to_be_bytes(), n, |kept| kept % 2 == 0);
            let size = remembered.0.lock().expect("a lock").len();
            assert!(size <= CAPACITY, "{size}");
        }
        let last = 3 * CAPACITY - 1;
        assert_eq!(remembered.get(&last.to_be_bytes(), |_| true), Some(last));
        assert_eq!(remembered.get(&last.to_be_bytes(), |_| false), None);
        assert_eq!(remembered.get(b"something else", |_| true), None);
    }
}
