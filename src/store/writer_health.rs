//! How the writer is: what it last achieved, and what it waits for. The writer sets it; readiness,
//! metrics and the watchdog read it, without waiting for anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How the writer is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterHealth {
    /// The last COMMIT that the database confirmed.
    pub last_commit: Option<Instant>,
    /// Since when the writer waits for the database: for a connection, a BEGIN, the lock, or a
    /// COMMIT. A failed attempt does not end the wait, and neither does an empty queue.
    pub blocked_since: Option<Instant>,
    /// Whether the writer has a connection that worked when it was last used.
    pub connected: bool,
    /// Since when the writer works on one step: one attempt of a transaction, or one attempt to
    /// connect. `None` while it waits for jobs. However the attempt ends, the next step begins.
    /// Every wait for the database has a bound, so a step that takes long means that the thread
    /// hangs, and not that the database is away.
    pub step_since: Option<Instant>,
}

/// [`WriterHealth`], shared between the writer thread, which sets it, and all others.
///
/// Each value is consistent; together they may be of different moments.
#[derive(Debug)]
pub(super) struct WriterProgress {
    start: Instant,
    last_commit: AtomicInstant,
    blocked_since: AtomicInstant,
    connected: AtomicBool,
    step_since: AtomicInstant,
}

impl WriterProgress {
    /// The progress of a writer that starts now, with a connection that was just opened, or with
    /// none.
    pub(super) fn starting(now: Instant, connected: bool) -> Self {
        Self {
            start: now,
            last_commit: AtomicInstant::none(),
            blocked_since: AtomicInstant::none(),
            connected: AtomicBool::new(connected),
            step_since: AtomicInstant::none(),
        }
    }

    pub(super) fn health(&self) -> WriterHealth {
        WriterHealth {
            last_commit: self.last_commit.get(self.start),
            blocked_since: self.blocked_since.get(self.start),
            connected: self.connected.load(Ordering::SeqCst),
            step_since: self.step_since.get(self.start),
        }
    }

    /// A transaction was committed, so the writer is connected and waits for nothing.
    pub(super) fn committed(&self, now: Instant) {
        self.last_commit.set(self.start, now);
        self.connected.store(true, Ordering::SeqCst);
        self.unblocked();
    }

    /// The writer begins to wait for the database, or still waits: the first time counts.
    pub(super) fn blocked(&self, now: Instant) {
        self.blocked_since.set_if_none(self.start, now);
    }

    /// The database has answered. [`Self::committed`] says so, too.
    pub(super) fn unblocked(&self) {
        self.blocked_since.clear();
    }

    /// Whether the writer has a connection now.
    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::SeqCst);
    }

    /// A step begins: an attempt of a transaction, or to connect.
    pub(super) fn step(&self, now: Instant) {
        self.step_since.set(self.start, now);
    }

    /// The writer waits for jobs: nothing is under way. If the last attempt failed, it is still
    /// blocked, until another one shows that the database answers.
    pub(super) fn idle(&self) {
        self.step_since.clear();
    }
}

/// An instant that may be missing, as one number: the nanoseconds since a start, plus one.
#[derive(Debug)]
pub(super) struct AtomicInstant(AtomicU64);

impl AtomicInstant {
    const NONE: u64 = 0;

    pub(super) const fn none() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }

    pub(super) fn get(&self, start: Instant) -> Option<Instant> {
        let since = self.0.load(Ordering::SeqCst).checked_sub(1)?;
        start.checked_add(Duration::from_nanos(since))
    }

    pub(super) fn set(&self, start: Instant, at: Instant) {
        self.0.store(Self::encode(start, at), Ordering::SeqCst);
    }

    fn set_if_none(&self, start: Instant, at: Instant) {
        let encoded = Self::encode(start, at);
        let (set, read) = (Ordering::SeqCst, Ordering::SeqCst);
        // An error means that there is a time already, which stays.
        let _ = self.0.compare_exchange(Self::NONE, encoded, set, read);
    }

    fn clear(&self) {
        self.0.store(Self::NONE, Ordering::SeqCst);
    }

    /// The number of an instant: 64 bits of nanoseconds are five hundred years.
    fn encode(start: Instant, at: Instant) -> u64 {
        let since = at.saturating_duration_since(start).as_nanos();
        u64::try_from(since).map_or(u64::MAX, |since| since.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_writer_that_starts_has_committed_nothing_and_waits_for_nothing() {
        let start = Instant::now();
        let health = WriterProgress::starting(start, true).health();
        assert_eq!((health.last_commit, health.blocked_since), (None, None));
        assert_eq!((health.connected, health.step_since), (true, None));
        assert!(!WriterProgress::starting(start, false).health().connected);
    }

    #[test]
    fn a_wait_lasts_over_attempts_that_fail_and_ends_with_a_commit() {
        let start = Instant::now();
        let progress = WriterProgress::starting(start, true);
        // The start itself is a time as well, not a missing one.
        progress.blocked(start);
        assert_eq!(progress.health().blocked_since, Some(start));
        progress.set_connected(false);
        progress.blocked(start + seconds(4));
        let health = progress.health();
        assert_eq!(
            (health.blocked_since, health.connected),
            (Some(start), false)
        );
        progress.committed(start + seconds(7));
        let health = progress.health();
        assert_eq!(health.last_commit, Some(start + seconds(7)));
        assert_eq!((health.blocked_since, health.connected), (None, true));
        progress.blocked(start + seconds(9));
        assert_eq!(progress.health().blocked_since, Some(start + seconds(9)));
        assert_eq!(progress.health().last_commit, Some(start + seconds(7)));
    }

    #[test]
    fn a_writer_without_jobs_is_in_no_step_and_blocked_until_the_database_answers() {
        let start = Instant::now();
        let progress = WriterProgress::starting(start, true);
        progress.step(start + seconds(1));
        progress.blocked(start + seconds(1));
        progress.step(start + seconds(6));
        let health = progress.health();
        assert_eq!(health.step_since, Some(start + seconds(6)));
        assert_eq!(health.blocked_since, Some(start + seconds(1)));
        progress.idle();
        let health = progress.health();
        assert_eq!(health.step_since, None);
        assert_eq!(health.blocked_since, Some(start + seconds(1)));
        progress.unblocked();
        assert_eq!(progress.health().blocked_since, None);
    }
}
