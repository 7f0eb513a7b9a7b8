//! Why a decision is what it is: each part of the numbers, with the rows that say yes or no to it.

use std::fmt;

use super::clock::{Time, rfc3339};
use super::decision::{Facts, Question, refusals_of};
use super::denial::{Cause, Subject};
use super::inventory::{Allocation, Delegation, Exclusion, Held};
use super::number::NumberRange;
use super::range_set::gaps;
use super::window::Window;

/// Some numbers that get one answer, because of the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub numbers: NumberRange,
    /// Why not; `None` is a yes, as far as the numbers go.
    pub refused: Option<Cause>,
    /// The rows that touch them, in the order in which they are weighed.
    pub rows: Vec<Row>,
}

/// A row that has a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of the account, or of a reseller above it.
    Delegation(Delegation),
    /// What the account has lent on without keeping its own right.
    LentOn(Delegation),
    Allocation(Allocation),
    Exclusion(Exclusion),
}

impl Row {
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
    pub fn held(&self) -> &dyn Held {
        match self {
            Self::Delegation(row) | Self::LentOn(row) => row,
            Self::Allocation(row) => row,
            Self::Exclusion(row) => row,
        }
    }
}

impl fmt::Display for Row {
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

/// Splits the numbers of a question where the answer changes.
#[must_use]
pub fn parts(question: &Question<'_>, facts: &Facts) -> Vec<Part> {
    let mut parts = Vec::new();
    for numbers in question.request.numbers() {
        let mut open = vec![*numbers];
        let mut of_range: Vec<(NumberRange, Option<Cause>)> = Vec::new();
        // One look names the first cause that applies. What it leaves open may be refused for the next one.
        while let Some(numbers) = open.pop() {
            let refused: Vec<(NumberRange, Cause)> = refusals_of(numbers, question, facts)
                .into_iter()
                .filter_map(|refusal| match refusal.subject {
                    Subject::Numbers(numbers) => Some((numbers, refusal.cause)),
                    Subject::Spc(_) => None,
                })
                .collect();
            if refused.is_empty() {
                of_range.push((numbers, None));
            } else {
                open.extend(gaps(numbers, refused.iter().map(|(numbers, _)| *numbers)));
                of_range.extend(refused.into_iter().map(|(n, cause)| (n, Some(cause))));
            }
        }
        of_range.sort_unstable_by_key(|(numbers, _)| *numbers);
        parts.extend(of_range.into_iter().map(|(numbers, refused)| Part {
            numbers,
            refused,
            rows: rows(numbers, facts),
        }));
    }
    parts
}

fn rows(numbers: NumberRange, facts: &Facts) -> Vec<Row> {
    let delegations = facts.delegations.iter().cloned().map(Row::Delegation);
    let lent_on = facts.lent_on.iter().cloned().map(Row::LentOn);
    let allocations = facts.allocations.iter().cloned().map(Row::Allocation);
    let exclusions = facts.exclusions.iter().cloned().map(Row::Exclusion);
    delegations
        .chain(lent_on)
        .chain(allocations)
        .chain(exclusions)
        .filter(|row| row.held().numbers().intersection(numbers).is_some())
        .collect()
}
