//! Accounts: enterprises and resellers that request tokens (`:id` in the URL of RFC 9448 §5.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use super::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::text::words::words;

/// Why a text is not an account id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an account id is 1 to 64 letters, digits, `.`, `_`, `~` or `-`")]
pub struct AccountIdError;

/// An account id, chosen by the carrier: `[A-Za-z0-9._~-]{1,64}`. These characters need no escaping
/// in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AccountId(String);

impl AccountId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = AccountIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        // Clients and proxies remove `.` and `..` from a path.
        let is_id = (1..=64).contains(&text.len())
            && text.bytes().all(unreserved)
            && !matches!(text, "." | "..");
        is_id.then(|| Self(text.to_owned())).ok_or(AccountIdError)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// An account in the carrier's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// A display name; empty if none was given.
    pub name: String,
    /// The resellers above this account, nearest first; empty if it is the carrier's own customer.
    pub above: Vec<AccountId>,
    pub created_at: Time,
    /// When it was suspended; `None` if it is not.
    pub suspended_since: Option<Time>,
    /// How long its tokens live if a request does not say.
    pub lifetime: LifetimeMode,
    /// How strictly its requests are parsed.
    pub dialect: Dialect,
}

/// How long tokens live if a request does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LifetimeMode {
    /// Long enough to redeem the token once. The CA sets the lifetime of its certificates by its
    /// own rules, and a renewal needs another token.
    #[default]
    Proof,
    /// `exp` is the end of the authority for the numbers. For CAs that issue no certificate that
    /// outlives its token (RFC 9447 §7).
    GrantHorizon,
}

words! {
    /// The name in the API.
    impl FromStr, Deserialize for LifetimeMode {
        Proof = "proof",
        GrantHorizon = "grant-horizon",
    }
}

/// A suspension: no tokens are issued to the account while it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The reseller that suspended the account; `None` if it was the carrier.
    pub by: Option<AccountId>,
}

impl Account {
    /// The most resellers above an account. Delegation chains are no longer than this.
    pub const MAX_DEPTH: usize = 8;

    /// The reseller whose customer this account is; `None` if it is the carrier's own.
    #[must_use]
    pub fn parent(&self) -> Option<&AccountId> {
        self.above.first()
    }

    /// Whether this account is one of `roots`, or below one of them at any depth.
    #[must_use]
    pub fn is_within(&self, roots: &[AccountId]) -> bool {
        std::iter::once(&self.id)
            .chain(&self.above)
            .any(|id| roots.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_needs_no_escaping_in_a_url() {
        for id in ["acme", "a", "A.b_c~d-9", &"x".repeat(64)] {
            assert!(id.parse::<AccountId>().is_ok(), "{id:?} was refused");
        }
        for wrong in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a%20",
            "é",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(
                wrong.parse::<AccountId>().is_err(),
                "{wrong:?} was accepted"
            );
        }
    }
}
