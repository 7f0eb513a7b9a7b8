//! Explains a decision: the parts of the list that get different answers, each with the rows that
//! decide it.

use std::fmt;

use super::denial::{RefusalCause, Subject};
use super::{Facts, Question, RangeEvaluator};
use crate::domain::clock::{Time, rfc3339};
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{Allocation, Delegation, Exclusion, InventoryRow};
use crate::domain::numbers::inventory_range::{InventoryRange, NumberingPlanError};
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::range_set::gaps;

/// The most rows that one explanation names, all parts together.
const MAX_ROWS_NAMED: usize = 2_000;

/// Numbers that get the same answer because of the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedPart {
    pub numbers: NumberRange,
    /// Why they are refused; `None` if they would be granted.
    pub refused: Option<RefusalCause>,
    /// The rows that overlap them, in the order in which they are evaluated.
    pub rows: Vec<ExplainedRow>,
    /// How many more rows overlap; the number that is listed is bounded.
    pub left_out: usize,
}

/// A row that takes part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainedRow {
    /// A delegation to the account, or to a reseller above it.
    Delegation(Delegation),
    /// A part that the account delegated further without keeping its own right.
    LentOn(Delegation),
    Allocation(Allocation),
    Exclusion(Exclusion),
    /// Numbers left, which ended delegations that were made before.
    Departure(Departure),
}

impl ExplainedPart {
    /// What is most likely wrong with the numbers themselves, if they are refused.
    #[must_use]
    pub fn hint(&self) -> Option<NumberingPlanError> {
        self.refused
            .and(InventoryRange::try_from(self.numbers).err())
    }
}

impl ExplainedRow {
    /// Whether it permits a token for its numbers at an instant: an exclusion does when it is not
    /// in force.
    #[must_use]
    pub fn permits(&self, at: Time) -> bool {
        match self {
            Self::Delegation(row) => row.window.contains(at),
            Self::Allocation(row) => row.window.contains(at),
            Self::LentOn(row) => !row.window.contains(at),
            Self::Exclusion(row) => !row.window.contains(at),
            Self::Departure(row) => at < row.at,
        }
    }

    /// Its kind, as the API names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Delegation(_) => "delegation",
            Self::LentOn(_) => "lent-on",
            Self::Allocation(_) => "allocation",
            Self::Exclusion(_) => "exclusion",
            Self::Departure(_) => "departure",
        }
    }

    /// The row itself.
    #[must_use]
    pub fn held(&self) -> &dyn InventoryRow {
        match self {
            Self::Delegation(row) | Self::LentOn(row) => row,
            Self::Allocation(row) => row,
            Self::Exclusion(row) => row,
            Self::Departure(row) => row,
        }
    }
}

impl fmt::Display for ExplainedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delegation(row) => {
                write!(f, "{} delegated to {}", row.numbers, row.account)?;
                if let Some(from) = &row.cut_from {
                    write!(f, " by {}", from.lender)?;
                }
                f.write_str(if row.ca {
                    ", also for CA certificates"
                } else {
                    ""
                })
            }
            Self::LentOn(row) => {
                write!(f, "{} delegated further to {}", row.numbers, row.account)
            }
            Self::Allocation(row) => {
                write!(
                    f,
                    "{} allocated to {} as {}",
                    row.numbers,
                    row.spc,
                    row.basis.as_str()
                )
            }
            Self::Exclusion(row) => write!(f, "{} {}", row.numbers, row.reason.as_str()),
            Self::Departure(row) => write!(
                f,
                "{} {}: earlier delegations ended",
                row.numbers,
                row.kind.as_str()
            ),
        }?;
        write_window(f, self.held().window())
    }
}

fn write_window(f: &mut fmt::Formatter<'_>, window: Window) -> fmt::Result {
    write!(f, ", from {}", rfc3339(&window.from()))?;
    match window.until() {
        Some(until) => write!(f, " to {}", rfc3339(&until)),
        None => Ok(()),
    }
}

/// Splits the numbers of a request where the answer changes. Empty if there are too many rows to
/// evaluate.
#[must_use]
pub fn parts(question: &Question<'_>, facts: &Facts) -> Vec<ExplainedPart> {
    let Some(evaluator) = RangeEvaluator::within_bounds(question, facts) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    let mut rows_left = MAX_ROWS_NAMED;
    for numbers in question.request.numbers() {
        let mut of_range = answers(*numbers, &evaluator);
        of_range.sort_unstable_by_key(|(numbers, _)| *numbers);
        for (numbers, refused) in of_range {
            let (rows, left_out) = rows(numbers, facts, rows_left);
            rows_left -= rows.len();
            parts.push(ExplainedPart {
                numbers,
                refused,
                rows,
                left_out,
            });
        }
    }
    parts
}

/// Splits one range into parts with one answer each. An evaluation reports the first cause that
/// applies to any part of the range. What it leaves open is evaluated again, since a later cause
/// can apply to it.
fn answers(
    numbers: NumberRange,
    evaluator: &RangeEvaluator<'_>,
) -> Vec<(NumberRange, Option<RefusalCause>)> {
    let (mut open, mut answered) = (vec![numbers], Vec::new());
    while let Some(numbers) = open.pop() {
        let refusals = evaluator.evaluate(numbers).err().unwrap_or_default();
        let refused: Vec<(NumberRange, RefusalCause)> = refusals
            .into_iter()
            .filter_map(|refusal| match refusal.subject {
                Subject::Numbers(numbers) => Some((numbers, refusal.cause)),
                Subject::Spc(_) => None,
            })
            .collect();
        if refused.is_empty() {
            answered.push((numbers, None));
        } else {
            open.extend(gaps(numbers, refused.iter().map(|(numbers, _)| *numbers)));
            answered.extend(refused.into_iter().map(|(n, cause)| (n, Some(cause))));
        }
    }
    answered
}

/// The rows that overlap the numbers, at most `most` of them, and how many were left out.
fn rows(numbers: NumberRange, facts: &Facts, most: usize) -> (Vec<ExplainedRow>, usize) {
    let (mut rows, mut left_out) = (Vec::new(), 0);
    let mut add = |of: NumberRange, row: &dyn Fn() -> ExplainedRow| {
        if of.intersection(numbers).is_none() {
            return;
        }
        if rows.len() < most {
            rows.push(row());
        } else {
            left_out += 1;
        }
    };
    for row in &facts.delegations {
        add(row.numbers, &|| ExplainedRow::Delegation(row.clone()));
    }
    for row in &facts.lent_on {
        add(row.numbers, &|| ExplainedRow::LentOn(row.clone()));
    }
    for row in &facts.allocations {
        add(row.numbers, &|| ExplainedRow::Allocation(row.clone()));
    }
    for row in &facts.exclusions {
        add(row.numbers, &|| ExplainedRow::Exclusion(row.clone()));
    }
    for row in &facts.departures {
        add(row.numbers, &|| ExplainedRow::Departure(row.clone()));
    }
    (rows, left_out)
}
