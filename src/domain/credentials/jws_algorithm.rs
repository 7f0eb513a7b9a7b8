//! The signature algorithms of access tokens (RFC 7518 §3.1, RFC 8037).

use std::str::FromStr;

use crate::domain::text::words::{listed, words};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// The text is not the name of a permitted algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "an algorithm of access tokens is {}; `none` and those with a shared secret, such as HS256, are never accepted",
    listed(&Algorithm::WORDS)
)]
pub struct AlgorithmError;

/// The permitted algorithms, all with a key pair. `none` and HS256 are not among them, so neither
/// can be configured (RFC 8725 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Ps256,
    /// With Ed25519 only.
    EdDsa,
}

words! {
    /// The value of `alg`.
    impl Display for Algorithm {
        Es256 = "ES256",
        Es384 = "ES384",
        Rs256 = "RS256",
        Ps256 = "PS256",
        EdDsa = "EdDSA",
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_word(text).ok_or(AlgorithmError)
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
