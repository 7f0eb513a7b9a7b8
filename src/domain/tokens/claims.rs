//! What a client asks for, and what the token then says (RFC 9447 §4, RFC 9448 §5).

use serde::Serialize;
use thiserror::Error;

use super::fingerprint::{AskedFingerprint, Fingerprint, FingerprintError};
use super::grant::{Grant, Jti};
use super::tkvalue::{TkType, TkValue, TkValueError};
use super::tn_auth_list::TnAuthListError;
use crate::domain::accounts::dialect::Dialect;
use crate::domain::clock::Time;
use crate::domain::numbers::number::NumberRange;

/// What a strict account may not write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotStrict {
    #[error("`tkvalue`: {0}")]
    TkValue(#[from] TkValueError),
    #[error("`fingerprint`: {0}")]
    Fingerprint(#[from] FingerprintError),
}

/// A client's wish for a token, parsed (RFC 9448 §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    tkvalue: TkValue,
    numbers: Vec<NumberRange>,
    ca: bool,
    fingerprint: AskedFingerprint,
    lifetime: Option<u32>,
}

impl TokenRequest {
    /// Puts a request together.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry of the list is no E.164 number.
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

    /// Whether an account of this dialect may ask like this.
    ///
    /// # Errors
    /// [`NotStrict`] names the member that is not as the dialect has it.
    pub fn is_in(&self, dialect: Dialect) -> Result<(), NotStrict> {
        match dialect {
            Dialect::Legacy => Ok(()),
            Dialect::Strict => {
                self.tkvalue.is_strict()?;
                Ok(self.fingerprint.is_strict()?)
            }
        }
    }

    /// What the token is to be about, character for character as it was asked.
    #[must_use]
    pub const fn tkvalue(&self) -> &TkValue {
        &self.tkvalue
    }

    /// The numbers of a list, in its order.
    #[must_use]
    pub fn numbers(&self) -> &[NumberRange] {
        &self.numbers
    }

    /// Whether the certificate may be a CA certificate, to delegate further.
    #[must_use]
    pub const fn ca(&self) -> bool {
        self.ca
    }

    /// Binds the token to the client's ACME account key.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.get()
    }

    /// The same request, for a token that lives so many seconds.
    #[must_use]
    pub fn living(self, lifetime: u32) -> Self {
        Self {
            lifetime: Some(lifetime),
            ..self
        }
    }

    /// The lifetime that was asked for, in seconds.
    #[must_use]
    pub const fn lifetime(&self) -> Option<u32> {
        self.lifetime
    }
}

/// The payload of a token. All times are whole seconds; `ca` is always written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// RFC 9448 §5.1: a URL that names the authority.
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
    /// The claims of a grant's token, said by the authority `iss`.
    #[must_use]
    pub fn of(grant: &Grant, iss: &str) -> Self {
        Self {
            iss: iss.to_owned(),
            exp: grant.expires_at,
            iat: grant.issued_at,
            jti: grant.jti.clone(),
            atc: Atc::saying(&grant.tkvalue, grant.ca, grant.fingerprint),
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
    /// Says exactly what was asked (RFC 9448 §6, step 6, compares for equality).
    #[must_use]
    pub fn answering(request: &TokenRequest) -> Self {
        Self::saying(&request.tkvalue, request.ca, request.fingerprint())
    }

    fn saying(tkvalue: &TkValue, ca: bool, fingerprint: Fingerprint) -> Self {
        Self {
            tktype: tkvalue.tktype(),
            tkvalue: tkvalue.text(),
            ca,
            fingerprint,
        }
    }
}
