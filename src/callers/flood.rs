//! How often somebody may try to log in. The table has a fixed size, whoever comes: a key falls into one of its places by a
//! keyed hash, which nobody outside knows. Two keys in one place share what it allows.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Places of the table: some tens of kilobytes.
const PLACES: usize = 4_096;

type Place<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A limit for each key: so many times at once, and as many in a minute.
pub struct FloodGate<C: Clock = DefaultClock> {
    places: Vec<Place<C>>,
    hasher: RandomState,
    clock: C,
}

impl<C: Clock> fmt::Debug for FloodGate<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloodGate").finish_non_exhaustive()
    }
}

impl FloodGate {
    /// A gate that lets a key through so often in a minute.
    #[must_use]
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self::with_clock(per_minute, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> FloodGate<C> {
    fn with_clock(per_minute: NonZeroU32, clock: &C) -> Self {
        let quota = Quota::per_minute(per_minute);
        let place = |_| RateLimiter::direct_with_clock(quota, clock.clone());
        Self {
            places: (0..PLACES).map(place).collect(),
            hasher: RandomState::new(),
            clock: clock.clone(),
        }
    }

    /// Counts one more of this key.
    ///
    /// # Errors
    /// Whole seconds to wait, at least one, if there were too many.
    pub fn pass(&self, key: &impl Hash) -> Result<(), u64> {
        let hash = self.hasher.hash_one(key);
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        self.places[place].check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            wait.saturating_add(Duration::from_millis(999))
                .as_secs()
                .max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn gate(per_minute: u32) -> (FloodGate<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let per_minute = NonZeroU32::new(per_minute).expect("more than 0");
        (FloodGate::with_clock(per_minute, &clock), clock)
    }

    #[test]
    fn a_flood_is_told_when_to_come_again_and_that_is_enough() {
        let (gate, clock) = gate(6);
        for n in 0..6 {
            assert_eq!(gate.pass(&"somebody"), Ok(()), "{n}");
        }
        let wait = gate.pass(&"somebody").expect_err("a limit");
        assert_eq!(wait, 10);
        clock.advance(Duration::from_secs(wait - 1));
        assert_eq!(gate.pass(&"somebody"), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(gate.pass(&"somebody"), Ok(()));
        assert_eq!(gate.pass(&"somebody"), Err(10));
        clock.advance(Duration::from_secs(3600));
        for n in 0..6 {
            assert_eq!(gate.pass(&"somebody"), Ok(()), "{n}");
        }
        assert!(gate.pass(&"somebody").is_err());
    }

    #[test]
    fn others_are_not_held_up_and_the_table_does_not_grow() {
        let (gate, _) = gate(1);
        let through = (0..20_000).filter(|n| gate.pass(n).is_ok()).count();
        assert!((3_900..=PLACES).contains(&through), "{through}");
        assert_eq!(gate.places.len(), PLACES);
    }
}
