//! What an import did, or would do.

use uuid::Uuid;

use crate::authority::departures::EndedDelegations;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::tokens::grant::Grant;
use crate::tables::TableSummary;

/// How many added and how many ended ranges a result lists.
pub(super) const RANGES_NAMED: usize = 100;
/// How many outstanding grants a result lists.
pub(super) const GRANTS_LISTED: usize = 100;
/// How many outstanding grants are counted before `more` is set.
pub(super) const GRANTS_COUNTED: usize = 100_000;

/// A number of ranges (or rows), and how many telephone numbers are in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub ranges: u64,
    pub numbers: u64,
}

impl Amount {
    pub(super) fn of<'a>(ranges: impl IntoIterator<Item = &'a NumberRange>) -> Self {
        let mut amount = Self::default();
        for range in ranges {
            amount.ranges += 1;
            amount.numbers += range.count();
        }
        amount
    }
}

/// The first added and the first ended ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    pub added: Vec<NumberRange>,
    pub ended: Vec<NumberRange>,
}

/// Tokens that can still be redeemed although authority over some of their numbers has ended. A
/// signed token cannot be revoked, so the carrier has to know of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutstandingTokens {
    pub count: u64,
    /// Whether there are more than `count`.
    pub more: bool,
    /// The first of their grants.
    pub grants: Vec<Grant>,
    /// When the last of the counted tokens expires.
    pub until: Option<Time>,
    /// How many grants were withdrawn, or are being withdrawn by a sweep.
    pub withdrawn: u64,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// The job under which it can be undone; `None` if it changed nothing.
    pub job: Option<Uuid>,
    pub summary: TableSummary,
    pub dry_run: bool,
    pub added: Amount,
    pub ended: Amount,
    pub unchanged: Amount,
    /// Numbers that the carrier holds outside the table's scope; they stay as they are.
    pub elsewhere: u64,
    pub difference: Difference,
    pub outstanding: OutstandingTokens,
    /// The delegations that end because their numbers leave.
    pub ended_delegations: EndedDelegations,
}

impl Imported {
    pub(super) fn with_ended_delegations(self, ended: EndedDelegations) -> Self {
        Self {
            ended_delegations: ended,
            ..self
        }
    }

    /// Whether the import changed nothing, or would change nothing.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.added == Amount::default() && self.ended == Amount::default()
    }
}
