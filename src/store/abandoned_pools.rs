//! Pools of read connections that hang and were replaced. Their connections and threads last until
//! the database answers, or its connections end. So there is a bound, without which the service
//! itself would fill the server.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::RepeatedLine;

/// The most pools that hang at the same time, besides the one that is used.
const MAX_ABANDONED: usize = 3;

/// The attempts of one pool to connect that are under way. It lasts as long as the pool, so it
/// also says whether there still is one.
#[derive(Debug, Default)]
pub(super) struct ConnectAttempts(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    since: BTreeSet<(Instant, u64)>,
    begun: u64,
}

/// An attempt that is under way, until it is dropped.
pub(super) struct ConnectAttempt<'a>(&'a ConnectAttempts, (Instant, u64));

impl ConnectAttempts {
    pub(super) fn begin(&self, now: Instant) -> ConnectAttempt<'_> {
        let mut under_way = self.0.lock();
        under_way.begun += 1;
        let attempt = (now, under_way.begun);
        under_way.since.insert(attempt);
        ConnectAttempt(self, attempt)
    }

    /// Whether one of them has taken so long that it does not end by itself. libpq has a timeout
    /// for the login, and none for what follows.
    pub(super) fn hang(&self, now: Instant, longest: Duration) -> bool {
        let under_way = self.0.lock();
        let oldest = under_way.since.first();
        oldest.is_some_and(|(since, _)| now.saturating_duration_since(*since) >= longest)
    }
}

impl Drop for ConnectAttempt<'_> {
    fn drop(&mut self) {
        self.0.0.lock().since.remove(&self.1);
    }
}

/// The pools that were replaced and have not ended.
#[derive(Debug, Default)]
pub(super) struct AbandonedPools {
    pools: Vec<Weak<ConnectAttempts>>,
    full: RepeatedLine,
}

impl AbandonedPools {
    /// Adds the pool with these attempts. Returns whether there is space for another one.
    pub(super) fn add(&mut self, attempts: &Arc<ConnectAttempts>, now: Instant) -> bool {
        self.pools.retain(|pool| pool.strong_count() > 0);
        if self.pools.len() >= MAX_ABANDONED {
            if let Some(left_out) = self.full.left_out(now) {
                log::error!(
                    left_out;
                    "the database accepts connections and answers none of them, so no more read \
                     connections are opened until some have ended; if it answers others, restart \
                     the service"
                );
            }
            return false;
        }
        self.pools.push(Arc::downgrade(attempts));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_that_hang_are_bounded_until_one_of_them_ends() {
        let (mut abandoned, now) = (AbandonedPools::default(), Instant::now());
        let mut pools: Vec<Arc<ConnectAttempts>> =
            (0..=MAX_ABANDONED).map(|_| Arc::default()).collect();
        let added: Vec<bool> = pools.iter().map(|one| abandoned.add(one, now)).collect();
        assert_eq!(added, [true, true, true, false]);
        let last = pools.pop().expect("a pool");
        assert!(!abandoned.add(&last, now));
        pools.pop();
        assert!(abandoned.add(&last, now));
    }

    #[test]
    fn an_attempt_that_takes_too_long_hangs() {
        let (attempts, start) = (ConnectAttempts::default(), Instant::now());
        let longest = Duration::from_secs(9);
        assert!(!attempts.hang(start + longest, longest));
        let one = attempts.begin(start);
        let other = attempts.begin(start);
        assert!(!attempts.hang(start + longest / 2, longest));
        assert!(attempts.hang(start + longest, longest));
        drop(one);
        assert!(attempts.hang(start + longest, longest));
        drop(other);
        assert!(!attempts.hang(start + longest, longest));
    }
}
