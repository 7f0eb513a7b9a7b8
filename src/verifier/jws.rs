//! Strict parser for compact JWS (RFC 7515 §7.1), limited to what a token may use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::domain::text::printable::printable;
use crate::domain::text::strict_json;

/// Far more than a token with the largest list that an authority would sign.
pub const MAX_LENGTH: usize = 64 * 1024;

/// R and S of ES256, 32 octets each (RFC 7518 §3.4).
const SIGNATURE_LENGTH: usize = 64;

/// Why a token cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JwsError {
    #[error("the token has {0} bytes, but at most {MAX_LENGTH} are allowed")]
    TooLong(usize),
    #[error("a token has three parts separated by dots, not {0}")]
    Parts(usize),
    #[error("the {part} is not canonical base64url without padding (RFC 7515 §2): {why}")]
    Base64 { part: &'static str, why: String },
    #[error("the {part} is not unambiguous JSON: {why}")]
    Json { part: &'static str, why: String },
    #[error("the {0} is not a JSON object")]
    NotAnObject(&'static str),
    #[error("`alg` is {0}; only `ES256` is accepted")]
    Algorithm(String),
    #[error("`typ` is {0}; only `JWT` is accepted")]
    Type(String),
    #[error("the header has `{0}`, which requires an unsupported extension")]
    Extension(&'static str),
    #[error("the signature has {0} bytes, not the {SIGNATURE_LENGTH} of ES256 (RFC 7518 §3.4)")]
    SignatureLength(usize),
}

/// A parsed token. Its contents are untrusted until the signature is verified.
#[derive(Debug, Clone)]
pub(super) struct Jws<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_LENGTH {
            return Err(JwsError::TooLong(token.len()));
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(JwsError::Parts(parts.len()));
        };
        let header = object(&decoded("header", header)?, "header")?;
        check_header(&header)?;
        let payload = object(&decoded("payload", payload)?, "payload")?;
        let signature = decoded("signature", signature)?;
        if signature.len() != SIGNATURE_LENGTH {
            return Err(JwsError::SignatureLength(signature.len()));
        }
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        Ok(Self {
            signed,
            header,
            payload,
            signature,
        })
    }

    /// A member of the header. `jwk`, `jku` and `kid` must not be used: the sender could choose its
    /// own key with them.
    pub(super) fn header(&self, name: &str) -> Option<&Value> {
        self.header.get(name)
    }

    pub(super) const fn payload(&self) -> &Map<String, Value> {
        &self.payload
    }

    /// Whether the signature verifies with a P-256 public key, given as a `SubjectPublicKeyInfo`.
    pub(super) fn is_signed_by(&self, public_key: &[u8]) -> Result<bool, ErrorStack> {
        let key = PKey::public_key_from_der(public_key)?.ec_key()?;
        let (r, s) = self.signature.split_at(SIGNATURE_LENGTH / 2);
        let (r, s) = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
        EcdsaSig::from_private_components(r, s)?.verify(&sha256(self.signed.as_bytes()), &key)
    }
}

/// RFC 8725 §3.1: only one algorithm is accepted. RFC 7515 §4.1.11: no extension is supported, so
/// `crit` is refused.
fn check_header(header: &Map<String, Value>) -> Result<(), JwsError> {
    match header.get("alg") {
        Some(Value::String(alg)) if alg == "ES256" => {}
        other => return Err(JwsError::Algorithm(described(other))),
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
        other => return Err(JwsError::Type(described(other))),
    }
    match ["crit", "b64"]
        .into_iter()
        .find(|name| header.contains_key(*name))
    {
        Some(name) => Err(JwsError::Extension(name)),
        None => Ok(()),
    }
}

fn decoded(part: &'static str, text: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|e| JwsError::Base64 {
        part,
        why: e.to_string(),
    })
}

/// Parses a JSON object and refuses duplicate members at any depth.
pub(super) fn object(text: &[u8], part: &'static str) -> Result<Map<String, Value>, JwsError> {
    match strict_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(JwsError::NotAnObject(part)),
        Err(e) => Err(JwsError::Json {
            part,
            why: e.to_string(),
        }),
    }
}

fn described(value: Option<&Value>) -> String {
    value.map_or_else(
        || "missing".to_owned(),
        |value| format!("`{}`", printable(&value.to_string())),
    )
}
