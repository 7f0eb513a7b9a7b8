//! Accounts: who asks for tokens, an enterprise or a reseller (`:id` of RFC 9448 §5.5).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use super::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::words::words;

/// Why a text is not an account's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an account id is 1 to 64 letters, digits, `.`, `_`, `~` or `-`")]
pub struct AccountIdError;

/// An account's id, chosen by the carrier: `[A-Za-z0-9._~-]{1,64}`, so that it stands in a URL as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AccountId(String);

impl AccountId {
    /// The id as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = AccountIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
        // `.` and `..` are steps in a path, which clients and proxies take away.
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

/// Why a text is not a name, a reference or a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    #[error("has more than {MAX_TEXT} characters")]
    Long,
    #[error("has a control character, or one that turns the writing direction")]
    Control,
}

/// Characters of a text for people.
pub const MAX_TEXT: usize = 256;

/// Takes a text for people: a name, a reference or a reason.
///
/// # Errors
/// [`TextError`] if it is long, or has what a database cannot keep or a terminal would obey.
pub fn text_for_people(text: &str) -> Result<String, TextError> {
    if text.chars().count() > MAX_TEXT {
        return Err(TextError::Long);
    }
    if text.chars().any(steers) {
        return Err(TextError::Control);
    }
    Ok(text.to_owned())
}

/// Whether a character ends a line, steers a terminal or turns the writing direction.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An account as the carrier keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// A name for people; empty when none was given.
    pub name: String,
    /// The resellers above this account, the nearest first: whose customer it is, and whose customer that one is.
    /// Nobody when it is the carrier's own customer.
    pub above: Vec<AccountId>,
    pub created_at: Time,
    /// Since when the account gets no tokens; `None` when it is in good standing.
    pub suspended_since: Option<Time>,
    /// How long its tokens live when a request does not say.
    pub lifetime: LifetimeMode,
    /// How strictly its requests are read.
    pub dialect: Dialect,
}

/// How long tokens live when a request does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LifetimeMode {
    /// Long enough to prove something once: the CA bounds its certificates by rules of its own, and whoever renews one
    /// asks for another token.
    #[default]
    Proof,
    /// `exp` is the last instant for which the numbers are vouched for, for CAs that let no certificate outlive its
    /// token (RFC 9447 §7).
    GrantHorizon,
}

words! {
    /// The word of the API.
    impl FromStr, Deserialize for LifetimeMode {
        Proof = "proof",
        GrantHorizon = "grant-horizon",
    }
}

/// That an account gets no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// The reseller who suspended it; the carrier when there is none.
    pub by: Option<AccountId>,
}

impl Account {
    /// How many resellers may stand above an account: chains of loans are as long.
    pub const MAX_DEPTH: usize = 8;

    /// The reseller that this account is a customer of; the carrier itself when there is none.
    #[must_use]
    pub fn parent(&self) -> Option<&AccountId> {
        self.above.first()
    }

    /// Whether this is one of `roots`, or a customer of theirs at any depth.
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
    fn an_id_stands_in_a_url_as_it_is() {
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
            assert!(wrong.parse::<AccountId>().is_err(), "{wrong:?} was taken");
        }
    }
}
