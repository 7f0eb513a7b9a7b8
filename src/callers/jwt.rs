//! An access token as a text (RFC 7515 §7.1, RFC 9068 §2.1): read strictly, and not one spelling more. Nothing of it is
//! true before its signature is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::JwsVerifier;
use serde_json::{Map, Value};

use super::rejection::TokenFault;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::text::strict_json;

/// Header members that ask for something that is not done here: extensions, encryption, and keys that the caller brings
/// or says where to fetch (RFC 8725 §3.10).
const NOT_TAKEN: [&str; 8] = ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"];
/// A signature of RSA with the longest key.
const MAX_SIGNATURE: usize = 1_024;

/// A token that was read.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Whether a text could be a token, whoever's.
    pub(super) fn looks_like(text: &str) -> bool {
        text.contains('.')
    }

    pub(super) fn parse(text: &'a str) -> Result<Self, TokenFault> {
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Form)?;
        // An encrypted token (JWE) has five parts.
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = (object(header)?, object(claims)?);
        if NOT_TAKEN.iter().any(|name| header.contains_key(*name)) {
            return Err(TokenFault::Header);
        }
        let signature = decoded(signature)?;
        if signature.is_empty() || signature.len() > MAX_SIGNATURE {
            return Err(TokenFault::Form);
        }
        Ok(Self {
            signed,
            header,
            claims,
            signature,
        })
    }

    /// What the issuer claims, if the signature is verified.
    pub(super) const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The algorithm, if it is one of these.
    pub(super) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenFault> {
        let named = self.header.get("alg").and_then(Value::as_str);
        let algorithm = named.and_then(|name| name.parse().ok());
        let algorithm = algorithm.filter(|algorithm| allowed.contains(algorithm));
        algorithm.ok_or(TokenFault::Algorithm)
    }

    /// Checks `typ` (RFC 8725 §3.11), which may have `application/` in front of it (RFC 7515 §4.1.9).
    pub(super) fn check_type(&self, wanted: &str) -> Result<(), TokenFault> {
        const PREFIX: &str = "application/";
        let own = self.header.get("typ").and_then(Value::as_str);
        let own = own.ok_or(TokenFault::Type)?;
        let own = match own.get(..PREFIX.len()) {
            Some(front) if front.eq_ignore_ascii_case(PREFIX) => &own[PREFIX.len()..],
            _ => own,
        };
        if own.eq_ignore_ascii_case(wanted) {
            Ok(())
        } else {
            Err(TokenFault::Type)
        }
    }

    /// The name of the key, if it has one.
    pub(super) fn kid(&self) -> Result<Option<&str>, TokenFault> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(TokenFault::UnknownKey),
        }
    }

    /// Whether the key made the signature.
    pub(super) fn verify(&self, key: &dyn JwsVerifier) -> Result<(), TokenFault> {
        key.verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| TokenFault::Signature)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)
}

fn object(part: &str) -> Result<Map<String, Value>, TokenFault> {
    match strict_json::from_slice(&decoded(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(TokenFault::Json),
    }
}
