//! Authenticates callers: credentials in, a [`Caller`] out.
//!
//! - API keys, `tna_ID_SECRET`. The id finds the row; the secret is 256 random bits. The row has
//!   the HMAC-SHA256 of the secret, under a key that is not in the database.
//! - `OAuth2` access tokens (RFC 9068) of configured issuers, verified with the keys that they
//!   publish.
//! - Access tokens of the facade, which a login with an API key returns, and which stand for that
//!   key.
//! - Client certificates, from the TLS connection or forwarded by a proxy.
//!
//! What a caller may do is decided elsewhere. No URL in a request is ever fetched.

mod access_token;
mod aead;
mod answer_seal;
mod api_key;
mod certificate;
mod claims;
mod client_ca;
mod control_answer;
mod control_code;
mod crl;
mod crl_source;
mod forwarded;
mod forwarded_certificate;
mod jwks;
mod jwks_endpoint;
mod jwks_source;
mod jwt;
mod pepper;
mod proof_cache;
mod quoted;
mod rejection;
mod role_accounts;

pub use access_token::{Issuer, IssuerError, IssuerSettings};
pub use aead::SealError;
pub use answer_seal::{Seal, Seals};
pub use api_key::{
    AccessToken, ApiKeyError, ApiKeyName, ApiKeys, DEFAULT_OVERLAP, KeyRequester, MAX_OVERLAP,
    NewApiKey, ShownApiKey,
};
pub use certificate::{
    CertificateCaller, ClientCertificates, HandshakeAnchors, Match, NewAnchors,
    PresentedCertificate,
};
pub use claims::{AccountsFrom, ClaimPath, RoleFrom};
pub use client_ca::AnchorsError;
pub use control_answer::FlattenedJws;
pub use control_code::ControlCodes;
pub use crl::CrlError;
pub use crl_source::CrlSettings;
pub use forwarded::{ClientInfo, Proxies};
pub use jwks::JwksError;
pub use jwks_endpoint::{Endpoint, EndpointError, FetchError};
pub use jwks_source::{KeySettings, KeysError, Origin};
pub use jwt::TokenType;
pub use pepper::{Pepper, PepperError, Peppers};
pub use rejection::{CertificateFault, Rejection, TokenFault};
pub use role_accounts::RoleAccountsError;

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::{AccountId, Caller, Clock, Proof, Role, Time};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use api_key::PresentedKey;
use jwt::Jwt;

/// The failure to authenticate as the caller sees it; `Rejection` has the real cause.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// 401, with a challenge (RFC 9110 §15.5.2).
    #[error("the request has no credentials")]
    Missing,
    /// 403 (RFC 9448 §5.5). The reason is only logged.
    #[error("the credentials are not valid")]
    Invalid,
    /// 503: the keys of an access token's issuer are not available.
    #[error("the keys that verify the credentials are not available")]
    NoKeys,
    /// 503: the key of an access token may be newer than the loaded ones.
    #[error("the keys that verify the credentials may not be loaded yet")]
    KeyNotLoaded {
        /// Seconds until the issuer's keys can be loaded again.
        retry_after: u32,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The credentials of a request.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The value of its one `Authorization` field.
    pub authorization: Option<String>,
    /// The client's address, from the connection or from a trusted proxy; `None` if it is not
    /// reliable.
    pub from: Option<IpAddr>,
    /// The client's certificate, from the connection or from a trusted proxy.
    pub certificate: Option<PresentedCertificate>,
}

/// What is trusted to authenticate callers, besides API keys.
#[derive(Debug, Default)]
pub struct Trust {
    pub issuers: Vec<Issuer>,
    pub certificates: Option<ClientCertificates>,
    pub proxies: Proxies,
}

/// An authenticated identity, independent of the request.
#[derive(Debug, Clone)]
struct Identity {
    id: String,
    proof: Proof,
    role: Role,
    accounts: Vec<AccountId>,
    expires: Option<Time>,
}

impl Identity {
    fn caller(self, request_id: Uuid) -> Caller {
        Caller {
            id: self.id,
            proof: self.proof,
            role: self.role,
            accounts: self.accounts,
            expires: self.expires,
            request_id,
        }
    }
}

impl AuthError {
    /// Whether the credentials are missing or wrong, or may be, rather than the service failing.
    #[must_use]
    pub const fn is_callers_fault(&self) -> bool {
        match self {
            // Anyone can name a key that does not exist, so such guesses are limited, too.
            Self::Missing | Self::Invalid | Self::KeyNotLoaded { .. } => true,
            Self::NoKeys | Self::Store(_) => false,
        }
    }
}

/// Authenticates callers, and manages API keys.
#[derive(Debug)]
pub struct Callers {
    api_keys: ApiKeys,
    trust: Trust,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Callers {
    /// Authenticates by the API keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>, peppers: Peppers, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            api_keys: ApiKeys::new(store, peppers, clock.clone()),
            trust: Trust::default(),
            clock,
            metrics,
        }
    }

    /// Also accepts the access tokens and certificates that `trust` covers.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Loads the keys of all issuers, before the first token arrives.
    ///
    /// # Errors
    /// [`IssuerError`] if a file with keys is unusable. An endpoint that is down is not an error,
    /// because API keys still work.
    pub fn start(&self) -> Result<(), IssuerError> {
        self.trust.issuers.iter().try_for_each(Issuer::start)
    }

    /// Authenticates a request against the database and not the cache, so that a revoked key can
    /// read nothing. Blocks.
    pub fn authenticate(
        &self,
        credentials: &Credentials,
        request_id: Uuid,
    ) -> Result<Caller, AuthError> {
        let now = self.clock.now();
        let by_authorization = |text: &str| self.by_authorization(text, credentials.from, now);
        match self.identify(credentials, by_authorization) {
            Ok(identity) => Ok(identity.caller(request_id)),
            Err(rejection) => Err(self.reject(rejection, request_id)),
        }
    }

    /// Counts and logs why authentication failed. The returned error reveals less.
    pub fn reject(&self, rejection: Rejection, request_id: Uuid) -> AuthError {
        let [proof, reason] = rejection.labels();
        self.metrics.unproven(proof, reason);
        let request_id = request_id.to_string();
        log::info!(request_id = request_id.as_str(), proof = proof, reason = reason; "authentication failed: {rejection}");
        rejection.into()
    }

    /// Authenticates by the one credential of the request. A certificate that is mapped to a caller
    /// excludes an `Authorization` field, since two credentials are ambiguous. A valid but unmapped
    /// certificate can accompany the field, since some networks require client certificates of
    /// everyone. An invalid certificate is always refused.
    fn identify(
        &self,
        credentials: &Credentials,
        by_authorization: impl FnOnce(&str) -> Result<Identity, Rejection>,
    ) -> Result<Identity, Rejection> {
        let now = self.clock.now();
        let by_certificate = credentials.certificate.as_ref().map(|certificate| {
            let trusted = self.trust.certificates.as_ref();
            let trusted = trusted.ok_or(CertificateFault::NotTaken)?;
            trusted.authenticate(certificate, now)
        });
        match (&credentials.authorization, by_certificate) {
            (None, None) => Err(Rejection::Missing),
            (None, Some(identity)) => identity,
            (Some(authorization), None | Some(Err(Rejection::Unmapped(_)))) => {
                by_authorization(authorization)
            }
            (Some(_), Some(Ok(_))) => Err(Rejection::TwoCredentials),
            (Some(_), Some(Err(rejection))) => Err(rejection),
        }
    }

    fn by_authorization(
        &self,
        authorization: &str,
        from: Option<IpAddr>,
        now: Time,
    ) -> Result<Identity, Rejection> {
        let token = bearer(authorization).ok_or(Rejection::Scheme)?;
        if Jwt::looks_like(token) {
            return access_token::authenticate(&self.trust.issuers, token, now);
        }
        let key = PresentedKey::parse(token).ok_or(Rejection::Scheme)?;
        self.api_keys.authenticate(&key, from)
    }

    /// Authenticates a request by the cache, without the database; `None` if that does not succeed.
    /// Only for work in a transaction, which checks the credential again: see `domain::Actor`.
    #[must_use]
    pub fn authenticate_cached(
        &self,
        credentials: &Credentials,
        request_id: Uuid,
    ) -> Option<Caller> {
        if credentials.certificate.is_some() {
            // Left to `identify`, which decides about two credentials.
            return None;
        }
        let key = PresentedKey::parse(bearer(credentials.authorization.as_deref()?)?)?;
        let identity = self.api_keys.authenticate_cached(&key, credentials.from)?;
        Some(identity.caller(request_id))
    }

    /// Removes a caller from the cache, after a transaction found that its credential has ended.
    pub fn forget(&self, caller: &Caller) {
        self.api_keys.forget(&caller.id);
    }

    /// The API keys, for managing them.
    #[must_use]
    pub const fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }
}

/// The token of an `Authorization` field with the scheme `Bearer`, case-insensitive (RFC 9110
/// §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_start()),
        _ => None,
    }
}
