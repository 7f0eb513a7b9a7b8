//! Answers of agents to a SIP `MESSAGE`: the nonce, in a flattened JWS (RFC 7515 §7.2.2) that is
//! signed with the ACME account key. It names the URL that it is for (as RFC 8555 §6.4 does), so an
//! answer for another proof, or another service, is not one for this.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;

use super::Callers;
use super::jwks::Key;
use super::jwt::FORBIDDEN;
use crate::domain::Fingerprint;
use crate::domain::control::channel::SignedAnswer;
use crate::domain::control::codes::ControlCode;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::text::strict_json;
use crate::domain::tokens::jwk::AccountJwk;

/// The `typ` of an answer, so that nothing else that the key signs is taken for one (RFC 8725
/// §3.11).
const TYPE: &str = "control-answer+jwt";
/// The most characters of each part: more than an RSA key of 8192 bits needs.
const MAX_PART: usize = 8_192;

/// A flattened JWS, of which nothing was checked.
#[derive(Clone)]
pub struct FlattenedJws {
    pub protected: String,
    pub payload: String,
    pub signature: String,
}

/// Shows nothing: the payload has the nonce.
impl std::fmt::Debug for FlattenedJws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlattenedJws(..)")
    }
}

/// Why an answer is not one, for the operator. The agent does not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum AnswerFault {
    #[error(
        "malformed: its header and payload must be JSON objects in base64url, without duplicate members"
    )]
    Form,
    #[error("not acceptable: its header requires an extension")]
    Header,
    #[error("signed with an algorithm that is not allowed")]
    Algorithm,
    #[error("not of the type `{TYPE}`")]
    Type,
    #[error("for another URL")]
    Url,
    #[error("signed with a key that an ACME account cannot have, or that is not for its algorithm")]
    Key,
    #[error("not signed with the key in its header")]
    Signature,
    #[error("without a nonce")]
    Nonce,
}

impl AnswerFault {
    /// The label of the metric.
    const fn label(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::Url => "url",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Nonce => "nonce",
        }
    }
}

impl Callers {
    /// The nonce of an answer that is for this URL and signed, by whatever key. The reason why
    /// there is none is logged and counted.
    #[must_use]
    pub fn signed_answer(
        &self,
        jws: &FlattenedJws,
        url: &str,
        request_id: Uuid,
    ) -> Option<SignedAnswer> {
        match verified(jws, url) {
            Ok(answer) => Some(answer),
            Err(fault) => {
                let reason = fault.label();
                self.metrics.unproven("control-answer", reason);
                let request_id = request_id.to_string();
                log::info!(request_id = request_id.as_str(), reason = reason; "the answer is {fault}");
                None
            }
        }
    }
}

fn verified(jws: &FlattenedJws, url: &str) -> Result<SignedAnswer, AnswerFault> {
    let (header, payload) = (object(&jws.protected)?, object(&jws.payload)?);
    if FORBIDDEN.iter().any(|name| header.contains_key(*name)) {
        return Err(AnswerFault::Header);
    }
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let algorithm: Option<Algorithm> = text("alg").and_then(|name| name.parse().ok());
    let algorithm = algorithm.ok_or(AnswerFault::Algorithm)?;
    if text("typ") != Some(TYPE) {
        return Err(AnswerFault::Type);
    }
    if text("url") != Some(url) {
        return Err(AnswerFault::Url);
    }
    let jwk = header.get("jwk").ok_or(AnswerFault::Key)?;
    let key = fingerprint(jwk)?;
    let verifier = Key::read(jwk, &[algorithm]).map_err(|_| AnswerFault::Key)?;
    let verifier = verifier.verifier(algorithm).ok_or(AnswerFault::Key)?;
    let signed = format!("{}.{}", jws.protected, jws.payload);
    verifier
        .verify(signed.as_bytes(), &decoded(&jws.signature)?)
        .map_err(|_| AnswerFault::Signature)?;
    let nonce = payload.get("nonce").and_then(Value::as_str);
    Ok(SignedAnswer {
        key,
        nonce: ControlCode::new(nonce.ok_or(AnswerFault::Nonce)?),
    })
}

/// The fingerprint of the key, as tokens are bound to it (RFC 9448 §5.4).
fn fingerprint(jwk: &Value) -> Result<Fingerprint, AnswerFault> {
    let members = jwk.as_object().ok_or(AnswerFault::Key)?;
    let key = AccountJwk::read(members).map_err(|_| AnswerFault::Key)?;
    Ok(key.fingerprint())
}

fn decoded(part: &str) -> Result<Vec<u8>, AnswerFault> {
    if part.len() > MAX_PART {
        return Err(AnswerFault::Form);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AnswerFault::Form)
}

fn object(part: &str) -> Result<Map<String, Value>, AnswerFault> {
    match strict_json::from_slice(&decoded(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(AnswerFault::Form),
    }
}
