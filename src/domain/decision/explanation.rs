//! Why a decision is what it is: each part of the numbers, with the rows that say yes or no to it.

use std::fmt;

use super::denial::{RefusalCause, Subject};
use super::{Facts, Question, RangeEvaluator, is_too_much};
use crate::domain::clock::{Time, rfc3339};
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{Allocation, Delegation, Exclusion, InventoryRow};
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::range_set::gaps;

/// How many rows one explanation names, all parts together.
const MAX_ROWS_NAMED: usize = 2_000;

/// Some numbers that get one answer, because of the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedPart {
    pub numbers: NumberRange,
    /// Why not; `None` is a yes, as far as the numbers go.
    pub refused: Option<RefusalCause>,
    /// The rows that touch them, in the order in which they are weighed.
    pub rows: Vec<ExplainedRow>,
    /// How many more there are; an explanation names a bounded number of rows.
    pub left_out: usize,
}

/// A row that has a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainedRow {
    /// Of the account, or of a reseller above it.
    Delegation(Delegation),
    /// What the account has lent on without keeping its own right.
    LentOn(Delegation),
    Allocation(Allocation),
    Exclusion(Exclusion),
}

impl ExplainedRow {
    /// Whether it says yes to its numbers at an instant.
    #[must_use]
    pub fn says_yes(&self, at: Time) -> bool {
        match self {
            Self::Delegation(row) => row.window.contains(at),
            Self::Allocation(row) => row.window.contains(at),
            Self::LentOn(row) => !row.window.contains(at),
            Self::Exclusion(row) => !row.window.contains(at),
        }
    }

    /// The word of the API for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Delegation(_) => "delegation",
            Self::LentOn(_) => "lent-on",
            Self::Allocation(_) => "allocation",
            Self::Exclusion(_) => "exclusion",
        }
    }

    /// The row itself.
    #[must_use]
    pub fn held(&self) -> &dyn InventoryRow {
        match self {
            Self::Delegation(row) | Self::LentOn(row) => row,
            Self::Allocation(row) => row,
            Self::Exclusion(row) => row,
        }
    }
}

impl fmt::Display for ExplainedRow {
    /// In the words of the field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delegation(row) => {
                write!(f, "{} lent to {}", row.numbers, row.account)?;
                if let Some(from) = &row.cut_from {
                    write!(f, " by {}", from.lender)?;
                }
                f.write_str(if row.ca {
                    ", also for CA certificates"
                } else {
                    ""
                })
            }
            Self::LentOn(row) => write!(f, "{} lent on to {}", row.numbers, row.account),
            Self::Allocation(row) => {
                write!(
                    f,
                    "{} held as {} of {}",
                    row.numbers,
                    row.basis.as_str(),
                    row.spc
                )
            }
            Self::Exclusion(row) => write!(f, "{} {}", row.numbers, row.reason.as_str()),
        }?;
        holding(f, self.held().window())
    }
}

fn holding(f: &mut fmt::Formatter<'_>, window: Window) -> fmt::Result {
    write!(f, ", from {}", rfc3339(&window.from()))?;
    match window.until() {
        Some(until) => write!(f, " to {}", rfc3339(&until)),
        None => Ok(()),
    }
}

/// Splits the numbers of a question where the answer changes. Says nothing where the rows are too many to be weighed.
#[must_use]
pub fn parts(question: &Question<'_>, facts: &Facts) -> Vec<ExplainedPart> {
    if is_too_much(question, facts) {
        return Vec::new();
    }
    let evaluator = RangeEvaluator::new(question, facts);
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

/// The parts of one range that get one answer. One look names the first cause that applies to any of it; what that leaves
/// open may be refused for the next one.
fn answers(
    numbers: NumberRange,
    evaluator: &RangeEvaluator<'_>,
) -> Vec<(NumberRange, Option<RefusalCause>)> {
    let (mut open, mut found) = (vec![numbers], Vec::new());
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
            found.push((numbers, None));
        } else {
            open.extend(gaps(numbers, refused.iter().map(|(numbers, _)| *numbers)));
            found.extend(refused.into_iter().map(|(n, cause)| (n, Some(cause))));
        }
    }
    found
}

/// The rows that touch the numbers, at most so many of them, and how many more there are.
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
    (rows, left_out)
}
