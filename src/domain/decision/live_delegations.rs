//! Which delegations of an account count now, and for which numbers: what proofs of control and
//! ages depend on.

use uuid::Uuid;

use super::{Facts, Question, RangeEvaluator};
use crate::domain::clock::Time;
use crate::domain::inventory::InventoryRow;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::range_set::gaps;

/// Numbers for which a delegation to the account counts now, together with those that it is cut
/// from: none of them has ended, the numbers have not left, and no reseller above is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveDelegation {
    /// The account's own delegation.
    pub id: Uuid,
    pub numbers: NumberRange,
    /// All numbers of the account's own delegation.
    pub block: NumberRange,
    /// Since when the account has had it.
    pub since: Time,
}

/// The delegations of the account that count now, of those that overlap the request. Empty if there
/// are too many rows to follow; such a request is refused.
#[must_use]
pub fn live_delegations(question: &Question<'_>, facts: &Facts) -> Vec<LiveDelegation> {
    let Some(evaluator) = RangeEvaluator::within_bounds(question, facts) else {
        return Vec::new();
    };
    let live = |at: usize, row: &dyn InventoryRow| {
        let chain = evaluator.chains.get(at)?;
        let own = chain.delegations().first()?;
        let counts = !chain.lender_suspended && counts_now(row, question.now);
        counts.then(|| LiveDelegation {
            id: own.row.id,
            numbers: row.numbers(),
            block: own.numbers,
            since: own.made_at.max(own.window.from()),
        })
    };
    match &evaluator.live {
        None => {
            let chains = evaluator.chains.iter().enumerate();
            chains.filter_map(|(at, chain)| live(at, chain)).collect()
        }
        Some(parts) => {
            let parts = parts.chains.iter();
            parts.filter_map(|part| live(part.of, part)).collect()
        }
    }
}

fn counts_now(row: &dyn InventoryRow, now: Time) -> bool {
    let window = row.window();
    window.contains(now) && window.until().is_none_or(|end| !row.is_past(end, now))
}

/// Since when delegations have covered all of these numbers: when the last number came, if each
/// counts from the oldest delegation that covers it. `None` if a number is not covered.
#[must_use]
pub fn covered_since(numbers: NumberRange, live: &[LiveDelegation]) -> Option<Time> {
    let mut overlapping: Vec<&LiveDelegation> = live
        .iter()
        .filter(|delegation| delegation.numbers.intersection(numbers).is_some())
        .collect();
    overlapping.sort_by_key(|delegation| delegation.since);
    let covers = |count: usize| {
        let oldest = overlapping.iter().take(count);
        gaps(numbers, oldest.map(|delegation| delegation.numbers)).is_empty()
    };
    // The smallest number of the oldest delegations that is enough.
    let (mut few, mut enough) = (0, overlapping.len());
    if !covers(enough) {
        return None;
    }
    while few + 1 < enough {
        let middle = usize::midpoint(few, enough);
        if covers(middle) {
            enough = middle;
        } else {
            few = middle;
        }
    }
    let last = overlapping.get(enough.checked_sub(1)?)?;
    Some(last.since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    fn range(first: &str, count: u64) -> NumberRange {
        NumberRange::new(first.parse().expect("a number"), count).expect("a range")
    }

    fn live(first: &str, count: u64, since: i64) -> LiveDelegation {
        LiveDelegation {
            id: Uuid::nil(),
            numbers: range(first, count),
            block: range(first, count),
            since: from_unix(since),
        }
    }

    #[test]
    fn numbers_are_covered_since_the_last_of_them_came() {
        let all = [
            live("+12125551005", 5, 300),
            live("+12125551000", 5, 100),
            live("+12125551000", 10, 400),
        ];
        let since = |first, count| covered_since(range(first, count), &all);
        assert_eq!(since("+12125551000", 5), Some(from_unix(100)));
        assert_eq!(since("+12125551004", 2), Some(from_unix(300)));
        assert_eq!(since("+12125551000", 10), Some(from_unix(300)));
        assert_eq!(since("+12125551009", 2), None);
        assert_eq!(covered_since(range("+12125551000", 1), &[]), None);
    }
}
