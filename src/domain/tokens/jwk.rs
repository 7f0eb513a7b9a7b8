//! The public key of an ACME account as a JWK (RFC 7517), which a request can have instead of a
//! fingerprint. Only its thumbprint is kept.
//!
//! Only the form is checked here. Whether a point is on its curve needs arithmetic, which the
//! verifier does.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;

use super::fingerprint::{Fingerprint, FingerprintError};

/// Members that only private or symmetric keys have (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// The length of an RSA modulus in bytes: 2,048 to 8,192 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a JWK is not the public key of an ACME account.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JwkError {
    #[error(
        "has the member `{0}` of a private key, which is no longer secret; make a new key, and send only its public part"
    )]
    Private(&'static str),
    #[error("the member `{0}` is not base64url without padding")]
    Base64(&'static str),
    #[error("the member `{name}` has {bytes} bytes, the wrong length for this kind of key")]
    Length { name: &'static str, bytes: usize },
    #[error("the member `{0}` starts with a zero byte, or is not a possible value")]
    Number(&'static str),
    #[error("`crv` must be P-256, P-384 or P-521 in an EC key, or Ed25519 or Ed448 in an OKP key")]
    Curve,
    #[error(transparent)]
    Thumbprint(#[from] FingerprintError),
}

/// A public key in the form that an ACME account can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountJwk {
    fingerprint: Fingerprint,
    point: Option<Point>,
}

/// A point with both coordinates in the full length of its curve (RFC 7518 §6.2.1). It is not yet
/// known to be on the curve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub curve: EcCurve,
    pub x: Vec<u8>,
    pub y: Vec<u8>,
}

/// The curves of EC keys (RFC 7518 §6.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcCurve {
    P256,
    P384,
    P521,
}

impl AccountJwk {
    /// Parses a public key, strictly.
    ///
    /// Members that are not part of the key (`kid`, `alg`, `use` and the like) are ignored, as RFC
    /// 7517 §4 requires.
    ///
    /// # Errors
    /// [`JwkError`] if the key is private, or cannot be the key of an ACME account.
    pub fn read(jwk: &Map<String, Value>) -> Result<Self, JwkError> {
        if let Some(name) = PRIVATE.into_iter().find(|name| jwk.contains_key(*name)) {
            return Err(JwkError::Private(name));
        }
        let fingerprint = Fingerprint::of_members(jwk)?;
        let crv = jwk.get("crv").and_then(Value::as_str);
        let point = match jwk.get("kty").and_then(Value::as_str) {
            Some("EC") => {
                let (curve, length) = match crv {
                    Some("P-256") => (EcCurve::P256, 32),
                    Some("P-384") => (EcCurve::P384, 48),
                    Some("P-521") => (EcCurve::P521, 66),
                    _ => return Err(JwkError::Curve),
                };
                let (x, y) = (octets(jwk, "x", length)?, octets(jwk, "y", length)?);
                Some(Point { curve, x, y })
            }
            Some("OKP") => {
                let length = match crv {
                    Some("Ed25519") => 32,
                    Some("Ed448") => 57,
                    _ => return Err(JwkError::Curve),
                };
                octets(jwk, "x", length)?;
                None
            }
            // `of_members` has refused all other types.
            _ => {
                rsa(jwk)?;
                None
            }
        };
        Ok(Self { fingerprint, point })
    }

    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The point of an EC key.
    #[must_use]
    pub const fn point(&self) -> Option<&Point> {
        self.point.as_ref()
    }
}

impl fmt::Display for EcCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        })
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<(), JwkError> {
    let n = number(jwk, "n")?;
    if !RSA_MODULUS.contains(&n.len()) {
        let (name, bytes) = ("n", n.len());
        return Err(JwkError::Length { name, bytes });
    }
    let e = number(jwk, "e")?;
    if e.len() > 8 {
        let (name, bytes) = ("e", e.len());
        return Err(JwkError::Length { name, bytes });
    }
    // An exponent is odd and at least 3; a modulus is odd and has at least 2,048 bits.
    if n.len() == *RSA_MODULUS.start() && n.first().is_some_and(|first| first.leading_zeros() > 0) {
        return Err(JwkError::Number("n"));
    }
    match (e.as_slice(), n.last().map(|last| last % 2)) {
        ([0..=2], _) => Err(JwkError::Number("e")),
        ([.., last], _) if last % 2 == 0 => Err(JwkError::Number("e")),
        (_, Some(1)) => Ok(()),
        _ => Err(JwkError::Number("n")),
    }
}

/// `Base64urlUInt` (RFC 7518 §2): no more bytes than the number needs.
fn number(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    match decoded(jwk, name)? {
        octets if matches!(octets[..], [] | [0, ..]) => Err(JwkError::Number(name)),
        octets => Ok(octets),
    }
}

fn octets(
    jwk: &Map<String, Value>,
    name: &'static str,
    length: usize,
) -> Result<Vec<u8>, JwkError> {
    match decoded(jwk, name)? {
        octets if octets.len() == length => Ok(octets),
        octets => {
            let bytes = octets.len();
            Err(JwkError::Length { name, bytes })
        }
    }
}

fn decoded(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    let text = jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JwkError::Base64(name))
}
