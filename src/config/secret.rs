//! Values that must not reach a log: they have no `Display`, and `Debug` redacts them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// The minimum length of a secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// Why a text is not a valid secret. The message does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretError {
    #[error("a secret must be hex, or base64url without padding")]
    Encoding,
    #[error(
        "a secret must have at least {MIN_SECRET_BYTES} bytes, not {0}; `openssl rand -hex {MIN_SECRET_BYTES}` makes one"
    )]
    TooShort(usize),
}

/// Key material, at least 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Hex, if all characters are hex digits and their number is even; otherwise base64url without
/// padding. White space around it is ignored, since a file ends with a line break.
impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let bytes = hex::decode(text)
            .or_else(|_| URL_SAFE_NO_PAD.decode(text))
            .map_err(|_| SecretError::Encoding)?;
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort(bytes.len()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The URL of a database, which can contain a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

/// The whole URL of a file; only the scheme of any other, since a password can be in several parts
/// of it.
impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once(':') {
            Some(("sqlite", _)) => write!(f, "{:?}", self.0),
            Some((scheme, _)) => write!(f, "\"{}:..\"", scheme.escape_debug()),
            None => f.write_str("\"..\""),
        }
    }
}
