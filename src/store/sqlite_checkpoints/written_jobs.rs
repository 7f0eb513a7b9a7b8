//! What was written since the log was last copied, and when it is to be copied next.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::store::timeouts::TransactionKind;

/// The log is copied after this number of jobs, which need some thousand pages.
const JOBS: usize = 250;
/// Or so long after the first job, if there are few.
const LONGEST: Duration = Duration::from_secs(10);

/// What was written since the log was last copied.
#[derive(Debug, Default)]
pub(in crate::store) struct WrittenJobs {
    state: Mutex<Written>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    jobs: usize,
    since: Option<Instant>,
    stopped: bool,
}

impl WrittenJobs {
    /// Notes a transaction that was committed.
    pub(in crate::store) fn add(&self, jobs: usize, kind: TransactionKind) {
        let jobs = match kind {
            TransactionKind::Mint | TransactionKind::Request => jobs,
            TransactionKind::Long | TransactionKind::Migration => JOBS,
        };
        let mut written = self.state.lock();
        let before = written.jobs;
        written.jobs = before.saturating_add(jobs);
        written.since.get_or_insert_with(Instant::now);
        if before == 0 || (before < JOBS && written.jobs >= JOBS) {
            self.wake.notify_one();
        }
    }

    /// Ends the wait of the thread, permanently.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Waits until there is enough to copy, at `earliest` or later. `false` if the thread is to
    /// stop.
    pub(super) fn wait(&self, earliest: Instant) -> bool {
        let mut written = self.state.lock();
        loop {
            if written.stopped {
                return false;
            }
            match written.due(earliest) {
                None => self.wake.wait(&mut written),
                Some(due) if due <= Instant::now() => {
                    *written = Written::default();
                    return true;
                }
                Some(due) => {
                    self.wake.wait_until(&mut written, due);
                }
            }
        }
    }
}

impl Written {
    fn due(&self, earliest: Instant) -> Option<Instant> {
        let since = self.since?;
        Some(if self.jobs >= JOBS {
            earliest
        } else {
            earliest.max(since + LONGEST)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_jobs_are_copied_soon_and_few_after_a_while() {
        let jobs = WrittenJobs::default();
        let due = |jobs: &WrittenJobs| jobs.state.lock().due(Instant::now());
        assert_eq!(due(&jobs), None);
        jobs.add(1, TransactionKind::Request);
        let later = Instant::now() + LONGEST / 2;
        assert!(due(&jobs).is_some_and(|at| at > later));
        jobs.add(JOBS, TransactionKind::Request);
        assert!(due(&jobs).is_some_and(|at| at < later));
        assert!(jobs.wait(Instant::now()) && due(&jobs).is_none());
        jobs.add(1, TransactionKind::Long);
        assert!(due(&jobs).is_some_and(|at| at < later));
        jobs.state.lock().stopped = true;
        assert!(!jobs.wait(Instant::now()));
    }
}
