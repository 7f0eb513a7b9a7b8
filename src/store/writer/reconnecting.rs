//! When the writer tries to connect again: after pauses that grow, while its queue waits; and how
//! long the queue waits.

use std::time::{Duration, Instant};

/// The pause after the first failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The failed attempts since the connection was lost.
#[derive(Debug, Default)]
pub(super) struct Reconnecting(Option<Failures>);

#[derive(Debug)]
struct Failures {
    first: Instant,
    pause: Duration,
    next: Instant,
}

/// What to do about a lost connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAttempt {
    Now,
    /// Later, and the jobs wait.
    At(Instant),
    /// The jobs have waited for long enough.
    TooLate,
}

impl Reconnecting {
    /// What to do, given how long jobs wait for the database.
    pub(super) fn next(&self, now: Instant, patience: Duration) -> NextAttempt {
        match &self.0 {
            None => NextAttempt::Now,
            Some(failures) if failures.next <= now => NextAttempt::Now,
            // Later jobs do not wait anew: the database has been away for long.
            Some(failures) if failures.next > failures.first + patience => NextAttempt::TooLate,
            Some(failures) => NextAttempt::At(failures.next),
        }
    }

    /// An attempt failed. `jitter` spreads the attempts of many replicas.
    pub(super) fn failed(&mut self, now: Instant, jitter: u8) {
        let (first, pause) = match &self.0 {
            None => (now, FIRST_PAUSE),
            Some(failures) => (failures.first, (failures.pause * 2).min(MAX_PAUSE)),
        };
        let spread = pause * u32::from(jitter) / 512;
        self.0 = Some(Failures {
            first,
            pause,
            next: now + pause - spread,
        });
    }

    pub(super) fn connected(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_repeated_with_growing_pauses_until_the_jobs_have_waited_long_enough() {
        let (start, patience) = (Instant::now(), Duration::from_secs(5));
        let mut reconnecting = Reconnecting::default();
        let (mut now, mut pauses) = (start, Vec::new());
        loop {
            match reconnecting.next(now, patience) {
                NextAttempt::Now => reconnecting.failed(now, 0),
                NextAttempt::At(at) => {
                    pauses.push((at - now).as_millis());
                    now = at;
                }
                NextAttempt::TooLate => break,
            }
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        // Jobs that come later are answered at once, but for one attempt a second.
        assert_eq!(reconnecting.next(now, patience), NextAttempt::TooLate);
        now += MAX_PAUSE;
        assert_eq!(reconnecting.next(now, patience), NextAttempt::Now);
        reconnecting.failed(now, 0);
        assert_eq!(reconnecting.next(now, patience), NextAttempt::TooLate);
        reconnecting.connected();
        assert_eq!(reconnecting.next(now, patience), NextAttempt::Now);
    }

    #[test]
    fn jitter_makes_a_pause_shorter_by_up_to_half() {
        let start = Instant::now();
        let mut reconnecting = Reconnecting::default();
        reconnecting.failed(start, u8::MAX);
        let next = reconnecting.next(start, Duration::from_secs(5));
        let NextAttempt::At(at) = next else {
            panic!("{next:?}")
        };
        assert!((25..30).contains(&(at - start).as_millis()), "{next:?}");
    }
}
