//! Sets of numbers as sorted ranges: what is covered, and what is missing.

use super::number::NumberRange;

/// The same numbers in as few ranges as possible: sorted, and joined where they touch or overlap.
#[must_use]
pub fn merged(mut ranges: Vec<NumberRange>) -> Vec<NumberRange> {
    ranges.sort_unstable();
    let mut out: Vec<NumberRange> = Vec::with_capacity(ranges.len());
    for next in ranges {
        match out.last_mut() {
            Some(last) if last.joined(next).is_some() => *last = last.joined(next).unwrap_or(*last),
            _ => out.push(next),
        }
    }
    out
}

/// The numbers of `wanted` that no range of `cover` contains, in order.
#[must_use]
pub fn gaps(wanted: NumberRange, cover: impl IntoIterator<Item = NumberRange>) -> Vec<NumberRange> {
    let parts = cover
        .into_iter()
        .filter_map(|range| range.intersection(wanted))
        .collect();
    let (mut missing, mut rest) = (Vec::new(), Some(wanted));
    for part in merged(parts) {
        let Some(open) = rest else { break };
        missing.extend(open.part_before(part.first()));
        rest = part.rest_until(wanted.last());
    }
    missing.extend(rest);
    missing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::numbers::number::Tn;

    /// Short numbers, so that a brute-force oracle can list them all.
    fn range() -> impl Strategy<Value = NumberRange> {
        (100_u64..999, 1_u64..40).prop_map(|(start, count)| {
            let start = Tn::from_digits(&start.to_string()).expect("three digits");
            (1..=count)
                .rev()
                .find_map(|count| NumberRange::new(start, count).ok())
                .expect("one number fits")
        })
    }

    fn listed(ranges: impl IntoIterator<Item = NumberRange>) -> BTreeSet<i64> {
        ranges
            .into_iter()
            .flat_map(|r| r.first().position()..=r.last().position())
            .collect()
    }

    proptest! {
        #[test]
        fn merging_keeps_the_numbers_and_leaves_no_two_ranges_touching(
            ranges in prop::collection::vec(range(), 0..30),
        ) {
            let out = merged(ranges.clone());
            prop_assert_eq!(listed(out.clone()), listed(ranges));
            for pair in out.windows(2) {
                prop_assert!(pair[0].last().position() + 1 < pair[1].first().position());
            }
        }

        #[test]
        fn gaps_are_what_the_oracle_misses(
            wanted in range(),
            cover in prop::collection::vec(range(), 0..30),
        ) {
            let missing: BTreeSet<i64> =
                listed([wanted]).difference(&listed(cover.clone())).copied().collect();
            prop_assert_eq!(listed(gaps(wanted, cover)), missing);
        }

        #[test]
        fn a_range_that_reaches_a_number_starts_within_its_span(
            range in range(), other in range(),
        ) {
            let reach = range.span() - 1;
            let found = range.first().position() >= other.first().position() - reach
                && range.first() <= other.last()
                && range.last() >= other.first();
            prop_assert_eq!(found, range.intersection(other).is_some());
        }
    }
}
