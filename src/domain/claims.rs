//! What a client asks for, and what the token then says (RFC 9447 §4, RFC 9448 §5).

use serde::Serialize;

use super::clock::Time;
use super::fingerprint::Fingerprint;
use super::grant::{Grant, Jti};
use super::number::NumberRange;
use super::tn_auth_list::{TnAuthList, TnAuthListError};

/// The only `tktype` of this authority (RFC 9448 §5.4).
pub const TKTYPE: &str = "TNAuthList";

/// A client's wish for a token, parsed (RFC 9448 §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    list: TnAuthList,
    numbers: Vec<NumberRange>,
    ca: bool,
    fingerprint: Fingerprint,
    lifetime: Option<u32>,
}

impl TokenRequest {
    /// Puts a request together.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry of the list is no E.164 number.
    pub fn new(
        list: TnAuthList,
        ca: bool,
        fingerprint: Fingerprint,
        lifetime: Option<u32>,
    ) -> Result<Self, TnAuthListError> {
        Ok(Self {
            numbers: list.numbers()?,
            list,
            ca,
            fingerprint,
            lifetime,
        })
    }

    /// The list, byte for byte as it was asked.
    #[must_use]
    pub const fn list(&self) -> &TnAuthList {
        &self.list
    }

    /// The numbers of the list, in its order.
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
        self.fingerprint
    }

    /// Whether another request is for a token that says the same, however long it lives.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.list == other.list && self.ca == other.ca && self.fingerprint == other.fingerprint
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
            atc: Atc::saying(&grant.list, grant.ca, grant.fingerprint),
        }
    }
}

/// The `atc` claim (RFC 9448 §5.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Atc {
    pub tktype: &'static str,
    pub tkvalue: String,
    pub ca: bool,
    pub fingerprint: Fingerprint,
}

impl Atc {
    /// Says exactly what was asked (RFC 9448 §6, step 6, compares for equality).
    #[must_use]
    pub fn answering(request: &TokenRequest) -> Self {
        Self::saying(&request.list, request.ca, request.fingerprint)
    }

    fn saying(list: &TnAuthList, ca: bool, fingerprint: Fingerprint) -> Self {
        Self {
            tktype: TKTYPE,
            tkvalue: list.to_tkvalue(),
            ca,
            fingerprint,
        }
    }
}
