//! How much work one decision may be, so that no list holds up everyone else.

use super::{Facts, MAX_ROWS, Question};
use crate::domain::clock::Time;
use crate::domain::inventory::InventoryRow;
use crate::domain::numbers::number::NumberRange;

/// How often one decision may visit a row, all ranges of the list together: a few milliseconds.
const MAX_VISITS: usize = 2_000_000;
/// So few rows are never too much, whatever a list of a thousand entries needs of them.
const FEW_ROWS: usize = 64;

/// Whether the rows are more than one decision evaluates: too many of a kind, or so fragmented in numbers and in time that
/// following them would take too long.
pub(super) fn is_too_much(question: &Question<'_>, facts: &Facts) -> bool {
    let rows = [
        facts.delegations.len(),
        facts.lent_on.len(),
        facts.allocations.len(),
        facts.exclusions.len(),
    ];
    let all: usize = rows.iter().sum();
    let ranges = question.request.numbers();
    if rows.into_iter().any(|n| n > MAX_ROWS) || all.saturating_mul(ranges.len()) > MAX_VISITS {
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

/// How often rows are visited to follow one range: each end of a row is a step, and each step visits all that overlap.
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
