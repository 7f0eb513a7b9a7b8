//! The signature algorithms of access tokens (RFC 7518 §3.1, RFC 8037).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// A text that names no algorithm that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "an algorithm of access tokens is ES256, ES384, RS256, PS256 or EdDSA; `none` and those with a shared secret (HS256 and \
     the like) are never taken"
)]
pub struct AlgorithmError;

/// How an access token may be signed: with a key pair, always. There is no `none` and no HS256 here, so that neither can
/// be configured (RFC 8725 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Ps256,
    /// With Ed25519 alone.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Ps256,
        Self::EdDsa,
    ];

    /// The value of `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.as_str() == text)
            .ok_or(AlgorithmError)
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_key_pairs_sign() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for wrong in ["none", "None", "HS256", "HS512", "es256", "ES256K", ""] {
            assert_eq!(wrong.parse::<Algorithm>(), Err(AlgorithmError), "{wrong}");
        }
    }
}
