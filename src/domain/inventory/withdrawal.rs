//! Authority that ends: by what, which grants it takes with it, and how much can still be redeemed.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::NumberRange;
use crate::domain::tokens::grant::Jti;

/// Why a grant is taken back when a loan ends.
pub const DELEGATION_ENDED: &str = "delegation-ended";
/// Why it is when the carrier gives numbers back.
pub const ALLOCATION_RETURNED: &str = "allocation-returned";
/// Why it is when the account is suspended.
pub const ACCOUNT_SUSPENDED: &str = "account-suspended";

/// The row by which authority ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndingRow {
    Exclusion(Uuid),
    Delegation(Uuid),
    Allocation(Uuid),
    /// Of an account.
    Suspension(Uuid),
}

impl EndingRow {
    /// The word of the API and of the database.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Exclusion(_) => "exclusion",
            Self::Delegation(_) => "delegation",
            Self::Allocation(_) => "allocation",
            Self::Suspension(_) => "suspension",
        }
    }

    /// The row.
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::Exclusion(id)
            | Self::Delegation(id)
            | Self::Allocation(id)
            | Self::Suspension(id) => id,
        }
    }
}

impl fmt::Display for EndingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// A text that names no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected exclusion, delegation, allocation or suspension, and an id behind a colon")]
pub struct CauseError;

impl FromStr for EndingRow {
    type Err = CauseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, id) = text.split_once(':').ok_or(CauseError)?;
        let id = id.parse().map_err(|_| CauseError)?;
        match kind {
            "exclusion" => Ok(Self::Exclusion(id)),
            "delegation" => Ok(Self::Delegation(id)),
            "allocation" => Ok(Self::Allocation(id)),
            "suspension" => Ok(Self::Suspension(id)),
            _ => Err(CauseError),
        }
    }
}

/// From when on authority ended, and why: the same for all grants that it takes with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorityEnd {
    /// May lie ahead: a port is often known in advance.
    pub at: Time,
    /// A word of the service, or the words of a person.
    pub reason: String,
    /// `None` when a person took back one grant.
    pub cause: Option<EndingRow>,
}

/// One entry of the feed of withdrawals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// Its place in the feed. Grows; says nothing else.
    pub sequence: i64,
    pub jti: Jti,
    pub account: AccountId,
    /// The numbers of its list.
    pub numbers: Vec<NumberRange>,
    pub ended: AuthorityEnd,
    pub expires_at: Time,
    pub recorded_at: Time,
}

/// Tokens that can still be redeemed although authority ended: nobody can call a token back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    pub tokens: u64,
    /// When the last of them expires.
    pub until: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_read_as_it_is_written() {
        let id = Uuid::from_u128(7);
        for cause in [
            EndingRow::Exclusion(id),
            EndingRow::Delegation(id),
            EndingRow::Allocation(id),
            EndingRow::Suspension(id),
        ] {
            assert_eq!(cause.to_string().parse(), Ok(cause));
        }
        for wrong in [
            "",
            "exclusion",
            "exclusion:",
            "exclusion:7",
            "grant:00000000-0000-0000-0000-000000000007",
        ] {
            assert_eq!(wrong.parse::<EndingRow>(), Err(CauseError), "{wrong}");
        }
    }
}
