//! The token request of a client, and the claims of the token (RFC 9447 §4, RFC 9448 §5).

use serde::Serialize;
use thiserror::Error;

use super::fingerprint::{AskedFingerprint, Fingerprint, FingerprintError};
use super::grant::{Grant, Jti};
use super::tkvalue::{TkType, TkValue, TkValueError};
use super::tn_auth_list::TnAuthListError;
use crate::domain::accounts::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::numbers::number::NumberRange;

/// Why a request is not valid for a strict account.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotStrict {
    #[error("`tkvalue`: {0}")]
    TkValue(#[from] TkValueError),
    #[error("`fingerprint`: {0}")]
    Fingerprint(#[from] FingerprintError),
}

/// A parsed request for a token (RFC 9448 §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    tkvalue: TkValue,
    numbers: Vec<NumberRange>,
    ca: bool,
    fingerprint: AskedFingerprint,
    lifetime: Option<u32>,
}

impl TokenRequest {
    /// Creates a request.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry of the list is not an E.164 number.
    pub fn new(
        tkvalue: impl Into<TkValue>,
        ca: bool,
        fingerprint: impl Into<AskedFingerprint>,
        lifetime: Option<u32>,
    ) -> Result<Self, TnAuthListError> {
        let tkvalue = tkvalue.into();
        Ok(Self {
            numbers: tkvalue.numbers()?,
            tkvalue,
            ca,
            fingerprint: fingerprint.into(),
            lifetime,
        })
    }

    /// Checks that an account with this dialect can send this request.
    ///
    /// # Errors
    /// [`NotStrict`] names the member that the dialect does not allow.
    pub fn is_in(&self, dialect: Dialect) -> Result<(), NotStrict> {
        match dialect {
            Dialect::Legacy => Ok(()),
            Dialect::Strict => {
                self.tkvalue.is_strict()?;
                Ok(self.fingerprint.is_strict()?)
            }
        }
    }

    /// The `tkvalue`, character for character as it was requested.
    #[must_use]
    pub const fn tkvalue(&self) -> &TkValue {
        &self.tkvalue
    }

    /// The numbers of the list, in its order.
    #[must_use]
    pub fn numbers(&self) -> &[NumberRange] {
        &self.numbers
    }

    /// Whether the certificate is to be a CA certificate, to delegate further (RFC 9447 §4, `ca`).
    #[must_use]
    pub const fn ca(&self) -> bool {
        self.ca
    }

    /// The fingerprint that binds the token to the ACME account key of the client.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.get()
    }

    /// The same request, with this lifetime in seconds.
    #[must_use]
    pub fn with_lifetime(self, lifetime: u32) -> Self {
        Self {
            lifetime: Some(lifetime),
            ..self
        }
    }

    /// The requested lifetime, in seconds.
    #[must_use]
    pub const fn lifetime(&self) -> Option<u32> {
        self.lifetime
    }
}

/// The payload of a token. All times are whole seconds; `ca` is always present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// RFC 9448 §5.1: a URL that identifies the authority.
    pub iss: String,
    /// RFC 9448 §5.2, as a `NumericDate` (RFC 7519 §2).
    #[serde(with = "chrono::serde::ts_seconds")]
    pub exp: Time,
    #[serde(with = "chrono::serde::ts_seconds")]
    pub iat: Time,
    /// RFC 9448 §5.3: unique for each token.
    pub jti: Jti,
    pub atc: Atc,
}

impl Claims {
    /// The claims of the token for a grant, issued by `iss`.
    #[must_use]
    pub fn of(grant: &Grant, iss: &str) -> Self {
        Self {
            iss: iss.to_owned(),
            exp: grant.expires_at,
            iat: grant.issued_at,
            jti: grant.jti.clone(),
            atc: Atc::new(&grant.tkvalue, grant.ca, grant.fingerprint),
        }
    }
}

/// The `atc` claim (RFC 9448 §5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Atc {
    pub tktype: TkType,
    pub tkvalue: String,
    pub ca: bool,
    pub fingerprint: Fingerprint,
}

impl Atc {
    /// The claim that repeats the request exactly: RFC 9448 §6, step 6, compares for equality.
    #[must_use]
    pub fn answering(request: &TokenRequest) -> Self {
        Self::new(&request.tkvalue, request.ca, request.fingerprint())
    }

    fn new(tkvalue: &TkValue, ca: bool, fingerprint: Fingerprint) -> Self {
        Self {
            tktype: tkvalue.tktype(),
            tkvalue: tkvalue.text(),
            ca,
            fingerprint,
        }
    }
}
