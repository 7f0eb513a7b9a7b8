//! What the connections for reading last achieved. They set it; readiness reads it, without
//! waiting for anything.

use std::time::{Duration, Instant};

use super::writer_health::AtomicInstant;

#[derive(Debug)]
pub(super) struct ReaderProgress {
    start: Instant,
    last_read: AtomicInstant,
    last_return: AtomicInstant,
}

impl ReaderProgress {
    /// Of connections that have just been opened.
    pub(super) fn starting(now: Instant) -> Self {
        let progress = Self {
            start: now,
            last_read: AtomicInstant::none(),
            last_return: AtomicInstant::none(),
        };
        progress.read(now);
        progress.returned(now);
        progress
    }

    /// The database has begun a transaction that reads.
    pub(super) fn read(&self, now: Instant) {
        self.last_read.set(self.start, now);
    }

    pub(super) fn last_read(&self) -> Instant {
        self.last_read.get(self.start).unwrap_or(self.start)
    }

    /// A connection was returned, or others take its place.
    pub(super) fn returned(&self, now: Instant) {
        self.last_return.set(self.start, now);
    }

    /// Whether no connection was returned for this time.
    pub(super) fn is_quiet(&self, now: Instant, longest: Duration) -> bool {
        let last = self.last_return.get(self.start).unwrap_or(self.start);
        now.saturating_duration_since(last) >= longest
    }
}
