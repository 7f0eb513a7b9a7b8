//! Fingerprints of ACME account keys (RFC 9448 §5.4): `SHA256 56:3E:CF:...`.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::domain::text::strict_json;

/// Why a text is not a fingerprint, or why a key has no thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FingerprintError {
    #[error("a fingerprint is `SHA256 ` and 32 bytes in upper-case hex, separated by `:`")]
    Grammar,
    #[error("not a JWK: {0}")]
    Json(String),
    #[error("the JWK member `{0}` is missing or not base64url")]
    Member(&'static str),
    #[error("the JWK has an unsupported key type; use EC, RSA or OKP")]
    KeyType,
}

/// The SHA-256 fingerprint that binds a token to an ACME account key. The authority copies the
/// requested value without verifying it (RFC 9447 §3.3); the CA compares it with the account key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The RFC 7638 thumbprint (SHA-256) of a JWK, as in RFC 9448 §5.4 and RFC 8555 §8.1.
    ///
    /// # Errors
    /// [`FingerprintError`] if the text is not a JWK, or lacks a member that RFC 7638 §3.2
    /// requires.
    pub fn of_jwk(jwk: &str) -> Result<Self, FingerprintError> {
        let jwk = strict_json::from_slice(jwk.as_bytes())
            .map_err(|e| FingerprintError::Json(e.to_string()))?;
        Self::of_members(jwk.as_object().unwrap_or(&Map::new()))
    }

    /// The thumbprint of the members of a JWK. Other members, and whether the key is valid, are not
    /// checked.
    pub(in crate::domain) fn of_members(
        jwk: &Map<String, Value>,
    ) -> Result<Self, FingerprintError> {
        // RFC 7638 §3.2: only the required members, in lexicographic order.
        let required: &[&'static str] = match jwk.get("kty").and_then(Value::as_str) {
            Some("EC") => &["crv", "kty", "x", "y"],
            Some("OKP") => &["crv", "kty", "x"],
            Some("RSA") => &["e", "kty", "n"],
            _ => return Err(FingerprintError::KeyType),
        };
        let mut canonical = String::new();
        for (name, separator) in required
            .iter()
            .zip(std::iter::once('{').chain(std::iter::repeat(',')))
        {
            let value = jwk.get(*name).and_then(Value::as_str);
            // No character that JSON would escape, so the text is its own canonical form.
            let value = value
                .filter(|v| {
                    !v.is_empty()
                        && v.bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                })
                .ok_or(FingerprintError::Member(name))?;
            let _ = write!(canonical, "{separator}\"{name}\":\"{value}\"");
        }
        canonical.push('}');
        Ok(Self(Sha256::digest(canonical).into()))
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A fingerprint as the client spelled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedFingerprint {
    fingerprint: Fingerprint,
    canonical: bool,
}

impl AskedFingerprint {
    /// The fingerprint itself, whatever its spelling.
    #[must_use]
    pub const fn get(self) -> Fingerprint {
        self.fingerprint
    }

    /// Checks that a strict account could have sent it.
    ///
    /// # Errors
    /// [`FingerprintError`] if it was not in canonical form.
    pub const fn is_strict(self) -> Result<(), FingerprintError> {
        if self.canonical {
            Ok(())
        } else {
            Err(FingerprintError::Grammar)
        }
    }
}

impl From<Fingerprint> for AskedFingerprint {
    fn from(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            canonical: true,
        }
    }
}

/// Accepts the canonical form, and the same with lower-case hex.
impl FromStr for AskedFingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = match text.split_once(' ') {
            Some((name, hex)) => format!("{name} {}", hex.to_ascii_uppercase()),
            None => text.to_owned(),
        };
        Ok(Self {
            fingerprint: canonical.parse()?,
            canonical: canonical == text,
        })
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written at once: every mint writes several, and `write!` costs a microsecond.
        let mut text = String::with_capacity("SHA256".len() + 3 * self.0.len());
        text.push_str("SHA256");
        let separators = std::iter::once(' ').chain(std::iter::repeat(':'));
        for (byte, separator) in self.0.into_iter().zip(separators) {
            text.push(separator);
            text.extend([byte >> 4, byte & 0xf].map(hex_digit));
        }
        f.write_str(&text)
    }
}

/// The upper-case digit of a number below 16.
fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 {
        b'0' + nibble
    } else {
        b'A' + nibble - 10
    })
}

/// `^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$`, so that writing a parsed fingerprint repeats the
/// text.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text
            .strip_prefix("SHA256 ")
            .ok_or(FingerprintError::Grammar)?;
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'A'..=b'F' => Some(b - b'A' + 10),
            _ => None,
        };
        let mut digest = [0; 32];
        let mut pairs = hex.split(':');
        for byte in &mut digest {
            *byte = match pairs.next().map(str::as_bytes) {
                Some([high, low]) => nibble(*high)
                    .zip(nibble(*low))
                    .map(|(high, low)| high << 4 | low)
                    .ok_or(FingerprintError::Grammar)?,
                _ => return Err(FingerprintError::Grammar),
            };
        }
        match pairs.next() {
            None => Ok(Self(digest)),
            Some(_) => Err(FingerprintError::Grammar),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
