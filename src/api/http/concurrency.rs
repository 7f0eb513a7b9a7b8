//! Limits how many requests are processed at the same time, and how much of their answers waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::unsent::UnsentAnswers;

/// The number of requests in progress, and its limit.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    max: usize,
    current: Arc<AtomicUsize>,
    unsent: Arc<UnsentAnswers>,
}

/// Counts as one request until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit(Arc<AtomicUsize>);

impl ConcurrencyLimit {
    #[must_use]
    pub fn at_most(max: usize) -> Self {
        Self {
            max,
            current: Arc::default(),
            unsent: Arc::default(),
        }
    }

    /// The large answers that are not sent yet.
    #[must_use]
    pub fn unsent(&self) -> &Arc<UnsentAnswers> {
        &self.unsent
    }

    /// Counts a request, unless the limit is reached.
    pub(in crate::api) fn enter(&self) -> Option<Permit> {
        // Created first, so that dropping it undoes the addition if the limit is reached.
        let permit = Permit(Arc::clone(&self.current));
        (self.current.fetch_add(1, Ordering::SeqCst) < self.max).then_some(permit)
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
    fn a_permit_is_available_again_when_its_request_ends() {
        let limit = ConcurrencyLimit::at_most(2);
        let (one, two) = (limit.enter(), limit.enter());
        assert!(one.is_some() && two.is_some());
        assert!(limit.enter().is_none() && limit.enter().is_none());
        drop(one);
        let three = limit.enter();
        assert!(three.is_some() && limit.enter().is_none());
    }
}
