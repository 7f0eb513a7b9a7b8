//! Parses the key set of an issuer (RFC 7517), and finds the key that verifies a token.
//!
//! A verifier is built once for each algorithm that a key can be used with; a token finds it by
//! `kid` and `alg`. An unusable key is skipped, and does not affect the others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value};
use thiserror::Error;

use super::rejection::TokenFault;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::text::strict_json;

/// Keys of one issuer. Usually there are a few.
const MAX_KEYS: usize = 64;
/// Characters of a `kid`.
const MAX_KID: usize = 256;
/// Bits of an RSA modulus: shorter keys are insecure (RFC 7518 §3.3), longer ones are slow to
/// verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a key set is unusable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JwksError {
    #[error("it is not JSON, or has duplicate members")]
    Json,
    #[error("it is not an object with an array `keys` (RFC 7517 §5)")]
    Form,
    #[error("it has {0} keys; at most {MAX_KEYS} are supported")]
    TooMany(usize),
    #[error("none of its keys is usable: {0}")]
    None(String),
}

/// The usable keys of a set.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// A line for each key that was skipped.
    pub(super) faults: Vec<String>,
}

/// A key, with what verifies its signatures.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    verifiers: Vec<(Algorithm, Box<dyn JwsVerifier>)>,
}

impl KeySet {
    /// Reads a JWK Set, for these algorithms.
    pub(super) fn parse(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, JwksError> {
        let set = strict_json::from_slice(text).map_err(|_| JwksError::Json)?;
        let items = set.get("keys").and_then(Value::as_array);
        let items = items.ok_or(JwksError::Form)?;
        if items.len() > MAX_KEYS {
            return Err(JwksError::TooMany(items.len()));
        }
        let (mut keys, mut faults) = (Vec::<Key>::new(), Vec::new());
        for (item, number) in items.iter().zip(1..) {
            match Key::read(item, algorithms) {
                // RFC 7517 §4.5 lets keys of different types share a `kid`. With the algorithm it
                // must be unambiguous.
                Ok(key) if keys.iter().any(|known| known.is_confused_with(&key)) => {
                    faults.push(format!(
                        "key {number} has the kid and an algorithm of an earlier one"
                    ));
                }
                Ok(key) => keys.push(key),
                Err(why) => faults.push(format!("key {number} {why}")),
            }
        }
        if keys.is_empty() {
            let why = if faults.is_empty() {
                "it has no keys".to_owned()
            } else {
                faults.join("; ")
            };
            return Err(JwksError::None(why));
        }
        Ok(Self { keys, faults })
    }

    /// The number of usable keys.
    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that a token names. Without a `kid`, exactly one key must be usable with the
    /// algorithm.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&dyn JwsVerifier, TokenFault> {
        let Some(kid) = kid else {
            let mut suited = self.keys.iter().filter_map(|key| key.verifier(algorithm));
            return match (suited.next(), suited.next()) {
                (Some(one), None) => Ok(one),
                _ => Err(TokenFault::UnsuitedKey),
            };
        };
        let is_named = |key: &&Key| key.kid.as_deref() == Some(kid);
        let mut named = self.keys.iter().filter(is_named).peekable();
        if named.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        let mut suited = named.filter_map(|key| key.verifier(algorithm));
        suited.next().ok_or(TokenFault::UnsuitedKey)
    }
}

impl Key {
    /// Reads a public key, for those of these algorithms that it can be used with.
    pub(super) fn read(item: &Value, algorithms: &[Algorithm]) -> Result<Self, &'static str> {
        let members = item.as_object().ok_or("is not an object")?;
        if members.contains_key("k") || member(members, "kty")? == Some("oct") {
            return Err("is symmetric, so anyone who reads it can sign");
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"]
            .iter()
            .any(|private| members.contains_key(*private))
        {
            return Err("is a private key, which is now public: the issuer must replace it");
        }
        if !matches!(member(members, "use")?, None | Some("sig")) {
            return Err("is not for signatures (use)");
        }
        if !may_verify(members)? {
            return Err("is not for verification (key_ops)");
        }
        let kid = member(members, "kid")?.map(str::to_owned);
        if kid
            .as_ref()
            .is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID)
        {
            return Err("has an empty or a very long kid");
        }
        let suited = suited(members)?;
        let own = member(members, "alg")?;
        let suited = suited.iter().filter(|algorithm| {
            own.is_none_or(|own| own == algorithm.as_str()) && algorithms.contains(*algorithm)
        });
        let suited: Vec<Algorithm> = suited.copied().collect();
        if suited.is_empty() {
            return Err("is for an algorithm that is not allowed");
        }
        let jwk = Jwk::from_map(members.clone()).map_err(|_| "cannot be read")?;
        let verifiers = suited.into_iter().map(|algorithm| {
            let verifier = verifier(algorithm, &jwk).ok_or("is malformed")?;
            Ok((algorithm, verifier))
        });
        Ok(Self {
            kid,
            verifiers: verifiers.collect::<Result<_, &'static str>>()?,
        })
    }

    /// Whether a token could mean either of the two by its `kid` and algorithm.
    fn is_confused_with(&self, other: &Self) -> bool {
        let shared = |(algorithm, _): &(Algorithm, _)| other.verifier(*algorithm).is_some();
        self.kid.is_some() && self.kid == other.kid && self.verifiers.iter().any(shared)
    }

    pub(super) fn verifier(&self, algorithm: Algorithm) -> Option<&dyn JwsVerifier> {
        let mut all = self.verifiers.iter();
        all.find(|(known, _)| *known == algorithm)
            .map(|(_, verifier)| &**verifier)
    }
}

/// The algorithms that a key of this type can be used with (RFC 8725 §3.1).
fn suited(members: &Map<String, Value>) -> Result<&'static [Algorithm], &'static str> {
    Ok(match (member(members, "kty")?, member(members, "crv")?) {
        (Some("EC"), Some("P-256")) => &[Algorithm::Es256],
        (Some("EC"), Some("P-384")) => &[Algorithm::Es384],
        (Some("OKP"), Some("Ed25519")) => &[Algorithm::EdDsa],
        (Some("RSA"), None) => {
            check_rsa(members)?;
            &[Algorithm::Rs256, Algorithm::Ps256]
        }
        _ => return Err("has a type or curve that is not supported"),
    })
}

fn check_rsa(members: &Map<String, Value>) -> Result<(), &'static str> {
    let number = |name| {
        let text = member(members, name)?.ok_or("has no n or no e")?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| "has an n or e that is not base64url")?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok::<_, &'static str>(bytes[zeros..].to_vec())
    };
    let (modulus, exponent) = (number("n")?, number("e")?);
    let high = modulus
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&(modulus.len() * 8 - high)) {
        return Err("is an RSA key of fewer than 2048 or more than 8192 bits");
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || !(3..=8).contains(&exponent.len()) {
        return Err("is an RSA key with an unsafe exponent");
    }
    Ok(())
}

fn may_verify(members: &Map<String, Value>) -> Result<bool, &'static str> {
    match members.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|one| one == "verify")),
        Some(_) => Err("has a key_ops that is not an array"),
    }
}

fn member<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, &'static str> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("has a member that must be a string and is not"),
    }
}

fn verifier(algorithm: Algorithm, jwk: &Jwk) -> Option<Box<dyn JwsVerifier>> {
    Some(match algorithm {
        Algorithm::Es256 => Box::new(ES256.verifier_from_jwk(jwk).ok()?),
        Algorithm::Es384 => Box::new(ES384.verifier_from_jwk(jwk).ok()?),
        Algorithm::Rs256 => Box::new(RS256.verifier_from_jwk(jwk).ok()?),
        Algorithm::Ps256 => Box::new(PS256.verifier_from_jwk(jwk).ok()?),
        Algorithm::EdDsa => Box::new(EdDSA.verifier_from_jwk(jwk).ok()?),
    })
}
