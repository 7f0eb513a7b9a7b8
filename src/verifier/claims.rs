//! The payload of a token (RFC 9447 §4, RFC 9448 §5), read strictly.
//!
//! The issuing side reads what it is about to sign back through [`parse`], so that no token leaves that a CA would not
//! take.

use serde_json::{Map, Value};
use thiserror::Error;

use super::jws::{JwsError, object};
use crate::domain::clock::from_unix;
use crate::domain::text::printable::printable;
use crate::domain::tokens::fingerprint::FingerprintError;
use crate::domain::tokens::tkvalue::TkValueError;
use crate::domain::{Dialect, Fingerprint, Time, TkType, TkValue};

/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// What is wrong with a payload.
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
    #[error(
        "`{name}` is not a whole number of seconds between 1970 and the end of 9999 (JSON integer)"
    )]
    Time { name: &'static str },
    #[error("`jti` is empty")]
    EmptyJti,
    #[error("`atc` has a member `{0}` that nobody has defined")]
    UnknownMember(String),
    #[error("`tktype` is `{0}`, which is not known")]
    UnknownTkType(String),
    #[error("`tktype` is `{found}`, not `{expected}`")]
    TkType { found: TkType, expected: TkType },
    #[error("`tkvalue` is not a {tktype}: {error}")]
    TkValue { tktype: TkType, error: TkValueError },
    #[error("`fingerprint` is malformed: {0}")]
    Fingerprint(#[from] FingerprintError),
}

/// A payload in which everything has its form. Unknown claims are ignored (RFC 7519 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    pub registered: RegisteredClaims,
    pub tkvalue: TkValue,
    pub ca: bool,
    pub fingerprint: Fingerprint,
}

impl TokenClaims {
    /// Reads a payload by all the rules that need no knowledge of the order, the account or the time.
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

/// Reads the bytes of a payload, as [`TokenClaims`] describes.
///
/// # Errors
/// [`ClaimsError`] names the first claim that is wrong.
pub fn parse(payload: &[u8]) -> Result<TokenClaims, ClaimsError> {
    TokenClaims::read(&object(payload, "payload")?, Dialect::Strict)
}

/// The claims beside `atc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredClaims {
    pub iss: Option<String>,
    pub exp: Time,
    pub nbf: Option<Time>,
    pub iat: Option<Time>,
    pub jti: String,
    /// For whom the token is made out; empty when it is for everybody.
    pub aud: Vec<String>,
}

impl RegisteredClaims {
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Self, ClaimsError> {
        let exp = time(payload, "exp")?.ok_or(ClaimsError::Missing("exp"))?;
        let jti = text(payload, "jti")?.ok_or(ClaimsError::Missing("jti"))?;
        if jti.is_empty() {
            return Err(ClaimsError::EmptyJti);
        }
        Ok(Self {
            iss: text(payload, "iss")?,
            exp,
            nbf: time(payload, "nbf")?,
            iat: time(payload, "iat")?,
            jti,
            aud: audience(payload)?,
        })
    }
}

/// The `atc` claim with each member of the right JSON type, not yet looked into.
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
        // Scope that is not understood must not be certified, so `atc` has no members to ignore.
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

/// `NumericDate` (RFC 7519 §2) without its fractions: `1.0`, `1e9` and `"1"` are other spellings,
/// which not every CA reads.
fn time(object: &Map<String, Value>, name: &'static str) -> Result<Option<Time>, ClaimsError> {
    let Some(value) = object.get(name) else {
        return Ok(None);
    };
    value
        .as_i64()
        .filter(|seconds| (0..=LAST_SECOND).contains(seconds))
        .map(|seconds| Some(from_unix(seconds)))
        .ok_or(ClaimsError::Time { name })
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
