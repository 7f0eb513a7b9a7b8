//! What policies ask of rows: which facts they refer to, and the facts about one request.

use crate::domain::control::facts::ControlFacts;

/// The facts about rows that a set of policies refers to. Only these are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each member of the context"
)]
pub struct RowInputs {
    pub control: bool,
    pub key_age: bool,
    pub delegation_age: bool,
    pub first: bool,
}

impl RowInputs {
    pub const ALL: Self = Self {
        control: true,
        key_age: true,
        delegation_age: true,
        first: true,
    };

    /// Whether there is any. Without, a request is decided before it is queued.
    #[must_use]
    pub const fn any(self) -> bool {
        self.control || self.key_age || self.delegation_age || self.first
    }
}

/// The facts about one request, read in the transaction that decides it. Ages are in seconds,
/// rounded to whole minutes and hours. What is not loaded has the value that a policy trusts least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFacts {
    pub control: ControlFacts,
    /// Since the account's first token for this ACME account key; 0 if there is none.
    pub key_age: u64,
    /// Since the account has had a delegation for each of the numbers; 0 if it has none.
    pub delegation_age: u64,
    /// Whether an entry of the list was not yet part of a token of the account, since the account
    /// has had delegations for it. A token that was withdrawn does not count.
    pub first: bool,
}

impl Default for RowFacts {
    fn default() -> Self {
        Self {
            control: ControlFacts::default(),
            key_age: 0,
            delegation_age: 0,
            first: true,
        }
    }
}
