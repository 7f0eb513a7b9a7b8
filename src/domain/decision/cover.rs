//! How long rows cover a range without a gap, and how long none of them blocks it.

use super::Question;
use crate::domain::clock::Time;
use crate::domain::decision::denial::{RefusalCause, RefusedPart, Subject};
use crate::domain::inventory::InventoryRow;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::range_set::gaps;

/// The rows that together cover a whole range, without a gap, from now to an instant.
pub(super) struct Cover<'a, R> {
    pub(super) until: Time,
    pub(super) rows: Vec<&'a R>,
}

/// How long the rows cover all of `numbers`, starting now. Checks the rows in force at an instant,
/// then steps to the next instant at which one of them ends, until there is a gap or the latest
/// expiry is reached.
///
/// # Errors
/// The numbers that no row covers now; or no longer, if a row was recorded as ended while the
/// request waited.
pub(super) fn covered_until<'a, R: InventoryRow>(
    numbers: NumberRange,
    rows: impl Iterator<Item = &'a R>,
    question: &Question<'_>,
) -> Result<Cover<'a, R>, Vec<NumberRange>> {
    let overlapping: Vec<&'a R> = rows
        .filter(|row| row.numbers().intersection(numbers).is_some())
        .collect();
    let mut used: Vec<&'a R> = Vec::new();
    let mut instant = question.now;
    loop {
        let live: Vec<&'a R> = overlapping
            .iter()
            .filter(|row| row.window().contains(instant))
            .copied()
            .collect();
        let missing = gaps(numbers, live.iter().map(|row| row.numbers()));
        let has_ended =
            |row: &&R| row.window().until() == Some(instant) && row.is_past(instant, question.now);
        let is_past = instant == question.now || used.iter().any(has_ended);
        if !missing.is_empty() && is_past {
            return Err(missing);
        }
        if !missing.is_empty() {
            return Ok(Cover {
                until: instant,
                rows: used,
            });
        }
        let next_end = live.iter().filter_map(|row| row.window().until()).min();
        used.extend(live);
        match next_end {
            Some(end) if end < question.until => instant = end,
            _ => {
                return Ok(Cover {
                    until: question.until,
                    rows: used,
                });
            }
        }
    }
}

/// How long none of these rows overlaps the numbers. Refuses those that a row overlaps now, also if
/// it has begun while the request waited.
pub(super) fn unblocked_until<R: InventoryRow>(
    numbers: NumberRange,
    rows: &[R],
    cause: impl Fn(&R) -> RefusalCause,
    question: &Question<'_>,
) -> Result<Time, Vec<RefusedPart>> {
    let overlapping = rows.iter().filter_map(|row| {
        let part = row.numbers().intersection(numbers)?;
        Some((part, row))
    });
    let (mut until, mut refusals) = (question.until, Vec::new());
    for (part, row) in overlapping {
        let (from, now) = (row.window().from(), question.now);
        if row.window().contains(now) || (from > now && row.is_past(from, now)) {
            refusals.extend(refused(vec![part], cause(row)));
        // Known in advance, such as a port-out tomorrow: the token has to expire before it.
        } else if from > now {
            until = until.min(from);
        }
    }
    if refusals.is_empty() {
        Ok(until)
    } else {
        Err(refusals)
    }
}

pub(super) fn refused(parts: Vec<NumberRange>, cause: RefusalCause) -> Vec<RefusedPart> {
    parts
        .into_iter()
        .map(|numbers| RefusedPart {
            subject: Subject::Numbers(numbers),
            cause,
        })
        .collect()
}
