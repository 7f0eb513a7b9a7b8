//! Grants: the record behind each token. Who, which numbers, why it was allowed, which chain, until when.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use super::tkvalue::TkValue;
use crate::domain::accounts::account::AccountId;
use crate::domain::accounts::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::inventory::RowRef;
use crate::domain::words::words;

/// The id of a token (RFC 7519 §4.1.7): unique among all issuers but for a negligible chance.
///
/// 48 bits of time in front, so that an index grows at its end, and 128 random bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Jti(String);

impl Jti {
    /// Makes an id of the time and of bits that nobody can guess.
    #[must_use]
    pub fn new(time: Time, random: [u8; 16]) -> Self {
        let millis = time.timestamp_millis() & 0xffff_ffff_ffff;
        Self(format!("{millis:012x}{:032x}", u128::from_be_bytes(random)))
    }

    /// The id that a text is, if it has the form of those that are made here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 44 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// An id that was recorded, or that a caller asks about.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as it stands in the token.
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

/// What a grant leans on: a version of a row of the inventory, and the right to renew that it was asked by.
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

    /// The row, and which version of it.
    #[must_use]
    pub const fn row(self) -> RowRef {
        match self {
            Self::Delegation(row) | Self::Allocation(row) | Self::Renewal(row) => row,
        }
    }
}

/// Where a grant stands at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// Its token can be redeemed.
    Active,
    /// Its token's time is over.
    Expired,
    /// The carrier took it back; the token itself still verifies until it expires.
    Withdrawn,
}

words! {
    /// The word of the API.
    impl Serialize for GrantState {
        Active = "active",
        Expired = "expired",
        Withdrawn = "withdrawn",
    }
}

/// From when on and why a grant is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    pub at: Time,
    pub reason: String,
}

/// The record behind one token. Written before the token is signed, and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub jti: Jti,
    pub account: AccountId,
    /// What the token is about, character for character as it was asked.
    pub tkvalue: TkValue,
    /// How strictly the request was read: that of the account then.
    pub dialect: Dialect,
    pub ca: bool,
    pub fingerprint: Fingerprint,
    pub issued_at: Time,
    pub expires_at: Time,
    /// The certificate chain whose key signs the token, by the name that `x5u` gives it.
    pub chain: String,
    /// The API key, or other proof, that asked.
    pub caller: String,
    pub request_id: Uuid,
    pub justified_by: Vec<Justification>,
    /// The policies that permitted it.
    pub policies: PolicyTrace,
    pub withdrawal: Option<Withdrawal>,
}

impl Grant {
    /// Where the grant stands at `time`.
    #[must_use]
    pub fn state(&self, time: Time) -> GrantState {
        match &self.withdrawal {
            Some(withdrawal) if withdrawal.at <= time => GrantState::Withdrawn,
            _ if self.expires_at <= time => GrantState::Expired,
            _ => GrantState::Active,
        }
    }
}

/// Something that a committed transaction holds. Only the writer of the store makes one, after COMMIT, and the signer
/// takes nothing else: a token without its row cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<T>(T);

impl<T> Recorded<T> {
    /// Says that COMMIT has succeeded.
    pub(crate) fn after_commit(value: T) -> Self {
        Self(value)
    }

    /// What was recorded.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }
}
