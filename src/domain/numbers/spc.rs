//! Service provider codes (RFC 8226 §9: `spc`), such as an OCN, or the RespOrg code of toll-free
//! numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

/// Why a text is not a service provider code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpcError {
    #[error("a service provider code is not empty")]
    Empty,
    #[error("a service provider code is printable ASCII without spaces")]
    Character,
}

/// A service provider code: identifies the carrier. Compared byte for byte: `583j` is not `583J`.
///
/// RFC 8226 sets no length; the codes in use have 4 or 5 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Spc(String);

impl Spc {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Spc {
    type Err = SpcError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(SpcError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(SpcError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Spc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Spc {
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
    fn case_and_length_are_kept() {
        for code in ["1234", "583j", "LUP01"] {
            assert_eq!(
                code.parse::<Spc>().map(|spc| spc.to_string()),
                Ok(code.into())
            );
        }
        assert_ne!("583j".parse::<Spc>(), "583J".parse::<Spc>());
        for wrong in ["", "12 4", "12\u{0}4", "é234", "1234\n"] {
            assert!(wrong.parse::<Spc>().is_err(), "{wrong:?} was accepted");
        }
    }
}
