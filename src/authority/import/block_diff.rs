//! The difference between the blocks that a table gives a carrier and the allocations in the
//! database. Pure.

use super::outcome::Amount;
use crate::domain::clock::Time;
use crate::domain::inventory::{Allocation, Basis};
use crate::domain::numbers::range_set::gaps;
use crate::domain::{NumberRange, Window};
use crate::tables::{Holding, Holdings};

/// The changes that make the database agree with the table.
#[derive(Debug, Default)]
pub(super) struct BlockPlan {
    /// Existing rows that end now, because all or some of their numbers do.
    pub(super) end: Vec<Allocation>,
    /// The parts of these rows that continue, without a gap.
    pub(super) keep: Vec<KeptPart>,
    /// Numbers that the carrier no longer holds.
    pub(super) ended: Vec<NumberRange>,
    pub(super) new: Vec<Holding>,
    pub(super) unchanged: Amount,
    /// Numbers outside the table's scope.
    pub(super) elsewhere: u64,
}

/// The part of an ending row that continues as a row of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptPart {
    pub(super) numbers: NumberRange,
    pub(super) basis: Basis,
    pub(super) window: Window,
}

/// Compares the table with `known`: the SPC's `block` and `code` allocations that are valid now or
/// later.
pub(super) fn plan(known: Vec<Allocation>, table: &Holdings, now: Time) -> BlockPlan {
    let mut plan = BlockPlan::default();
    let mut covered: Vec<Vec<NumberRange>> = vec![Vec::new(); table.held.len()];
    for row in known {
        let inside = parts(row.numbers, table.scope.ranges(), |range| *range);
        let in_scope: u64 = inside.iter().map(|(_, part)| part.count()).sum();
        plan.elsewhere += row.numbers.count() - in_scope;

        let (mut stays, mut moves) = (Vec::new(), Vec::new());
        for (n, part) in parts(row.numbers, &table.held, |held| held.numbers) {
            if start_moves(&row, &table.held[n], table.dated, now) {
                moves.push(part);
            } else {
                stays.push(part);
                covered[n].push(part);
            }
        }
        let without = |cover: &[NumberRange]| -> Vec<NumberRange> {
            let inside = inside.iter();
            inside
                .flat_map(|(_, part)| gaps(*part, cover.iter().copied()))
                .collect()
        };
        let leaves = without(&stays);
        if leaves.is_empty() {
            continue;
        }
        let given: Vec<NumberRange> = stays.iter().chain(&moves).copied().collect();
        plan.ended.extend(without(&given));
        // The kept part starts where the row ends, so that no past period is recorded twice.
        let from = row.window.from().max(now);
        if let Ok(window) = Window::new(from, row.window.until()) {
            let rest = gaps(row.numbers, leaves).into_iter();
            plan.keep.extend(rest.map(|numbers| KeptPart {
                numbers,
                basis: row.basis,
                window,
            }));
        }
        plan.end.push(row);
    }
    for (held, covered) in table.held.iter().zip(covered) {
        let missing = gaps(held.numbers, covered);
        let numbers_missing: u64 = missing.iter().map(|range| range.count()).sum();
        plan.unchanged.ranges += u64::from(missing.is_empty());
        plan.unchanged.numbers += held.numbers.count() - numbers_missing;
        let missing = missing.into_iter();
        plan.new
            .extend(missing.map(|numbers| Holding { numbers, ..*held }));
    }
    plan
}

/// Whether the row starts in the future, and the table gives it another start.
fn start_moves(row: &Allocation, held: &Holding, dated: bool, now: Time) -> bool {
    let known = row.window.from();
    dated && known > now && held.valid_from.unwrap_or(now) != known
}

/// The parts of `numbers` that lie in ranges of `sorted`, with the index of each range. The ranges
/// are sorted and do not overlap.
fn parts<T>(
    numbers: NumberRange,
    sorted: &[T],
    range: impl Fn(&T) -> NumberRange,
) -> Vec<(usize, NumberRange)> {
    let start = sorted.partition_point(|item| range(item).last() < numbers.first());
    let near = sorted.iter().enumerate().skip(start);
    near.map_while(|(n, item)| Some((n, range(item).intersection(numbers)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::Tn;
    use crate::domain::clock::from_unix;
    use crate::domain::inventory::{RecordedPeriod, RowRef};
    use crate::domain::numbers::range_set::merged;
    use crate::tables::Coverage;

    const NOW: i64 = 1_000;

    fn range() -> impl Strategy<Value = NumberRange> {
        (100_u64..400, 1_u64..40).prop_map(|(start, count)| {
            let start = Tn::from_digits(&start.to_string()).expect("three digits");
            NumberRange::new(start, count).expect("a range")
        })
    }

    fn ranges() -> impl Strategy<Value = Vec<NumberRange>> {
        prop::collection::vec(range(), 0..12).prop_map(merged)
    }

    fn row(numbers: NumberRange, from: i64) -> Allocation {
        let id = uuid::Uuid::nil();
        Allocation {
            row: RowRef { id, version: 1 },
            spc: "1234".parse().expect("a code"),
            numbers,
            basis: Basis::Block,
            window: Window::new(from_unix(from), None).expect("a window"),
            belief: RecordedPeriod {
                recorded_at: from_unix(0),
                superseded_at: None,
            },
        }
    }

    /// When the holding of each number starts.
    fn starts(rows: impl IntoIterator<Item = (NumberRange, i64)>) -> BTreeMap<i64, i64> {
        let mut out = BTreeMap::new();
        for (numbers, from) in rows {
            for position in numbers.first().position()..=numbers.last().position() {
                assert_eq!(out.insert(position, from), None, "held twice: {position}");
            }
        }
        out
    }

    proptest! {
        #[test]
        fn after_the_import_the_carrier_holds_what_the_table_says(
            now in ranges(), later in ranges(), held in ranges(), held_later in ranges(), scope in ranges(),
            dated in any::<bool>(),
        ) {
            let free = |later: Vec<NumberRange>, now: &[NumberRange]| -> Vec<NumberRange> {
                later.into_iter().flat_map(|range| gaps(range, now.iter().copied())).collect()
            };
            let within = |ranges: Vec<NumberRange>| -> Vec<NumberRange> {
                ranges.iter().flat_map(|r| scope.iter().filter_map(|s| s.intersection(*r))).collect()
            };
            let (later, held) = (free(later, &now), within(held));
            let held_later = free(within(held_later), &held);
            let known: Vec<Allocation> = now.iter().map(|r| row(*r, 0))
                .chain(later.iter().map(|r| row(*r, NOW + 50))).collect();
            let mut table = Holdings { held: Vec::new(), scope: Coverage::new(scope.clone()), dated };
            let holding = |numbers, valid_from| Holding { numbers, basis: Basis::Block, valid_from };
            table.held.extend(held.iter().map(|r| holding(*r, None)));
            table.held.extend(held_later.iter().map(|r| holding(*r, Some(from_unix(NOW + 90)))));
            table.held.sort_unstable_by_key(|held| held.numbers);

            let plan = plan(known.clone(), &table, from_unix(NOW));
            let continues = known.iter().filter(|k| !plan.end.contains(k));
            let after = starts(
                continues.map(|k| (k.numbers, k.window.from().timestamp().max(NOW)))
                    .chain(plan.keep.iter().map(|k| (k.numbers, k.window.from().timestamp())))
                    .chain(plan.new.iter().map(|n| (n.numbers, n.valid_from.map_or(NOW, |t| t.timestamp())))),
            );

            let before = starts(known.iter().map(|k| (k.numbers, k.window.from().timestamp().max(NOW))));
            let says = starts(table.held.iter().map(|h| (h.numbers, h.valid_from.map_or(NOW, |t| t.timestamp()))));
            let in_scope = starts(scope.iter().map(|r| (*r, 0)));
            let mut expected = BTreeMap::new();
            for position in before.keys().chain(says.keys()) {
                let start = match (before.get(position), says.get(position)) {
                    (Some(known), _) if !in_scope.contains_key(position) => Some(*known),
                    (Some(known), Some(said)) if dated && *known > NOW => Some(*said),
                    (Some(known), Some(_)) => Some(*known),
                    (None, Some(said)) => Some(*said),
                    (_, None) => None,
                };
                expected.extend(start.map(|start| (*position, start)));
            }
            prop_assert_eq!(&after, &expected);

            let lost = before.keys().filter(|p| !after.contains_key(p)).copied().collect::<Vec<_>>();
            let reported = starts(plan.ended.iter().map(|r| (*r, 0)));
            prop_assert_eq!(reported.keys().copied().collect::<Vec<_>>(), lost);
        }

        #[test]
        fn importing_a_table_again_changes_nothing(known in ranges(), held in ranges()) {
            let known: Vec<Allocation> = known.iter().map(|r| row(*r, 0)).collect();
            let all = NumberRange::new(Tn::from_digits("100").expect("a number"), 900).expect("a range");
            let holding = |numbers: &NumberRange| Holding { numbers: *numbers, basis: Basis::Block, valid_from: None };
            let table = Holdings { held: held.iter().map(holding).collect(), scope: Coverage::new(vec![all]), dated: true };
            let first = plan(known.clone(), &table, from_unix(NOW));
            let continues = known.into_iter().filter(|k| !first.end.contains(k));
            let after = continues
                .chain(first.keep.iter().map(|k| row(k.numbers, NOW)))
                .chain(first.new.iter().map(|n| row(n.numbers, NOW)))
                .collect();
            let again = plan(after, &table, from_unix(NOW));
            prop_assert!(again.end.is_empty() && again.new.is_empty() && again.ended.is_empty());
            prop_assert_eq!(again.unchanged.ranges, held.len() as u64);
        }
    }
}
