//! Bounds of uploads, which are larger than other bodies and so have no fixed time: how slowly they
//! may arrive, and how many of them one caller may have at once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Payload};
use futures_core::Stream as _;
use parking_lot::Mutex;

use crate::api::problem::Problem;

/// How long the service has waited for an upload, compared with what has arrived. What the service
/// itself needs, to write to its disk, does not count.
#[derive(Debug)]
pub(in crate::api) struct UploadPace {
    /// For each piece, and for the upload as a whole besides its size.
    grace: Duration,
    /// Bytes a second, on average.
    min_rate: u64,
    waited: Duration,
}

impl UploadPace {
    pub(in crate::api) const fn new(grace: Duration, min_rate: u64) -> Self {
        Self {
            grace,
            min_rate,
            waited: Duration::ZERO,
        }
    }

    /// How long the next piece may take, after so many bytes.
    fn left(&self, received: u64) -> Duration {
        let earned = Duration::from_secs(received / self.min_rate.max(1));
        let allowed = self.grace.saturating_add(earned);
        allowed.saturating_sub(self.waited).min(self.grace)
    }

    /// The next piece of a body; `None` at its end.
    pub(in crate::api) async fn next(
        &mut self,
        body: &mut Payload,
        received: u64,
    ) -> Result<Option<Bytes>, Problem> {
        let started = Instant::now();
        let next = poll_fn(|context| Pin::new(&mut *body).poll_next(context));
        let next = timeout(self.left(received), next).await;
        self.waited = self.waited.saturating_add(started.elapsed());
        let too_slow = || Problem::too_slow_upload(self.min_rate);
        next.map_err(|_| too_slow())?.transpose().map_err(|_| {
            Problem::malformed(
                "malformed-body",
                "the table is incomplete, or does not match its `Transfer-Encoding`",
            )
        })
    }
}

/// The uploads in progress, by the id of the caller. One caller has at most its share, so that
/// uploads that trickle leave slots for others.
#[derive(Debug)]
pub struct UploadShares {
    share: usize,
    by_caller: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// An upload in progress, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct UploadShare {
    caller: String,
    by_caller: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl UploadShares {
    /// One caller has at most half of these slots.
    #[must_use]
    pub fn of(slots: usize) -> Self {
        Self {
            share: slots.div_ceil(2),
            by_caller: Arc::default(),
        }
    }

    /// `None` if this caller has its share in progress.
    pub(in crate::api) fn take(&self, caller: &str) -> Option<UploadShare> {
        let mut by_caller = self.by_caller.lock();
        let uploads = by_caller.entry(caller.to_owned()).or_default();
        if *uploads >= self.share {
            return None;
        }
        *uploads += 1;
        Some(UploadShare {
            caller: caller.to_owned(),
            by_caller: Arc::clone(&self.by_caller),
        })
    }
}

impl Drop for UploadShare {
    fn drop(&mut self) {
        let mut by_caller = self.by_caller.lock();
        if let Some(uploads) = by_caller.get_mut(&self.caller) {
            *uploads -= 1;
            if *uploads == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_earns_time_and_a_pause_uses_it_up() {
        let seconds = Duration::from_secs;
        let mut pace = UploadPace::new(seconds(10), 1_000);
        for (waited, received, left) in [
            (0, 0, 10),
            (4, 0, 6),
            (10, 0, 0),
            (10, 999, 0),
            (10, 3_000, 3),
            // Never more than the time for one piece.
            (10, 100_000, 10),
            (110, 100_000, 0),
            (u64::MAX, u64::MAX, 0),
        ] {
            pace.waited = seconds(waited);
            assert_eq!(pace.left(received), seconds(left), "{waited} {received}");
        }
    }

    #[test]
    fn a_caller_has_half_of_the_slots_and_gets_them_back() {
        let shares = UploadShares::of(3);
        let (one, two) = (shares.take("a"), shares.take("a"));
        assert!(one.is_some() && two.is_some() && shares.take("a").is_none());
        assert!(shares.take("b").is_some(), "another one has its own");
        drop(one);
        assert!(shares.take("a").is_some());
        drop(two);
        assert!(shares.by_caller.lock().is_empty());
        assert!(UploadShares::of(1).take("a").is_some());
    }
}
