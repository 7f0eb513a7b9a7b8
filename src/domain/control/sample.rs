//! Samples: which numbers of a delegation are proven in place of a long range, when a policy asks
//! for control.
//!
//! A sample is of a whole delegation, as it was made, and not of a list: who asks for a token
//! chooses the list. Whatever part of a delegation is asked for in a long range, the same numbers
//! have to be proven, so there is nothing to gain by other lists. Which numbers they are follows
//! from a keyed hash of the account and the day, which nobody knows before.
//!
//! A sample is kept for a day, and longer as long as all of its numbers are proven.

use std::cmp::Reverse;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::facts::{MAX_NUMBERS, RequiredNumbers, count, numbers_of};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::{NumberRange, Tn};
use crate::domain::numbers::range_set::gaps;

/// How long a sample stays the same, although its numbers are not proven.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// How old the proofs of a sample can get before others are drawn: the oldest that a right to renew
/// can name, so that no other request replaces the sample of one.
pub const PROVEN_FOR: TimeDelta = TimeDelta::days(366);

/// All numbers of ranges, and of delegations, with fewer numbers than this have to be proven.
pub const SAMPLED_FROM: u64 = 100;

/// The numbers that are proven in place of the long ranges that are asked for from a delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSample {
    pub account: AccountId,
    /// All numbers of the delegation.
    pub block: NumberRange,
    /// How many numbers were wanted; there are fewer if the account has authority over fewer.
    pub size: u32,
    /// In order.
    pub numbers: Vec<Tn>,
    pub drawn_at: Time,
}

/// The day whose ranks apply at an instant.
#[must_use]
pub fn day_of(now: Time) -> i64 {
    now.timestamp().div_euclid(KEPT.num_seconds())
}

impl ControlSample {
    /// Whether another sample may be drawn in its place, if its numbers are not proven.
    #[must_use]
    pub fn is_old(&self, now: Time) -> bool {
        self.drawn_at + KEPT <= now
    }
}

/// The first numbers of a block by rank; `bits` are those of the account and the day.
#[must_use]
pub fn ranked(block: NumberRange, bits: &[u8; 32], most: u64) -> Vec<Tn> {
    let first = Ranks(bits).first(block, most).into_iter();
    first
        .filter_map(|position| Tn::from_position(position).ok())
        .collect()
}

/// How the numbers of a list are proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProvenParts {
    /// Ranges all of whose numbers have to be proven.
    pub in_full: Vec<NumberRange>,
    /// The delegations of which a sample has to be proven, in order.
    pub blocks: Vec<NumberRange>,
    /// How many numbers the list has.
    pub total: u64,
    /// How many have to be proven, at most.
    needed: u64,
}

impl ProvenParts {
    /// The parts of a list, which is sorted and without overlap, given the delegations that it is
    /// from. With a `size` of 0, nothing is sampled.
    #[must_use]
    pub fn of(
        list: &[NumberRange],
        delegations: impl IntoIterator<Item = NumberRange>,
        size: u32,
    ) -> Self {
        let size = u64::from(size);
        let is_long = |range: &NumberRange| size > 0 && range.count() >= SAMPLED_FROM.max(size + 1);
        let mut long: Vec<NumberRange> = delegations.into_iter().filter(is_long).collect();
        long.sort_unstable();
        long.dedup();
        let (mut in_full, mut blocks) = (Vec::new(), Vec::new());
        for range in list {
            if range.count() < SAMPLED_FROM {
                in_full.push(*range);
                continue;
            }
            let touched = long.iter().copied();
            let touched = touched.filter(|block| block.intersection(*range).is_some());
            blocks.extend(touched.clone());
            in_full.extend(gaps(*range, touched));
        }
        blocks.sort_unstable();
        blocks.dedup();
        let sampled = size.saturating_mul(blocks.len() as u64);
        Self {
            needed: count(&in_full).saturating_add(sampled),
            in_full,
            blocks,
            total: count(list),
        }
    }

    /// Whether more numbers have to be proven than are looked up.
    #[must_use]
    pub const fn are_too_many(&self) -> bool {
        self.needed > MAX_NUMBERS
    }

    /// The numbers that have to be proven, given the sample of each block; `None`: not drawn yet.
    /// None at all if there are too many, or a sample is missing.
    #[must_use]
    pub fn required(&self, samples: &[Option<ControlSample>]) -> RequiredNumbers {
        let mut required = RequiredNumbers {
            numbers: Vec::new(),
            is_sample: !self.blocks.is_empty() && !self.are_too_many(),
            total: self.total,
        };
        let drawn: Option<Vec<&ControlSample>> = samples.iter().map(Option::as_ref).collect();
        let Some(drawn) = drawn.filter(|drawn| drawn.len() == self.blocks.len()) else {
            return required;
        };
        if self.are_too_many() {
            return required;
        }
        let of_blocks = drawn.into_iter().flat_map(|sample| &sample.numbers);
        let all = self.in_full.iter().flat_map(|range| numbers_of(*range));
        required.numbers = all.chain(of_blocks.copied()).collect();
        required.numbers.sort_unstable();
        required.numbers.dedup();
        required
    }
}

/// The order of all positions, by bits that nobody else knows. Of two neighbouring positions one
/// wins, of two neighbouring pairs the winner of one, and so on; the rounds that a position wins
/// before it loses are its level. A higher level ranks first, and a hash decides between equals. So
/// those that rank first in a range are found without a visit of each number.
struct Ranks<'a>(&'a [u8; 32]);

/// More rounds than positions have bits are not needed.
const MAX_LEVEL: u32 = 62;

impl Ranks<'_> {
    /// The `size` positions of a range that rank first, in the order of their ranks.
    fn first(&self, range: NumberRange, size: u64) -> Vec<i64> {
        let each = range.count() / size.max(1);
        // About one or two times as many have this level or a higher one.
        let mut level = each.checked_ilog2().unwrap_or(0).min(MAX_LEVEL);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut found = self.of_level(range, level);
        while found.len() < size && level > 0 {
            level -= 1;
            found = self.of_level(range, level);
        }
        found.sort_by_cached_key(|at| (Reverse(self.level(*at)), self.hash(0, *at)));
        found.truncate(size);
        found
    }

    /// The positions of a range with this level or a higher one.
    fn of_level(&self, range: NumberRange, level: u32) -> Vec<i64> {
        let (first, last) = (range.first().position(), range.last().position());
        let winners = (first >> level..=last >> level).map(|block| self.winner(level, block));
        winners.filter(|at| (first..=last).contains(at)).collect()
    }

    /// The position that wins all rounds of a block of 2^level positions.
    fn winner(&self, level: u32, block: i64) -> i64 {
        let rounds = (1..=level).rev();
        rounds.fold(block, |at, level| at << 1 | self.half(level, at))
    }

    /// How many rounds a position wins.
    fn level(&self, at: i64) -> u32 {
        let wins = |level: &u32| self.half(level + 1, at >> (level + 1)) == at >> level & 1;
        let won = (0..MAX_LEVEL).take_while(wins).count();
        u32::try_from(won).unwrap_or(MAX_LEVEL)
    }

    /// Which half of a block of 2^level positions wins: 0 or 1.
    fn half(&self, level: u32, block: i64) -> i64 {
        i64::from(self.hash(level, block)[0] & 1)
    }

    fn hash(&self, level: u32, block: i64) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(level.to_be_bytes())
            .chain_update(block.to_be_bytes());
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::from_unix;
    use crate::domain::numbers::range_set::merged;

    fn range(first: u64, count: u64) -> NumberRange {
        let first = format!("+1212{first:07}").parse().expect("a number");
        NumberRange::new(first, count).expect("a range")
    }

    fn bits(n: u32) -> [u8; 32] {
        let mut bits = [0; 32];
        bits[..4].copy_from_slice(&n.to_be_bytes());
        bits
    }

    /// The numbers that have to be proven for a list from these delegations on a day.
    fn required(list: &[NumberRange], delegations: &[NumberRange], size: u32, day: u32) -> Vec<Tn> {
        let parts = ProvenParts::of(list, delegations.iter().copied(), size);
        let samples = parts.blocks.iter().map(|block| {
            let mut numbers = ranked(*block, &bits(day), size.into());
            numbers.sort_unstable();
            Some(ControlSample {
                account: "acme".parse().expect("an id"),
                block: *block,
                size,
                numbers,
                drawn_at: from_unix(0),
            })
        });
        parts.required(&samples.collect::<Vec<_>>()).numbers
    }

    #[test]
    fn short_ranges_and_short_delegations_are_proven_in_full_and_others_by_a_sample() {
        let delegations = [range(5_550_000, 10_000), range(5_560_000, 99)];
        let list = [range(5_550_000, 3), range(5_551_000, 1_000)];
        let parts = ProvenParts::of(&list, delegations, 5);
        assert_eq!(parts.in_full, list[..1]);
        assert_eq!((&parts.blocks[..], parts.total), (&delegations[..1], 1_003));
        // One range over both delegations, and beyond.
        let over = [range(5_559_000, 1_200)];
        let parts = ProvenParts::of(&over, delegations, 5);
        assert_eq!(parts.in_full, [range(5_560_000, 200)]);
        assert_eq!(parts.blocks, delegations[..1]);
        // A range or a delegation of 100 is long, unless the sample is longer.
        let hundred = [range(5_550_000, 100)];
        assert_eq!(ProvenParts::of(&hundred, hundred, 5).blocks, hundred);
        assert_eq!(ProvenParts::of(&hundred, hundred, 100).in_full, hundred);
        assert_eq!(ProvenParts::of(&hundred, hundred, 0).in_full, hundred);
        assert_eq!(required(&hundred, &delegations, 5, 0).len(), 5);
    }

    #[test]
    fn what_has_to_be_proven_is_bounded() {
        let blocks: Vec<NumberRange> = (0..201).map(|n| range(n * 100, 100)).collect();
        let at_most = merged(blocks[..200].to_vec());
        assert_eq!(required(&at_most, &blocks, 5, 0).len(), 1_000);
        let parts = ProvenParts::of(&merged(blocks.clone()), blocks, 5);
        assert!(parts.are_too_many());
        let samples = vec![None; parts.blocks.len()];
        let none = parts.required(&samples);
        assert_eq!((none.numbers.len(), none.is_sample), (0, false));
    }

    proptest! {
        /// Cutting, joining and adding ranges changes nothing.
        #[test]
        fn every_list_with_a_long_range_needs_the_same_numbers_of_its_delegation(
            ranges in prop::collection::vec((0_u64..19_900, 1_u64..400), 1..40),
            day in 0_u32..50,
        ) {
            let delegations = [range(5_550_000, 10_000), range(5_560_000, 10_000)];
            let list = ranges.into_iter().map(|(first, count)| {
                range(5_550_000 + first, count.min(20_000 - first))
            });
            let list = merged(list.collect());
            let short = list.iter().filter(|range| range.count() < SAMPLED_FROM);
            prop_assume!(count(&short.copied().collect::<Vec<_>>()) <= 900);
            let asked = required(&list, &delegations, 5, day);
            for block in delegations {
                let is_long = |range: &&NumberRange| range.count() >= SAMPLED_FROM;
                let mut long = list.iter().filter(is_long);
                if long.any(|range| range.intersection(block).is_some()) {
                    let sample = required(&[block], &[block], 5, day);
                    prop_assert_eq!(sample.len(), 5);
                    prop_assert!(sample.iter().all(|number| asked.contains(number)));
                }
            }
            for range in list.iter().filter(|range| range.count() < SAMPLED_FROM) {
                prop_assert!(numbers_of(*range).all(|number| asked.contains(&number)));
            }
        }
    }

    /// An attacker has one number in ten of a block, and asks for all that is left between the
    /// numbers that were named and are not theirs, until nothing is left: as long as a sample was
    /// one of the list, that gave most of the block on nearly every day.
    #[test]
    fn no_choice_of_lists_avoids_the_numbers_of_others() {
        let block = range(5_550_000, 10_000);
        let (mut tokens, mut refused) = (0, 0);
        for day in 0..300 {
            let own = |number: Tn| {
                let digest = Sha256::new().chain_update(bits(day)).chain_update([1]);
                let digest = digest.chain_update(number.position().to_be_bytes());
                digest.finalize()[0] < 26
            };
            let mut avoided: Vec<NumberRange> = Vec::new();
            loop {
                let left = gaps(block, avoided.iter().copied()).into_iter();
                let left: Vec<NumberRange> = left.filter(|r| r.count() >= SAMPLED_FROM).collect();
                if left.is_empty() {
                    break;
                }
                let asked = required(&left, &[block], 5, day).into_iter();
                let foreign: Vec<NumberRange> =
                    asked.filter(|n| !own(*n)).map(NumberRange::from).collect();
                if foreign.is_empty() {
                    tokens += 1;
                    break;
                }
                // Nothing is named that was not named before.
                if foreign.iter().all(|one| avoided.contains(one)) {
                    refused += 1;
                    break;
                }
                avoided.extend(foreign);
            }
        }
        assert_eq!((tokens, refused), (0, 300));
    }

    /// What the guide says: half of the numbers are enough with a chance of 1 in 32.
    #[test]
    fn the_chance_of_an_attacker_is_that_of_one_draw() {
        let block = range(5_550_000, 10_000);
        let is_won = |day: &u32| {
            let sample = required(&[block], &[block], 5, *day);
            // Which numbers they have does not depend on the ranks.
            sample.iter().all(|number| number.position() % 2 == 0)
        };
        let won = (0..6_400).filter(is_won).count();
        // 200 are expected; the standard deviation is 14.
        assert!((140..260).contains(&won), "{won}");
    }

    #[test]
    fn each_number_is_drawn_about_as_often_as_the_others() {
        let block = range(5_551_013, 150);
        let mut times = vec![0_u32; 150];
        for n in 0..4_000 {
            for tn in ranked(block, &bits(n), 45) {
                let at = tn.position() - block.first().position();
                times[usize::try_from(at).expect("small")] += 1;
            }
        }
        // 1,200 is expected; the standard deviation is 29. At the edges, a number has no rival.
        assert!(
            times.iter().all(|n| (1_050..1_400).contains(n)),
            "{times:?}"
        );
    }

    #[test]
    fn other_bits_rank_other_numbers_first_and_the_same_bits_the_same() {
        let block = range(5_550_000, 10_000);
        assert_eq!(ranked(block, &[1; 32], 5), ranked(block, &[1; 32], 5));
        assert_ne!(ranked(block, &[1; 32], 5), ranked(block, &[2; 32], 5));
        // More of them begin with the same ones, as when some cannot be asked.
        let more = ranked(block, &[1; 32], 50);
        assert_eq!(more[..5], ranked(block, &[1; 32], 5));
        // A block of a million takes no longer.
        assert_eq!(ranked(range(5_000_000, 1_000_000), &[3; 32], 20).len(), 20);
    }
}
