//! How fast the writer works, and so how long a new job would wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time that one job takes of a transaction, averaged over the latest ones, in nanoseconds.
/// What a transaction waits for a lock that others hold is not part of it: then requests are late,
/// but there are not too many. Only the writer thread changes it.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Adds a transaction to the average. If no more jobs waited than it took, it was smaller than
    /// it would be under load, and each job took a larger share of it: such a one can only lower
    /// the average.
    pub(super) fn observe(&self, jobs: usize, took: Duration, more_waited: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        let Some(each) = nanos.checked_div(jobs) else {
            return;
        };
        let average = self.0.load(Ordering::Relaxed);
        if each < average {
            self.0
                .store(average - (average - each).div_ceil(4), Ordering::Relaxed);
        } else if more_waited {
            self.0
                .store(average + (each - average) / 4, Ordering::Relaxed);
        }
    }

    /// How long a job waits that is taken after this number of others.
    pub(super) fn wait_for(&self, jobs: usize) -> Duration {
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        Duration::from_nanos(self.0.load(Ordering::Relaxed).saturating_mul(jobs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_wait_is_what_full_transactions_took_for_each_job() {
        let pace = Pace::default();
        // Alone, a token takes as long as a transaction.
        pace.observe(1, MS * 3, false);
        assert_eq!(pace.wait_for(1_000), Duration::ZERO);
        for _ in 0..50 {
            pace.observe(250, MS * 50, true);
        }
        let wait = pace.wait_for(1_000);
        assert!(wait > MS * 199 && wait <= MS * 200, "{wait:?}");
        pace.observe(1, MS * 3, false);
        assert_eq!(pace.wait_for(1_000), wait);
    }

    #[test]
    fn one_slow_transaction_is_forgotten_although_few_jobs_are_admitted_after_it() {
        let pace = Pace::default();
        pace.observe(250, Duration::from_secs(20), true);
        assert!(pace.wait_for(5) >= MS * 100);
        for _ in 0..20 {
            pace.observe(5, MS * 3, false);
        }
        assert!(pace.wait_for(100) < MS * 100, "{:?}", pace.wait_for(100));
    }
}
