//! How a number is asked, and what has to answer.

use thiserror::Error;

use super::codes::ControlCode;
use super::proof::Method;
use crate::domain::tokens::fingerprint::Fingerprint;

/// How a number is asked: a method, with the key that has to sign the answer if no person answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Sms,
    Voice,
    /// The ACME account key signs the answer.
    Sip(Fingerprint),
}

/// Why a method and a key do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChannelError {
    #[error("is required for `sip`: the key of the ACME account that signs the answer")]
    KeyMissing,
    #[error("is for `sip` only, where an agent signs the answer")]
    KeyUnused,
}

impl Channel {
    /// The channel of a method, with the key that signs the answer.
    ///
    /// # Errors
    /// [`ChannelError`] if there is a key although a person answers, or none although no one does.
    pub const fn new(method: Method, key: Option<Fingerprint>) -> Result<Self, ChannelError> {
        match (method, key) {
            (Method::Sms, None) => Ok(Self::Sms),
            (Method::Voice, None) => Ok(Self::Voice),
            (Method::Sip, Some(key)) => Ok(Self::Sip(key)),
            (Method::Sip, None) => Err(ChannelError::KeyMissing),
            (Method::Sms | Method::Voice, Some(_)) => Err(ChannelError::KeyUnused),
        }
    }

    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Sms => Method::Sms,
            Self::Voice => Method::Voice,
            Self::Sip(_) => Method::Sip,
        }
    }

    /// The key that has to sign the answer; `None` if a person enters the code.
    #[must_use]
    pub const fn key(self) -> Option<Fingerprint> {
        match self {
            Self::Sms | Self::Voice => None,
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
