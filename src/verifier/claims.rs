//! Parses the payload of a token strictly (RFC 9447 §4, RFC 9448 §5).
//!
//! The issuing side parses each payload with [`parse`] before signing it, so that no token is
//! issued that a CA would refuse.

use serde_json::{Map, Value};
use thiserror::Error;

use super::jws::{JwsError, object};
use crate::domain::text::printable::printable;
use crate::domain::tokens::fingerprint::FingerprintError;
use crate::domain::tokens::numeric_date::{self, Boundary};
use crate::domain::tokens::tkvalue::TkValueError;
use crate::domain::{Dialect, Fingerprint, Time, TkType, TkValue};

/// Why a payload is malformed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimsError {
    #[error(transparent)]
    Json(#[from] JwsError),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{name}` is not {expected}")]
    Kind {
        name: &'static str,
        expected: &'static str,
    },
    #[error("`{name}` is not a number of seconds between 1970 and the end of 9999 (JSON number)")]
    Time { name: &'static str },
    #[error("`jti` is empty")]
    EmptyJti,
    #[error("`atc` has the undefined member `{0}`")]
    UnknownMember(String),
    #[error("`tktype` is `{0}`, which is not supported")]
    UnknownTkType(String),
    #[error("`tktype` is `{found}`, not `{expected}`")]
    TkType { found: TkType, expected: TkType },
    #[error("`tkvalue` is not a {tktype}: {error}")]
    TkValue { tktype: TkType, error: TkValueError },
    #[error("`fingerprint` is malformed: {0}")]
    Fingerprint(#[from] FingerprintError),
}

/// A well-formed payload. Unknown claims are ignored (RFC 7519 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    pub registered: RegisteredClaims,
    pub tkvalue: TkValue,
    pub ca: bool,
    pub fingerprint: Fingerprint,
}

impl TokenClaims {
    /// Checks a payload by all rules that do not depend on the order, the account or the time.
    pub(super) fn read(
        payload: &Map<String, Value>,
        dialect: Dialect,
    ) -> Result<Self, ClaimsError> {
        let atc = AtcClaim::read(payload)?;
        Ok(Self {
            registered: RegisteredClaims::read(payload)?,
            tkvalue: atc.tkvalue(atc.tktype()?, dialect)?,
            ca: atc.ca,
            fingerprint: atc.fingerprint()?,
        })
    }
}

/// Parses the bytes of a payload.
///
/// # Errors
/// [`ClaimsError`] names the first malformed claim.
pub fn parse(payload: &[u8]) -> Result<TokenClaims, ClaimsError> {
    TokenClaims::read(&object(payload, "payload")?, Dialect::Strict)
}

/// The claims other than `atc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredClaims {
    pub iss: Option<String>,
    pub exp: Time,
    pub nbf: Option<Time>,
    pub iat: Option<Time>,
    pub jti: String,
    /// The audience; empty if the token is not restricted to one.
    pub aud: Vec<String>,
}

impl RegisteredClaims {
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Self, ClaimsError> {
        let exp = time(payload, "exp", Boundary::End)?.ok_or(ClaimsError::Missing("exp"))?;
        let jti = text(payload, "jti")?.ok_or(ClaimsError::Missing("jti"))?;
        if jti.is_empty() {
            return Err(ClaimsError::EmptyJti);
        }
        Ok(Self {
            iss: text(payload, "iss")?,
            exp,
            nbf: time(payload, "nbf", Boundary::Start)?,
            iat: time(payload, "iat", Boundary::Start)?,
            jti,
            aud: audience(payload)?,
        })
    }
}

/// The `atc` claim. Each member has the right JSON type, but its value is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AtcClaim {
    pub(super) tktype: String,
    pub(super) tkvalue: String,
    /// RFC 9448 §5.4: `false` when absent.
    pub(super) ca: bool,
    pub(super) fingerprint: String,
}

impl AtcClaim {
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Self, ClaimsError> {
        let atc = match payload.get("atc") {
            Some(Value::Object(members)) => members,
            Some(_) => {
                return Err(ClaimsError::Kind {
                    name: "atc",
                    expected: "an object",
                });
            }
            None => return Err(ClaimsError::Missing("atc")),
        };
        let known = ["tktype", "tkvalue", "ca", "fingerprint"];
        // An unknown member could widen or narrow what is certified, so `atc` must not have any.
        if let Some(name) = atc.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(ClaimsError::UnknownMember(printable(name)));
        }
        let required = |name| text(atc, name)?.ok_or(ClaimsError::Missing(name));
        Ok(Self {
            tktype: required("tktype")?,
            tkvalue: required("tkvalue")?,
            ca: match atc.get("ca") {
                None => false,
                Some(Value::Bool(ca)) => *ca,
                Some(_) => {
                    return Err(ClaimsError::Kind {
                        name: "ca",
                        expected: "`true` or `false`",
                    });
                }
            },
            fingerprint: required("fingerprint")?,
        })
    }

    pub(super) fn tktype(&self) -> Result<TkType, ClaimsError> {
        let unknown = |_| ClaimsError::UnknownTkType(printable(&self.tktype));
        self.tktype.parse().map_err(unknown)
    }

    pub(super) fn check_tktype(&self, expected: TkType) -> Result<(), ClaimsError> {
        match self.tktype()? {
            found if found == expected => Ok(()),
            found => Err(ClaimsError::TkType { found, expected }),
        }
    }

    pub(super) fn tkvalue(&self, tktype: TkType, dialect: Dialect) -> Result<TkValue, ClaimsError> {
        let wrong = |error| ClaimsError::TkValue { tktype, error };
        TkValue::read(tktype, &self.tkvalue, dialect).map_err(wrong)
    }

    pub(super) fn fingerprint(&self) -> Result<Fingerprint, ClaimsError> {
        Ok(self.fingerprint.parse()?)
    }
}

fn text(object: &Map<String, Value>, name: &'static str) -> Result<Option<String>, ClaimsError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ClaimsError::Kind {
            name,
            expected: "a string",
        }),
    }
}

/// `NumericDate` (RFC 7519 §2).
fn time(
    object: &Map<String, Value>,
    name: &'static str,
    boundary: Boundary,
) -> Result<Option<Time>, ClaimsError> {
    let time = object
        .get(name)
        .map(|value| numeric_date::read(value, boundary).ok_or(ClaimsError::Time { name }));
    time.transpose()
}

/// RFC 7519 §4.1.3: one name, or an array of names.
fn audience(payload: &Map<String, Value>) -> Result<Vec<String>, ClaimsError> {
    let names = match payload.get("aud") {
        None => return Ok(Vec::new()),
        Some(Value::Array(names)) if !names.is_empty() => names.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let names = names.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect::<Option<_>>().ok_or(ClaimsError::Kind {
        name: "aud",
        expected: "a string or an array of strings",
    })
}
