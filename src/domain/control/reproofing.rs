//! When control of the numbers of a right to renew is proven again: after two thirds of the age
//! that the proofs must not reach, and from then on with growing waits until the codes come back.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::proof::Method;
use crate::domain::clock::Time;
use crate::domain::numbers::number::Tn;

/// The wait after the first proof that failed, unless the maximum age is short.
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(10);
/// The longest wait after a proof that failed.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(4);
/// The longest wait for authority over the numbers.
const LONGEST_WITHOUT_AUTHORITY: TimeDelta = TimeDelta::hours(1);

/// How control of the numbers of a right is proven again, without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reproofing {
    pub method: Method,
    /// The age that the proofs must not reach, in seconds.
    pub max_age: u32,
    /// When the numbers are checked next, and proofs are started if they are needed; `None` if the
    /// right is over.
    pub due_at: Option<Time>,
}

/// What is known of a number that a right has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberToProve {
    pub number: Tn,
    /// When the newest proof was confirmed that counts.
    pub confirmed_at: Option<Time>,
    /// Whether it was reported, in the last day, that it could not be asked.
    pub is_reported: bool,
    /// Until when it cannot be asked, and why.
    pub blocked: Option<(Blocked, Time)>,
}

/// Why a number cannot be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// A code can still come back.
    Pending,
    /// The last code did not come back.
    Failed,
    /// A limit is reached.
    Limited,
}

/// How many more numbers can be asked now, and when there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofRoom {
    pub numbers: usize,
    pub more_at: Time,
}

/// What is done for a right at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReproofStep {
    /// The numbers to ask.
    pub ask: Vec<Tn>,
    /// When to check the right again.
    pub due_at: Time,
    /// Whether a limit is in the way.
    pub is_limited: bool,
}

impl Reproofing {
    /// The ages that can be asked for, in seconds: an hour to 366 days.
    pub const MAX_AGES: RangeInclusive<u32> = 3_600..=31_622_400;

    /// When a proof that was confirmed then is followed by another one: after two thirds of the
    /// maximum age, plus or minus a twentieth of it. `chance` spreads rights over that time.
    #[must_use]
    pub fn due_after(&self, confirmed_at: Time, chance: u16) -> Time {
        let age = i64::from(self.max_age);
        let spread = age * (2 * i64::from(chance) - i64::from(u16::MAX));
        confirmed_at + TimeDelta::seconds(age * 2 / 3 + spread / (20 * i64::from(u16::MAX)))
    }

    /// When to try again after the last one of a number of proofs that failed.
    #[must_use]
    pub fn retry_at(&self, failed: u32, last: Time) -> Time {
        let longest = self.part(6).min(LONGEST_WAIT);
        let first = self.part(12).min(FIRST_WAIT);
        let doubled = 1 << failed.saturating_sub(1).min(10);
        last + (first * doubled).min(longest)
    }

    /// When to check a right again whose account has no authority now.
    #[must_use]
    pub fn without_authority_until(&self, now: Time) -> Time {
        now + self.part(12).min(LONGEST_WITHOUT_AUTHORITY)
    }

    /// What to do now for these numbers. `valid` is how long a code can come back.
    #[must_use]
    pub fn step(
        &self,
        numbers: &[NumberToProve],
        room: ProofRoom,
        (now, valid): (Time, TimeDelta),
        chance: u16,
    ) -> ReproofStep {
        let (mut ask, mut is_limited) = (Vec::new(), false);
        let (mut oldest, mut due): (Option<Time>, Option<Time>) = (None, None);
        for one in numbers {
            let fresh = one
                .confirmed_at
                .filter(|at| self.due_after(*at, u16::MIN) > now);
            let next = match (fresh, one.blocked) {
                (Some(at), _) => {
                    oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
                    continue;
                }
                (None, Some((why, until))) => {
                    is_limited |= why == Blocked::Limited;
                    until
                }
                (None, None) if ask.len() < room.numbers => {
                    ask.push(one.number);
                    now + self.part(20).min(valid)
                }
                (None, None) => {
                    is_limited = true;
                    room.more_at
                }
            };
            due = Some(due.map_or(next, |due| due.min(next)));
        }
        let soon = now + TimeDelta::seconds(1);
        let due_at = match (due, oldest) {
            (Some(due), _) => due,
            (None, Some(oldest)) => self.due_after(oldest, chance),
            // No number at all: there is nothing to prove.
            (None, None) => self.without_authority_until(now),
        };
        ReproofStep {
            ask,
            due_at: due_at.max(soon),
            is_limited,
        }
    }

    /// A number whose last proof is too old, because the limits did not allow to ask it: one of a
    /// right is enough to report, once a day. `since` is when the right was given. Without room, no
    /// number can be asked.
    #[must_use]
    pub fn overdue(
        &self,
        numbers: &[NumberToProve],
        (since, now): (Time, Time),
        has_room: bool,
    ) -> Option<Tn> {
        let is_over = |one: &&NumberToProve| {
            let last = one.confirmed_at.unwrap_or(since);
            last + TimeDelta::seconds(self.max_age.into()) <= now
        };
        let mut over = numbers.iter().filter(is_over);
        if over.clone().any(|one| one.is_reported) {
            return None;
        }
        let is_limited = |one: &&NumberToProve| match one.blocked {
            Some((Blocked::Limited, _)) => true,
            Some((Blocked::Pending | Blocked::Failed, _)) => false,
            None => !has_room,
        };
        over.find(is_limited).map(|one| one.number)
    }

    fn part(&self, divisor: u32) -> TimeDelta {
        TimeDelta::seconds((self.max_age / divisor).into())
    }
}

/// Random bits of its own for each right, out of those of one transaction; `purpose` makes several.
#[must_use]
pub fn bits_for(random: &[u8; 32], right: Uuid, purpose: &str) -> [u8; 32] {
    let digest = Sha256::new()
        .chain_update(random)
        .chain_update(right.as_bytes())
        .chain_update(purpose);
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    const HOUR: u32 = 3_600;
    const DAY: u32 = 86_400;
    const VALID: TimeDelta = TimeDelta::minutes(10);

    fn every(max_age: u32) -> Reproofing {
        Reproofing {
            method: Method::Sip,
            max_age,
            due_at: None,
        }
    }

    fn number(n: u32, confirmed: Option<i64>, blocked: Option<(Blocked, i64)>) -> NumberToProve {
        NumberToProve {
            is_reported: false,
            number: format!("+1212555{n:04}").parse().expect("a number"),
            confirmed_at: confirmed.map(from_unix),
            blocked: blocked.map(|(why, until)| (why, from_unix(until))),
        }
    }

    fn step(max_age: u32, numbers: &[NumberToProve], room: usize, now: i64) -> ReproofStep {
        let room = ProofRoom {
            numbers: room,
            more_at: from_unix(now + 300),
        };
        every(max_age).step(numbers, room, (from_unix(now), VALID), 0x8000)
    }

    #[test]
    fn the_next_proof_is_due_after_two_thirds_within_a_twentieth() {
        for max_age in [HOUR, 7 * DAY, 90 * DAY, *Reproofing::MAX_AGES.end()] {
            let age = i64::from(max_age);
            let (earliest, latest) = (age * 37 / 60 - 1, age * 43 / 60 + 1);
            let mut seen = std::collections::BTreeSet::new();
            for chance in (0..=u16::MAX).step_by(97) {
                let due = every(max_age).due_after(from_unix(0), chance).timestamp();
                assert!((earliest..=latest).contains(&due), "{due} of {age}");
                seen.insert(due);
            }
            assert!(seen.len() > 300, "it is spread: {}", seen.len());
        }
    }

    #[test]
    fn failed_proofs_are_repeated_well_before_the_end() {
        let waits = |max_age| -> Vec<i64> {
            let wait = |failed| every(max_age).retry_at(failed, from_unix(0)).timestamp();
            (1..=8).map(wait).collect()
        };
        // A third of the hour is left: two more attempts, and the limit of a number is kept.
        assert_eq!(waits(HOUR)[..2], [300, 600]);
        assert_eq!(
            waits(90 * DAY),
            [600, 1_200, 2_400, 4_800, 9_600, 14_400, 14_400, 14_400]
        );
        assert_eq!(every(HOUR).retry_at(u32::MAX, from_unix(0)), from_unix(600));
    }

    #[test]
    fn only_what_is_not_fresh_is_asked_and_the_oldest_sets_the_next_time() {
        let (day, now) = (i64::from(DAY), 100 * i64::from(DAY));
        let young = number(1, Some(now - day / 10), None);
        let younger = number(2, Some(now - 60), None);
        let none = number(3, None, None);
        let old = number(4, Some(now - day * 2 / 3), None);
        let asked = step(DAY, &[young, younger, none, old], 9, now);
        assert_eq!(asked.ask, [none.number, old.number]);
        assert_eq!(asked.due_at, from_unix(now + 600));
        assert!(!asked.is_limited);

        let rests = step(DAY, &[younger, young], 9, now);
        assert_eq!(rests.ask, []);
        let due = (rests.due_at - from_unix(now - day / 10)).num_seconds();
        assert!((day * 2 / 3 - 5..day * 2 / 3 + 5).contains(&due), "{due}");
    }

    #[test]
    fn what_is_blocked_waits_and_a_limit_means_later() {
        let now = 1_000_000;
        let pending = number(1, None, Some((Blocked::Pending, now + 40)));
        let failed = number(2, None, Some((Blocked::Failed, now + 90)));
        let waits = step(DAY, &[pending, failed], 9, now);
        assert_eq!((waits.ask.len(), waits.is_limited), (0, false));
        assert_eq!(waits.due_at, from_unix(now + 40));

        let limited = number(3, None, Some((Blocked::Limited, now + 1_800)));
        let waits = step(DAY, &[limited], 9, now);
        assert_eq!((waits.ask.len(), waits.is_limited), (0, true));
        assert_eq!(waits.due_at, from_unix(now + 1_800));

        let (one, other) = (number(4, None, None), number(5, None, None));
        let asks = step(DAY, &[one, other], 1, now);
        assert_eq!((asks.ask, asks.is_limited), (vec![one.number], true));
        assert_eq!(asks.due_at, from_unix(now + 300));
    }

    #[test]
    fn each_right_has_bits_of_its_own() {
        let (random, one, other) = ([7; 32], Uuid::from_u128(1), Uuid::from_u128(2));
        let bits = bits_for(&random, one, "a");
        assert_eq!(bits, bits_for(&random, one, "a"));
        assert_ne!(bits, bits_for(&random, other, "a"));
        assert_ne!(bits, bits_for(&random, one, "b"));
        assert_ne!(bits, bits_for(&[8; 32], one, "a"));
    }
}
