//! Strictly parses an access token (RFC 7515 §7.1, RFC 9068 §2.1). Nothing in it can be trusted
//! before its signature is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::JwsVerifier;
use serde_json::{Map, Value};

use super::rejection::TokenFault;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::text::strict_json;

/// Header members that are refused, because they change how the token is read: critical extensions,
/// unencoded claims (RFC 7797), compression and encryption. Others that are not needed are ignored
/// (RFC 7515 §4). That includes keys, and addresses of keys, that the token itself supplies (`jku`,
/// `jwk`, `x5u`, `x5c`): only the configured keys count, and nothing is fetched (RFC 8725 §3.10).
pub(super) const FORBIDDEN: [&str; 4] = ["crit", "b64", "zip", "enc"];
/// Bytes of a signature by an RSA key of 8192 bits.
const MAX_SIGNATURE: usize = 1_024;

/// The `typ` of an issuer's access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenType {
    /// This one, without `application/`: `at+jwt` in RFC 9068 §2.1.
    Typ(String),
    /// There is no `typ`. Then only claims distinguish access tokens from others, such as ID tokens
    /// (RFC 8725 §3.12).
    None,
}

/// A parsed token.
#[derive(Debug)]
pub(super) struct Jwt<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Whether a text could be a JWT, which an API key is not.
    pub(super) fn looks_like(text: &str) -> bool {
        text.contains('.')
    }

    pub(super) fn parse(text: &'a str) -> Result<Self, TokenFault> {
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Form)?;
        // An encrypted token (JWE) has five parts.
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = (object(header)?, object(claims)?);
        if FORBIDDEN.iter().any(|name| header.contains_key(*name)) {
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

    /// The claims, which are unverified until [`Self::verify`] succeeds.
    pub(super) const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The algorithm, if it is allowed.
    pub(super) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenFault> {
        let name = self.header.get("alg").and_then(Value::as_str);
        let algorithm = name.and_then(|name| name.parse().ok());
        let algorithm = algorithm.filter(|algorithm| allowed.contains(algorithm));
        algorithm.ok_or(TokenFault::Algorithm)
    }

    /// Checks `typ` (RFC 8725 §3.11), which can have the prefix `application/` (RFC 7515 §4.1.9).
    /// RFC 7519 §5.1 makes it optional.
    pub(super) fn check_type(&self, expected: &TokenType) -> Result<(), TokenFault> {
        const PREFIX: &str = "application/";
        let (expected, own) = match (expected, self.header.get("typ")) {
            (TokenType::None, None) => return Ok(()),
            (TokenType::Typ(expected), Some(Value::String(own))) => (expected, own.as_str()),
            (TokenType::None, Some(_)) | (TokenType::Typ(_), _) => return Err(TokenFault::Type),
        };
        let own = match own.get(..PREFIX.len()) {
            Some(front) if front.eq_ignore_ascii_case(PREFIX) => &own[PREFIX.len()..],
            _ => own,
        };
        if own.eq_ignore_ascii_case(expected) {
            Ok(())
        } else {
            Err(TokenFault::Type)
        }
    }

    /// The id of the key, if there is one.
    pub(super) fn kid(&self) -> Result<Option<&str>, TokenFault> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(TokenFault::UnknownKey),
        }
    }

    /// Verifies the signature.
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
