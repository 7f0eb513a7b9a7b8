//! How strictly an account's requests are read. Strict by default; some older CAs, and the clients made for them, write
//! some things in another way, and compare what they get with what they wrote.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// How strictly an account's requests are read, and what its tokens may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// RFC 9448 and nothing else: `tkvalue` in base64url without padding, `fingerprint` in upper-case hex, that of the
    /// RFC 7638 thumbprint.
    #[default]
    Strict,
    /// Also `tkvalue` in padded standard base64, which the token then repeats character for character; `fingerprint` of the
    /// SubjectPublicKeyInfo, which looks the same and is repeated too; and a fingerprint in lower-case hex, which is put
    /// into its canonical form.
    Legacy,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Legacy];

    /// The word of the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Legacy => "legacy",
        }
    }
}

/// A word that is no dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected strict or legacy")]
pub struct DialectError;

impl FromStr for Dialect {
    type Err = DialectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|dialect| dialect.as_str() == text)
            .ok_or(DialectError)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Dialect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
