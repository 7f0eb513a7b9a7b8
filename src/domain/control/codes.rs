//! Codes: what reaches a number and comes back. They are secret until then, and worthless after.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;

/// A code or a nonce. It is never logged, and stored only hashed or encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlCode(String);

/// How many digits a code for a person can have.
const DIGITS: RangeInclusive<usize> = 6..=8;

impl ControlCode {
    /// The most characters of what a caller can return as a code.
    pub const MAX_LENGTH: usize = 64;

    /// What was drawn, or what a caller returned. Longer texts are cut, and so match no code.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().take(Self::MAX_LENGTH).collect())
    }

    /// The code that a person has entered; `None` if that is none, but a slip: it uses up no try.
    #[must_use]
    pub fn entered(text: &str) -> Option<Self> {
        let is_code = DIGITS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_code.then(|| Self(text.to_owned()))
    }

    /// The code itself: only for the message, and to compare it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ControlCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlCode(..)")
    }
}

/// What a code looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeForm {
    /// This number of decimal digits, which a person can enter: at most 9.
    Digits(u32),
    /// 256 bits in base64url, which a program returns.
    Nonce,
}

/// Why a code is not available. A failure of the service, never of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodeError {
    #[error("the random generator of the system failed: {0}")]
    Random(String),
    #[error("OpenSSL cannot protect a code: {0}")]
    OpenSsl(String),
    /// It was altered, or the secret of the API keys was changed twice.
    #[error("a code in the outbox cannot be decrypted")]
    Broken,
}

/// Draws codes, and protects them where they are stored. Implemented where the secrets are.
pub trait Codes: fmt::Debug + Send + Sync {
    /// A fresh code; each one of its form is equally likely.
    ///
    /// # Errors
    /// If the system has no random numbers.
    fn draw(&self, form: CodeForm) -> Result<ControlCode, CodeError>;

    /// The keyed hash of a code, which is stored with its proof.
    ///
    /// # Errors
    /// If it cannot be computed.
    fn hash(&self, proof: Uuid, code: &ControlCode) -> Result<Vec<u8>, CodeError>;

    /// Whether a code has this hash. Takes equally long for all codes of one length.
    ///
    /// # Errors
    /// If that cannot be computed.
    fn matches(&self, proof: Uuid, code: &ControlCode, hash: &[u8]) -> Result<bool, CodeError>;

    /// The bits that rank the numbers of an account on a day; see [`super::sample`]. The same on
    /// all replicas, and known to no one else.
    ///
    /// # Errors
    /// If they cannot be computed.
    fn sample_bits(&self, account: &AccountId, day: i64) -> Result<[u8; 32], CodeError>;

    /// Encrypts a code for the outbox, for this proof and this gateway only.
    ///
    /// # Errors
    /// If it cannot be encrypted.
    fn seal(&self, proof: Uuid, gateway: &str, code: &ControlCode) -> Result<Vec<u8>, CodeError>;

    /// Decrypts a code from the outbox.
    ///
    /// # Errors
    /// [`CodeError::Broken`] if it was not sealed for this proof and this gateway.
    fn open(&self, proof: Uuid, gateway: &str, sealed: &[u8]) -> Result<ControlCode, CodeError>;
}
