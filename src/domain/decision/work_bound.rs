//! Bounds the work of one decision, so that no list can hold up other requests.

use super::{Facts, MAX_ROWS, Question};
use crate::domain::clock::Time;
use crate::domain::inventory::InventoryRow;
use crate::domain::numbers::number::NumberRange;

/// The most row visits of one decision, all ranges of the list together. They take a few
/// milliseconds.
const MAX_VISITS: usize = 2_000_000;
/// Up to this many rows are always evaluated, even for a list of a thousand entries.
const FEW_ROWS: usize = 64;

/// Whether a decision would take too long: there are too many rows of a kind, or they are so
/// fragmented in numbers and in time that following them takes too many visits.
pub(super) fn is_too_much(question: &Question<'_>, facts: &Facts) -> bool {
    let all = facts.delegations.len()
        + facts.lent_on.len()
        + facts.allocations.len()
        + facts.exclusions.len()
        + facts.departures.len();
    let ranges = question.request.numbers();
    if facts.exceeds(MAX_ROWS) || all.saturating_mul(ranges.len()) > MAX_VISITS {
        return true;
    }
    if all <= FEW_ROWS {
        return false;
    }
    let visits = ranges.iter().map(|range| {
        let delegations = visits(*range, &facts.delegations, question.until);
        delegations.saturating_add(visits(*range, &facts.allocations, question.until))
    });
    visits.fold(0, usize::saturating_add) > MAX_VISITS
}

/// Whether departures have split the delegations into parts that take too many visits to follow.
pub(super) fn takes_too_many_visits<R: InventoryRow>(question: &Question<'_>, parts: &[R]) -> bool {
    if parts.len() <= FEW_ROWS {
        return false;
    }
    let ranges = question.request.numbers().iter();
    let visits = ranges.map(|range| visits(*range, parts, question.until));
    visits.fold(0, usize::saturating_add) > MAX_VISITS
}

/// How many row visits it takes to follow one range: each end of a row is a step, and each step
/// visits all rows that overlap.
fn visits<R: InventoryRow>(range: NumberRange, rows: &[R], until: Time) -> usize {
    let overlapping = rows
        .iter()
        .filter(|row| row.numbers().intersection(range).is_some());
    let (mut all, mut steps) = (0_usize, 1_usize);
    for row in overlapping {
        all += 1;
        steps += usize::from(row.window().until().is_some_and(|end| end < until));
    }
    all.saturating_mul(steps)
}
