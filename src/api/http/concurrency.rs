//! How many requests are worked on at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests under way, and how many there may be.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    most: usize,
    now: Arc<AtomicUsize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit(Arc<AtomicUsize>);

impl ConcurrencyLimit {
    /// At most so many.
    #[must_use]
    pub fn at_most(most: usize) -> Self {
        Self {
            most,
            now: Arc::default(),
        }
    }

    /// Counts one more, unless there are too many.
    pub(in crate::api) fn enter(&self) -> Option<Permit> {
        let one = Permit(Arc::clone(&self.now));
        (self.now.fetch_add(1, Ordering::SeqCst) < self.most).then_some(one)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::ConcurrencyLimit;

    #[test]
    fn a_place_is_free_again_when_its_request_ends() {
        let under_way = ConcurrencyLimit::at_most(2);
        let (one, two) = (under_way.enter(), under_way.enter());
        assert!(one.is_some() && two.is_some());
        assert!(under_way.enter().is_none() && under_way.enter().is_none());
        drop(one);
        let three = under_way.enter();
        assert!(three.is_some() && under_way.enter().is_none());
    }
}
