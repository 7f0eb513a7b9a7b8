//! Samples: which numbers of a long list are proven in place of all of it, when a policy asks for
//! control.
//!
//! Numbers that are listed singly, or in short ranges, all have to be proven. Of the longer ranges
//! those that rank first are. The service ranks the numbers of an account by a keyed hash, anew
//! each day. So nobody knows the ranks before, and another list of some of the same numbers has the
//! same ones in its sample: an account that cannot answer for one of them gains nothing by other
//! lists.
//!
//! A sample is kept for a day, and longer as long as the policies accept it.

use std::cmp::Reverse;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::facts::{MAX_NUMBERS, RequiredNumbers, count, numbers_of};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::{NumberRange, Tn};

/// How long a sample stays the same, although the policies do not accept it.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// The most samples that are kept for one account in that time, unless the policies accept them.
/// Further lists have the sample of the day, which changes at midnight.
pub const MAX_KEPT: u32 = 100;

/// All numbers of ranges with fewer numbers than this have to be proven.
pub const SAMPLED_FROM: u64 = 100;

/// The numbers that are proven in place of a list of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSample {
    pub account: AccountId,
    /// The [`digest`] of the list.
    pub list: String,
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
    /// The sample of a list, which is sorted and without overlap: `size` numbers of its long
    /// ranges, and all others. `bits` are those of the account and the day.
    #[must_use]
    pub fn draw(
        account: &AccountId,
        list: &[NumberRange],
        size: u32,
        bits: &[u8; 32],
        now: Time,
    ) -> Self {
        let (short, long) = parts(list);
        let ranked = Ranks(bits).first(&long, size.into()).into_iter();
        let ranked = ranked.filter_map(|position| Tn::from_position(position).ok());
        let mut numbers: Vec<Tn> = short.into_iter().flat_map(numbers_of).collect();
        numbers.extend(ranked);
        numbers.sort_unstable();
        Self {
            account: account.clone(),
            list: digest(list),
            numbers,
            drawn_at: now,
        }
    }

    /// Whether another sample may be drawn in its place, if the policies do not accept it.
    #[must_use]
    pub fn is_old(&self, now: Time) -> bool {
        self.drawn_at + KEPT <= now
    }

    /// Whether it has as many numbers of its list as the configuration now says.
    #[must_use]
    pub fn has_size(&self, list: &[NumberRange], size: u32) -> bool {
        let numbers = u64::try_from(self.numbers.len());
        numbers.is_ok_and(|numbers| numbers == count(&parts(list).0) + u64::from(size))
    }

    /// The numbers that have to be proven; `None`: no sample is drawn yet.
    #[must_use]
    pub fn required(sample: Option<&Self>, list: &[NumberRange]) -> RequiredNumbers {
        RequiredNumbers {
            numbers: sample
                .map(|sample| sample.numbers.clone())
                .unwrap_or_default(),
            is_sample: true,
            total: count(list),
        }
    }
}

/// Whether a list has a sample if this is its size; with 0 none ever has.
#[must_use]
pub fn is_for(list: &[NumberRange], size: u32) -> bool {
    let (short, long) = parts(list);
    let size = u64::from(size);
    size > 0 && count(&long) > size && count(&short).saturating_add(size) <= MAX_NUMBERS
}

/// The ranges all of whose numbers have to be proven, and those of which some are.
fn parts(list: &[NumberRange]) -> (Vec<NumberRange>, Vec<NumberRange>) {
    list.iter().partition(|range| range.count() < SAMPLED_FROM)
}

/// SHA-256 of the ranges of a list, in hex.
#[must_use]
pub fn digest(list: &[NumberRange]) -> String {
    let mut digest = Sha256::new();
    for range in list {
        digest.update(range.first().position().to_be_bytes());
        digest.update(range.last().position().to_be_bytes());
    }
    hex::encode(digest.finalize())
}

/// The order of all positions, by bits that nobody else knows. Of two neighbouring positions one
/// wins, of two neighbouring pairs the winner of one, and so on; the rounds that a position wins
/// before it loses are its level. A higher level ranks first, and a hash decides between equals. So
/// those that rank first in a range are found without a visit of each number.
struct Ranks<'a>(&'a [u8; 32]);

/// More rounds than positions have bits are not needed.
const MAX_LEVEL: u32 = 62;

impl Ranks<'_> {
    /// The `size` positions of these ranges that rank first.
    fn first(&self, ranges: &[NumberRange], size: u64) -> Vec<i64> {
        let each = count(ranges) / size.max(1);
        // About one or two times as many have this level or a higher one.
        let mut level = each.checked_ilog2().unwrap_or(0).min(MAX_LEVEL);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut found = self.of_level(ranges, level);
        while found.len() < size && level > 0 {
            level -= 1;
            found = self.of_level(ranges, level);
        }
        found.sort_by_cached_key(|at| (Reverse(self.level(*at)), self.hash(0, *at)));
        found.truncate(size);
        found
    }

    /// The positions of these ranges with this level or a higher one.
    fn of_level(&self, ranges: &[NumberRange], level: u32) -> Vec<i64> {
        let found = ranges.iter().flat_map(|range| {
            let (first, last) = (range.first().position(), range.last().position());
            let winners = (first >> level..=last >> level).map(|block| self.winner(level, block));
            winners.filter(move |at| (first..=last).contains(at))
        });
        found.collect()
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::clock::from_unix;

    fn list(ranges: &[(&str, u64)]) -> Vec<NumberRange> {
        let ranges = ranges.iter().map(|(first, count)| {
            NumberRange::new(first.parse().expect("a number"), *count).expect("a range")
        });
        ranges.collect()
    }

    fn drawn(list: &[NumberRange], size: u32, bits: [u8; 32]) -> Vec<Tn> {
        let account = "acme".parse().expect("an id");
        ControlSample::draw(&account, list, size, &bits, from_unix(0)).numbers
    }

    fn bits(n: u32) -> [u8; 32] {
        let mut bits = [0; 32];
        bits[..4].copy_from_slice(&n.to_be_bytes());
        bits
    }

    #[test]
    fn a_sample_has_all_numbers_of_short_ranges_and_some_of_long_ones() {
        let list = list(&[
            ("+12125550000", 3),
            ("+12125551000", 1_000),
            ("+12125553000", 99),
            ("+12125554000", 100),
        ]);
        assert!(is_for(&list, 5) && !is_for(&list, 0) && !is_for(&list[..1], 2));
        for seed in 0..200 {
            let sample = drawn(&list, 5, bits(seed));
            let distinct: BTreeSet<Tn> = sample.iter().copied().collect();
            assert_eq!(distinct.len(), 3 + 99 + 5);
            let of = |range: &NumberRange| sample.iter().filter(|n| range.contains(**n)).count();
            assert_eq!((of(&list[0]), of(&list[2])), (3, 99));
            assert_eq!(of(&list[1]) + of(&list[3]), 5);
        }
        // As long as these few are not too many themselves.
        let singles: Vec<_> = (0..996).map(|n| format!("+1212556{:04}", 2 * n)).collect();
        let mut many: Vec<(&str, u64)> = singles.iter().map(|n| (n.as_str(), 1)).collect();
        many.push(("+12125570000", 10_000));
        assert!(!is_for(&self::list(&many), 5) && is_for(&self::list(&many[1..]), 5));
    }

    /// Otherwise another list would be another draw.
    #[test]
    fn what_is_in_the_sample_of_a_list_is_in_that_of_every_part_of_it() {
        for seed in 0..20 {
            let whole = list(&[("+12125550017", 5_000), ("+12125557000", 333)]);
            let sample = drawn(&whole, 7, bits(seed));
            for (first, count) in [
                (17, 4_999),
                (18, 4_999),
                (100, 700),
                (4_000, 1_017),
                (2_048, 100),
            ] {
                let part = list(&[(&format!("+1212555{first:04}"), count)]);
                let of_part = drawn(&part, 7, bits(seed));
                for number in sample.iter().filter(|number| part[0].contains(**number)) {
                    assert!(of_part.contains(number), "{seed} {number} {part:?}");
                }
            }
        }
    }

    #[test]
    fn each_number_is_drawn_about_as_often_as_the_others() {
        let list = list(&[("+12125551013", 150)]);
        let mut times = vec![0_u32; 150];
        for n in 0..4_000 {
            for tn in drawn(&list, 45, bits(n)) {
                let at = tn.position() - list[0].first().position();
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
        let list = list(&[("+12125550000", 10_000)]);
        assert_eq!(drawn(&list, 5, [1; 32]), drawn(&list, 5, [1; 32]));
        assert_ne!(drawn(&list, 5, [1; 32]), drawn(&list, 5, [2; 32]));
        // A block of a million takes no longer.
        let million = self::list(&[("+12125000000", 1_000_000)]);
        assert_eq!(drawn(&million, 20, [3; 32]).len(), 20);
    }
}
