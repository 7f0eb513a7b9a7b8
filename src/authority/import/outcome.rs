//! What an import did, or would do.

use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::tokens::grant::Grant;
use crate::tables::TableSummary;

/// How many ranges a difference names of each kind.
pub(super) const RANGES_NAMED: usize = 100;
/// How many grants are listed.
pub(super) const GRANTS_LISTED: usize = 100;
/// How many are counted; beyond that there are more.
pub(super) const GRANTS_COUNTED: usize = 100_000;

/// So many ranges, or rows, and so many numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub ranges: u64,
    pub numbers: u64,
}

impl Amount {
    /// How much these are.
    pub(super) fn of<'a>(ranges: impl IntoIterator<Item = &'a NumberRange>) -> Self {
        let mut amount = Self::default();
        for range in ranges {
            amount.ranges += 1;
            amount.numbers += range.count();
        }
        amount
    }
}

/// The first ranges of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    pub added: Vec<NumberRange>,
    pub ended: Vec<NumberRange>,
}

/// Tokens that can still be redeemed although authority for some of their numbers ended: nobody can call a token back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutstandingTokens {
    pub count: u64,
    /// Whether there are more than were counted.
    pub more: bool,
    /// The first of them.
    pub grants: Vec<Grant>,
    /// When the last of those that were counted expires.
    pub until: Option<Time>,
    /// How many grants were taken back, or are being so.
    pub withdrawn: u64,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    pub told: TableSummary,
    /// Whether it was only asked what would be done.
    pub dry_run: bool,
    pub added: Amount,
    pub ended: Amount,
    pub unchanged: Amount,
    /// Numbers that the carrier holds outside of what the table speaks for, and that stay as they are.
    pub elsewhere: u64,
    pub difference: Difference,
    pub outstanding: OutstandingTokens,
}

impl Imported {
    /// Whether nothing changed, or would change.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.added == Amount::default() && self.ended == Amount::default()
    }
}
