//! How a number is asked, and what has to answer.

use thiserror::Error;

use super::codes::ControlCode;
use super::proof::Method;
use crate::domain::tokens::fingerprint::Fingerprint;

/// How a number is asked: a method, and the ACME account key whose tokens the proof is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Without a key, the proof counts for tokens of every key.
    Sms(Option<Fingerprint>),
    Voice(Option<Fingerprint>),
    /// The key signs the answer.
    Sip(Fingerprint),
}

/// Why a method cannot be used so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChannelError {
    #[error("is required for `sip`: the key of the ACME account that signs the answer")]
    KeyMissing,
}

impl Channel {
    /// The channel of a method, for tokens of this key.
    ///
    /// # Errors
    /// [`ChannelError`] if there is no key that could sign the answer, although no person answers.
    pub const fn new(method: Method, key: Option<Fingerprint>) -> Result<Self, ChannelError> {
        match (method, key) {
            (Method::Sms, key) => Ok(Self::Sms(key)),
            (Method::Voice, key) => Ok(Self::Voice(key)),
            (Method::Sip, Some(key)) => Ok(Self::Sip(key)),
            (Method::Sip, None) => Err(ChannelError::KeyMissing),
        }
    }

    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Sms(_) => Method::Sms,
            Self::Voice(_) => Method::Voice,
            Self::Sip(_) => Method::Sip,
        }
    }

    /// The key whose tokens the proof is for; `None` if it is for those of every key.
    #[must_use]
    pub const fn key(self) -> Option<Fingerprint> {
        match self {
            Self::Sms(key) | Self::Voice(key) => key,
            Self::Sip(key) => Some(key),
        }
    }
}

/// A nonce that came back, signed with the key of this fingerprint. The signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnswer {
    pub key: Fingerprint,
    pub nonce: ControlCode,
}
