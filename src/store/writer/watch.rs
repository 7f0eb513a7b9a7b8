//! Watches over the writer thread: answers requests that have waited for too long, and replaces a
//! thread that hangs.
//!
//! A wait for the database can have no end although every connection has timeouts: those of a
//! statement are kept by the server, which may be frozen, while its kernel still acknowledges what
//! is sent. Nothing in this process can interrupt such a wait, so the thread is given up: it ends
//! when its wait does, and does nothing any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::timeouts::{DatabaseTimeouts, TransactionKind};
use super::reply::Deadlines;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// The most threads that hang at the same time.
const MAX_GIVEN_UP: u64 = 8;

/// What the watch and the writer share.
#[derive(Debug, Default)]
pub(super) struct WriterWatch {
    pub(super) deadlines: Deadlines,
    /// When the step of the writer has to be over, if it is in one.
    step_ends: Mutex<Option<Instant>>,
    /// The thread that writes: those with smaller numbers were given up.
    current: AtomicU64,
    /// Those that were given up and have not ended.
    given_up: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl WriterWatch {
    /// The writer begins something that ends soon, if the database does what it has promised.
    pub(super) fn step(
        &self,
        thread: u64,
        now: Instant,
        timeouts: &DatabaseTimeouts,
        kind: TransactionKind,
    ) {
        if self.is_current(thread) {
            let most = timeouts.transaction(kind);
            *self.step_ends.lock() = most.and_then(|most| now.checked_add(most));
        }
    }

    /// The writer waits for jobs.
    pub(super) fn idle(&self, thread: u64) {
        if self.is_current(thread) {
            *self.step_ends.lock() = None;
        }
    }

    /// Whether this thread is the one that writes.
    pub(super) fn is_current(&self, thread: u64) -> bool {
        self.current.load(Ordering::SeqCst) == thread
    }

    /// Gives up the thread that writes, if it hangs. Returns the number of the next one.
    pub(super) fn replace_hanging(&self, now: Instant) -> Option<u64> {
        let mut ends = self.step_ends.lock();
        let hangs = ends.is_some_and(|ends| ends <= now);
        if !hangs || self.given_up.load(Ordering::SeqCst) >= MAX_GIVEN_UP {
            return None;
        }
        *ends = None;
        self.given_up.fetch_add(1, Ordering::SeqCst);
        Some(self.current.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// A thread that was given up has ended after all.
    pub(super) fn ended(&self, thread: u64) {
        if !self.is_current(thread) {
            self.given_up.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Calls `look` at short intervals, until it is stopped.
    pub(super) fn run(self: &Arc<Self>, mut look: impl FnMut(&Arc<Self>, Instant)) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            self.wake.wait_for(&mut stopped, INTERVAL);
            parking_lot::MutexGuard::unlocked(&mut stopped, || {
                let now = Instant::now();
                self.deadlines.answer_until(now);
                look(self, now);
            });
        }
    }

    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_given_up_once() {
        let (watch, start) = (WriterWatch::default(), Instant::now());
        let timeouts = DatabaseTimeouts::default();
        let request = TransactionKind::Request;
        watch.step(0, start, &timeouts, request);
        assert_eq!(watch.replace_hanging(start + timeouts.request), None);
        let late = start + timeouts.request * 2;
        assert_eq!(watch.replace_hanging(late), Some(1));
        assert_eq!(watch.replace_hanging(late), None);
        // It cannot speak for its successor.
        watch.step(0, start, &timeouts, request);
        assert_eq!(watch.replace_hanging(late), None);
        assert!(watch.is_current(1) && !watch.is_current(0));
        watch.step(1, late, &timeouts, TransactionKind::Long);
        assert_eq!(watch.replace_hanging(late + timeouts.request * 2), None);
        watch.idle(1);
        watch.ended(0);
        assert_eq!(watch.given_up.load(Ordering::SeqCst), 0);
        assert_eq!(
            watch.replace_hanging(late + timeouts.long_statement * 4),
            None
        );
    }
}
