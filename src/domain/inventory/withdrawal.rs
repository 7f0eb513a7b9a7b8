//! The end of authority: its cause, the grants that it withdraws, and how many tokens can still be
//! redeemed.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::NumberRange;
use crate::domain::tokens::grant::Jti;

/// The reason for withdrawing a grant when a delegation ends.
pub const DELEGATION_ENDED: &str = "delegation-ended";
/// The reason when the carrier returns an allocation.
pub const ALLOCATION_RETURNED: &str = "allocation-returned";
/// The reason when the account is suspended.
pub const ACCOUNT_SUSPENDED: &str = "account-suspended";
/// The reason when the key that signed the tokens is distrusted.
pub const KEY_DISTRUSTED: &str = "key-distrusted";

/// The row whose change ended the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndingRow {
    Exclusion(Uuid),
    Delegation(Uuid),
    Allocation(Uuid),
    /// The suspension of an account.
    Suspension(Uuid),
    /// The distrust of a signing key.
    Distrust(Uuid),
}

impl EndingRow {
    /// The name in the API and the database.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Exclusion(_) => "exclusion",
            Self::Delegation(_) => "delegation",
            Self::Allocation(_) => "allocation",
            Self::Suspension(_) => "suspension",
            Self::Distrust(_) => "distrust",
        }
    }

    /// The id of the row.
    #[must_use]
    pub const fn id(self) -> Uuid {
        match self {
            Self::Exclusion(id)
            | Self::Delegation(id)
            | Self::Allocation(id)
            | Self::Suspension(id)
            | Self::Distrust(id) => id,
        }
    }
}

impl fmt::Display for EndingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// The text does not name such a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected `KIND:ID`, where KIND is exclusion, delegation, allocation, suspension or distrust"
)]
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
            "distrust" => Ok(Self::Distrust(id)),
            _ => Err(CauseError),
        }
    }
}

/// When and why authority ended; the same for all grants that it withdraws.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorityEnd {
    /// Can be in the future: a port-out is often known in advance.
    pub at: Time,
    /// A reason code of the service, or free text of an operator.
    pub reason: String,
    /// `None` if an operator withdrew a single grant.
    pub cause: Option<EndingRow>,
}

/// An entry in the feed of withdrawals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The sequence number in the feed. It increases; gaps have no meaning.
    pub sequence: i64,
    pub jti: Jti,
    pub account: AccountId,
    /// The numbers of its list.
    pub numbers: Vec<NumberRange>,
    pub ended: AuthorityEnd,
    pub expires_at: Time,
    pub recorded_at: Time,
}

/// Tokens that can still be redeemed although their authority has ended: a token cannot be revoked.
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
            EndingRow::Distrust(id),
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
