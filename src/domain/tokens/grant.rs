//! Grants: the record of each token. Which account, which numbers, why it was allowed, which chain
//! signs, until when.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use super::tkvalue::TkValue;
use crate::domain::accounts::account::AccountId;
use crate::domain::accounts::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::inventory::RowRef;
use crate::domain::text::words::words;

/// The id of a token (RFC 7519 §4.1.7), unique among all issuers but for a negligible probability.
///
/// It is the id of the audit event of its grant, a UUID of version 7, followed by 96 random bits.
/// So new entries go to the end of a database index, the order of grants is that of their events,
/// and with the 32 random bits of the UUID there are 128. Older ids are 48 bits of time, followed
/// by 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Jti(String);

/// The digits of an id, and of one from before the ids of events were part of it.
const DIGITS: [usize; 2] = [56, 44];

impl Jti {
    /// Makes an id from that of the event of the grant, and from unpredictable bits.
    #[must_use]
    pub fn new(event: Uuid, random: [u8; 12]) -> Self {
        Self(format!("{}{}", event.simple(), hex::encode(random)))
    }

    /// Parses an id, if it has the form of those made here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (DIGITS.contains(&text.len()) && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// An id from a query, taken as it is.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// An id from the database.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The id as the database stores it; `None` if it cannot be the id of a grant.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        Self::parse(&self.0).and_then(|jti| hex::decode(jti.0).ok())
    }

    /// The id of the audit event of the grant; `None` if it is not part of this id.
    #[must_use]
    pub fn event(&self) -> Option<Uuid> {
        let of_event = self.0.get(..32).filter(|_| self.0.len() == DIGITS[0])?;
        Uuid::try_parse(of_event).ok()
    }

    /// The text of the id, as in the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reason why a grant was allowed: a version of an inventory row, or the right to renew that was
/// used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Justification {
    Delegation(RowRef),
    Allocation(RowRef),
    Renewal(RowRef),
}

impl Justification {
    /// `delegation`, `allocation` or `renewal`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Delegation(_) => "delegation",
            Self::Allocation(_) => "allocation",
            Self::Renewal(_) => "renewal",
        }
    }

    /// The id and the version of the row.
    #[must_use]
    pub const fn row(self) -> RowRef {
        match self {
            Self::Delegation(row) | Self::Allocation(row) | Self::Renewal(row) => row,
        }
    }
}

/// The state of a grant at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// Its token can be redeemed.
    Active,
    /// The token has expired.
    Expired,
    /// The authority ended and the grant was withdrawn. The token itself still verifies until it
    /// expires.
    Withdrawn,
}

words! {
    /// The name in the API.
    impl Serialize for GrantState {
        Active = "active",
        Expired = "expired",
        Withdrawn = "withdrawn",
    }
}

/// When and why a grant is withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    pub at: Time,
    pub reason: String,
}

/// The record of one token. Written before the token is signed, and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub jti: Jti,
    pub account: AccountId,
    /// The `tkvalue`, character for character as it was requested.
    pub tkvalue: TkValue,
    /// The dialect of the account when the request was parsed.
    pub dialect: Dialect,
    pub ca: bool,
    pub fingerprint: Fingerprint,
    pub issued_at: Time,
    pub expires_at: Time,
    /// The name of the certificate chain that signs the token, as in `x5u`.
    pub chain: String,
    /// The `iss` of the authority; `None` if it was not recorded.
    pub iss: Option<Arc<str>>,
    /// The id of the API key or other credential that requested it.
    pub caller: String,
    pub request_id: Uuid,
    pub justified_by: Vec<Justification>,
    /// The policies that permitted it.
    pub policies: PolicyTrace,
    pub withdrawal: Option<Withdrawal>,
}

impl Grant {
    /// The state of the grant at `time`.
    #[must_use]
    pub fn state(&self, time: Time) -> GrantState {
        match &self.withdrawal {
            Some(withdrawal) if withdrawal.at <= time => GrantState::Withdrawn,
            _ if self.expires_at <= time => GrantState::Expired,
            _ => GrantState::Active,
        }
    }
}

/// A value that a committed transaction recorded. Only the writer of the store creates one, after
/// COMMIT, and the signer accepts nothing else. So no token can exist without its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// Marks a value as committed.
    pub(crate) fn after_commit(value: T) -> Self {
        Self(value)
    }

    /// The recorded value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }
}
