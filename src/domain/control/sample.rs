//! Samples: which numbers of a long list stand for all of it, when a policy asks for control.
//!
//! A sample is drawn by the service, from random bits that nobody else knows. It stays the same for
//! an account and a list for a day, and longer as long as the policies accept it: an account that
//! cannot answer for one of its numbers cannot try with others at once.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::facts::{RequiredNumbers, count};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::{NumberRange, Tn};

/// How long a sample stays the same, although the policies do not accept it.
pub const KEPT: TimeDelta = TimeDelta::days(1);

/// The most samples that are drawn for one account in that time. Each list has a sample of its own,
/// and an account must not try lists until one has a sample that suits it.
pub const MAX_DRAWN: u32 = 100;

/// The numbers that stand for a list of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSample {
    pub account: AccountId,
    /// The [`digest`] of the list.
    pub list: String,
    /// In order.
    pub numbers: Vec<Tn>,
    pub drawn_at: Time,
}

impl ControlSample {
    /// Draws `size` numbers of a list, which is sorted and without overlap. Which ones depends on
    /// the random bits alone; each set of numbers is as likely as every other.
    #[must_use]
    pub fn draw(
        account: &AccountId,
        list: &[NumberRange],
        size: u32,
        bits: &[u8; 32],
        now: Time,
    ) -> Self {
        let (total, size) = (count(list), u64::from(size));
        let mut random = RandomBits::new(bits);
        let mut chosen = BTreeSet::new();
        // Floyd's algorithm: one draw for each number of the sample.
        for n in total.saturating_sub(size)..total {
            let drawn = random.up_to(n);
            if !chosen.insert(drawn) {
                chosen.insert(n);
            }
        }
        Self {
            account: account.clone(),
            list: digest(list),
            numbers: chosen.into_iter().filter_map(|n| nth(list, n)).collect(),
            drawn_at: now,
        }
    }

    /// Whether another sample may be drawn in its place, if the policies do not accept it.
    #[must_use]
    pub fn is_old(&self, now: Time) -> bool {
        self.drawn_at + KEPT <= now
    }

    /// Whether it has as many numbers as the configuration now says.
    #[must_use]
    pub fn has_size(&self, size: u32) -> bool {
        u32::try_from(self.numbers.len()).is_ok_and(|numbers| numbers == size)
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

/// Whether a sample of this size stands for a list; with 0 none ever does.
#[must_use]
pub fn is_for(list: &[NumberRange], size: u32) -> bool {
    size > 0 && count(list) > size.into()
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

fn nth(list: &[NumberRange], n: u64) -> Option<Tn> {
    let mut rest = n;
    for range in list {
        if rest < range.count() {
            let position = range.first().position().checked_add_unsigned(rest)?;
            return Tn::from_position(position).ok();
        }
        rest -= range.count();
    }
    None
}

/// A stream of integers out of 256 random bits: SHA-256 of the bits and a counter.
struct RandomBits<'a> {
    bits: &'a [u8; 32],
    drawn: u64,
}

impl<'a> RandomBits<'a> {
    const fn new(bits: &'a [u8; 32]) -> Self {
        Self { bits, drawn: 0 }
    }

    fn next(&mut self) -> u64 {
        let block = Sha256::new()
            .chain_update(self.bits)
            .chain_update(self.drawn.to_be_bytes())
            .finalize();
        self.drawn += 1;
        block
            .iter()
            .take(8)
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// An integer of 0 to `last`, each as likely as every other.
    fn up_to(&mut self, last: u64) -> u64 {
        let Some(count) = last.checked_add(1) else {
            return self.next();
        };
        // Values below this would make the small remainders more likely.
        let uneven = count.wrapping_neg() % count;
        loop {
            let n = self.next();
            if n >= uneven {
                return n % count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_sample_has_distinct_numbers_of_the_list() {
        let list = list(&[("+12125550000", 3), ("+12125551000", 1_000)]);
        for seed in 0..200 {
            let sample = drawn(&list, 5, [seed; 32]);
            let distinct: BTreeSet<Tn> = sample.iter().copied().collect();
            assert_eq!(distinct.len(), 5);
            let is_in_list = |tn: &Tn| list.iter().any(|range| range.contains(*tn));
            assert!(sample.iter().all(is_in_list), "{sample:?}");
        }
        assert_eq!(drawn(&list, 1_003, [1; 32]).len(), 1_003);
    }

    #[test]
    fn each_number_is_drawn_about_as_often_as_the_others() {
        let list = list(&[("+12125551000", 10)]);
        let mut times = [0_u32; 10];
        for n in 0..4_000_u32 {
            let mut bits = [0; 32];
            bits[..4].copy_from_slice(&n.to_be_bytes());
            for tn in drawn(&list, 3, bits) {
                let at = tn.position() - list[0].first().position();
                times[usize::try_from(at).expect("small")] += 1;
            }
        }
        // 1,200 is expected; the standard deviation is 29.
        assert!(
            times.iter().all(|n| (1_050..1_350).contains(n)),
            "{times:?}"
        );
    }

    #[test]
    fn other_bits_draw_other_numbers_and_the_same_bits_the_same() {
        let list = list(&[("+12125550000", 10_000)]);
        assert_eq!(drawn(&list, 5, [1; 32]), drawn(&list, 5, [1; 32]));
        assert_ne!(drawn(&list, 5, [1; 32]), drawn(&list, 5, [2; 32]));
    }
}
