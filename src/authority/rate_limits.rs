//! Rate limits: token buckets with a burst, one for each caller, account and peer address. They are
//! in memory, so each replica counts for itself.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use thiserror::Error;

use crate::domain::network::source::source_network;
use crate::domain::text::words::words;
use crate::domain::{AccountId, Caller};

/// The most keys of one kind that are tracked at one time.
const MAX_KEYS: usize = 100_000;
/// Idle keys are evicted after this many requests.
const SWEEP_EVERY: u32 = 10_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests of one caller.
    Caller,
    /// Token requests for one account.
    Account,
    /// Requests from one address that failed to authenticate.
    Proof,
}

/// A rate limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many {}; retry in {seconds} s", .limit.of_what())]
pub struct TooMany {
    pub limit: Limit,
    /// In how many seconds another request will be accepted.
    pub seconds: u64,
}

/// A rate limit: requests per second, and how many may arrive at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 0 means unlimited.
    pub per_second: u32,
    pub burst: u32,
}

/// All rate limits.
#[derive(Debug)]
pub struct Limits {
    callers: Buckets<String>,
    accounts: Buckets<AccountId>,
    proofs: Buckets<IpAddr>,
}

/// The clock of the limits. It is monotonic, so setting the system clock does not affect it.
#[derive(Debug, Clone)]
pub enum LimitClock {
    Since(Instant),
    /// A clock that tests advance by hand.
    Fake(FakeRelativeClock),
}

impl Limits {
    #[must_use]
    pub fn new(caller: Rate, account: Rate, proof: Rate, clock: &LimitClock) -> Self {
        Self {
            callers: Buckets::new(Limit::Caller, caller, clock),
            accounts: Buckets::new(Limit::Account, account, clock),
            proofs: Buckets::new(Limit::Proof, proof, clock),
        }
    }

    /// No limits, as at the command line.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Rate::NONE, Rate::NONE, Rate::NONE, &LimitClock::default())
    }

    /// Counts a request of a caller.
    ///
    /// # Errors
    /// If the caller exceeds its limit.
    pub fn caller(&self, caller: &Caller) -> Result<(), TooMany> {
        self.callers.take(&caller.id)
    }

    /// Counts a token request for an account, by a caller that may act for it.
    ///
    /// # Errors
    /// If the account exceeds its limit.
    pub fn account(&self, account: &AccountId) -> Result<(), TooMany> {
        self.accounts.take(account)
    }

    /// Counts a request that failed to authenticate. All addresses of an IPv6 /64 count as one,
    /// since a single client usually has all of them.
    ///
    /// # Errors
    /// If the address exceeds its limit.
    pub fn failed_proof(&self, peer: IpAddr) -> Result<(), TooMany> {
        self.proofs.take(&source_network(peer))
    }
}

words! {
    /// The label value of the metric.
    for Limit {
        Caller = "caller",
        Account = "account",
        Proof = "proof",
    }
}

impl Limit {
    const fn of_what(self) -> &'static str {
        match self {
            Self::Caller => "requests of this caller",
            Self::Account => "requests for tokens of this account",
            Self::Proof => "requests without valid credentials from this address",
        }
    }
}

impl Rate {
    pub const NONE: Self = Self {
        per_second: 0,
        burst: 0,
    };
}

impl Default for LimitClock {
    fn default() -> Self {
        Self::Since(Instant::now())
    }
}

impl Clock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        match self {
            Self::Since(start) => {
                Nanos::new(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            Self::Fake(clock) => clock.now(),
        }
    }
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, LimitClock, NoOpMiddleware<Nanos>>;

/// The buckets of one kind; no limiter means no limit.
#[derive(Debug)]
struct Buckets<K: Hash + Eq + Clone> {
    limit: Limit,
    limiter: Option<Limiter<K>>,
    clock: LimitClock,
    requests: AtomicU32,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(limit: Limit, rate: Rate, clock: &LimitClock) -> Self {
        let quota = NonZeroU32::new(rate.per_second).map(|per_second| {
            let quota = Quota::per_second(per_second);
            quota.allow_burst(NonZeroU32::new(rate.burst).unwrap_or(per_second))
        });
        Self {
            limit,
            limiter: quota.map(|quota| RateLimiter::hashmap_with_clock(quota, clock.clone())),
            clock: clock.clone(),
            requests: AtomicU32::new(0),
        }
    }

    fn take(&self, key: &K) -> Result<(), TooMany> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        // Evict idle keys now and then, and always before the table overflows.
        if self.requests.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1
            || limiter.len() >= MAX_KEYS
        {
            limiter.retain_recent();
        }
        if limiter.len() >= MAX_KEYS {
            return self.overflowing();
        }
        limiter.check_key(key).map_err(|until| TooMany {
            limit: self.limit,
            seconds: in_seconds(until.wait_time_from(self.clock.now())),
        })
    }

    /// More keys than are tracked were active while a bucket refills. Unauthenticated addresses are
    /// refused. Authenticated callers are let through: that many of them cannot be one attacker.
    fn overflowing(&self) -> Result<(), TooMany> {
        match self.limit {
            Limit::Caller | Limit::Account => Ok(()),
            Limit::Proof => Err(TooMany {
                limit: self.limit,
                seconds: 1,
            }),
        }
    }
}

/// The wait in whole seconds, at least one, rounded up so that a retry after it succeeds.
fn in_seconds(wait: Duration) -> u64 {
    let more = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + more).max(1)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn of_peers(per_second: u32, burst: u32) -> (Limits, FakeRelativeClock) {
        let fake = FakeRelativeClock::default();
        let rate = Rate { per_second, burst };
        let clock = LimitClock::Fake(fake.clone());
        let limits = Limits::new(Rate::NONE, rate, rate, &clock);
        (limits, fake)
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_bucket_has_a_burst_and_fills_again() {
        let (limits, clock) = of_peers(2, 5);
        let one = peer("192.0.2.1");
        for _ in 0..5 {
            assert_eq!(limits.failed_proof(one), Ok(()));
        }
        let too_many = TooMany {
            limit: Limit::Proof,
            seconds: 1,
        };
        assert_eq!(limits.failed_proof(one), Err(too_many));
        assert_eq!(limits.failed_proof(peer("192.0.2.2")), Ok(()));
        clock.advance(Duration::from_millis(499));
        assert!(limits.failed_proof(one).is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(limits.failed_proof(one), Ok(()));
        assert!(limits.failed_proof(one).is_err());
        clock.advance(Duration::from_secs(3600));
        let taken = (0..100).filter(|_| limits.failed_proof(one).is_ok());
        assert_eq!(taken.count(), 5, "it does not fill beyond its burst");
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one() {
        let (limits, _) = of_peers(1, 1);
        assert!(limits.failed_proof(peer("2001:db8:1:2::1")).is_ok());
        assert!(limits.failed_proof(peer("2001:db8:1:2:ffff::9")).is_err());
        assert!(limits.failed_proof(peer("2001:db8:1:3::1")).is_ok());
        assert!(limits.failed_proof(peer("::ffff:192.0.2.1")).is_ok());
        assert!(limits.failed_proof(peer("192.0.2.1")).is_err());
        assert!(limits.failed_proof(peer("192.0.2.2")).is_ok());
    }

    #[test]
    fn idle_keys_are_dropped_and_their_number_is_bounded() {
        let (limits, clock) = of_peers(1, 1);
        let nth = |n: u128| IpAddr::from(Ipv6Addr::from_bits(n << 64));
        for n in 0..MAX_KEYS as u128 {
            assert!(limits.failed_proof(nth(n)).is_ok());
        }
        assert!(limits.failed_proof(nth(1 << 40)).is_err());
        let keys = || limits.proofs.limiter.as_ref().map_or(0, RateLimiter::len);
        assert_eq!(keys(), MAX_KEYS);
        clock.advance(Duration::from_secs(2));
        assert!(limits.failed_proof(nth(1 << 40)).is_ok());
        assert_eq!(keys(), 1);
        for _ in 0..2 * SWEEP_EVERY {
            clock.advance(Duration::from_secs(2));
            let _ = limits.failed_proof(nth(2));
        }
        assert_eq!(keys(), 1);
    }

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let limits = Limits::none();
        assert!((0..10_000).all(|_| limits.failed_proof(peer("192.0.2.1")).is_ok()));
        assert_eq!(
            [Duration::ZERO, Duration::from_millis(1001)].map(in_seconds),
            [1, 2]
        );
    }
}
