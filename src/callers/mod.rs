//! Who is asking: proofs in, one [`Caller`] out.
//!
//! - API keys. A key is `tna_ID_SECRET`: the id finds its row, the secret is 256 random bits, and what is stored is
//!   HMAC-SHA256 of the secret under a key that is not in the database.
//! - `OAuth2` access tokens (RFC 9068) of issuers that the configuration names, verified with the keys that these publish.
//! - Access tokens of the facade, which a login with an API key gives, and which prove what that key proves.
//! - Client certificates, of the TLS connection or as a proxy hands them on.
//!
//! Knows openssl and josekit; what a caller may do is decided elsewhere. Nothing that a caller sends says what is fetched.

mod access_token;
mod answer_seal;
mod api_key;
mod certificate;
mod claims;
mod client_ca;
mod forwarded;
mod jwks;
mod jwks_endpoint;
mod jwks_source;
mod jwt;
mod pepper;
mod proof_cache;
mod rejection;
mod role_accounts;

pub use access_token::{Issuer, IssuerError, IssuerSettings};
pub use answer_seal::{Seal, SealError, Seals};
pub use api_key::{
    AccessToken, ApiKeyError, ApiKeys, KeyRequester as KeyBy, MAX_OVERLAP, NewApiKey, ShownApiKey,
    USUAL_OVERLAP,
};
pub use certificate::{CertificateCaller, ClientCertificates, Match, PresentedCertificate};
pub use claims::{AccountsFrom, ClaimPath, RoleFrom};
pub use client_ca::AnchorsError;
pub use forwarded::{ClientInfo, Proxies};
pub use jwks::JwksError;
pub use jwks_endpoint::{Endpoint, EndpointError, FetchError};
pub use jwks_source::{KeySettings, KeysError, Origin};
pub use pepper::{Pepper, PepperError};
pub use rejection::{CertificateFault, Rejection, TokenFault};
pub use role_accounts::StandingError;

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::{AccountId, Caller, Clock, Proof, Role, Time};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use api_key::PresentedKey;
use jwt::Jwt;

/// Why nobody is proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// Nothing was offered: 401, with a challenge (RFC 9110 §15.5.2).
    #[error("no credentials were given")]
    Missing,
    /// Something was offered that proves nothing: 403 (RFC 9448 §5.5). Why it does not is nobody's business.
    #[error("the credentials are not valid")]
    Invalid,
    /// An access token was offered, and the keys of its issuer cannot be had: 503.
    #[error("the keys that would verify the credentials cannot be had")]
    NoKeys,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a request offers as proof.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The value of its one `Authorization` field.
    pub authorization: Option<String>,
    /// The client's address: the other end of the connection, or what a proxy says that is listened to. Nothing if it
    /// cannot be relied on.
    pub from: Option<IpAddr>,
    /// The client's certificate, of the connection or as such a proxy hands it on.
    pub certificate: Option<PresentedCertificate>,
}

/// Who is trusted to prove callers, besides API keys.
#[derive(Debug, Default)]
pub struct Trust {
    pub issuers: Vec<Issuer>,
    pub certificates: Option<ClientCertificates>,
    pub proxies: Proxies,
}

/// Somebody who is proven, in whatever request.
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
    /// Whether whoever asks has shown nothing or something wrong, and not the service failed.
    #[must_use]
    pub const fn blames_the_asker(&self) -> bool {
        match self {
            Self::Missing | Self::Invalid => true,
            Self::NoKeys | Self::Store(_) => false,
        }
    }
}

/// Proves callers, and makes the keys that prove them.
#[derive(Debug)]
pub struct Callers {
    api_keys: ApiKeys,
    trust: Trust,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Callers {
    /// Proves callers by the keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>, pepper: Pepper, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            api_keys: ApiKeys::new(store, pepper, clock.clone()),
            trust: Trust::default(),
            clock,
            metrics,
        }
    }

    /// Proves callers by these too.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Who is trusted.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Asks for the keys of all issuers, before the first token comes.
    ///
    /// # Errors
    /// [`IssuerError`] if a file with keys cannot be used. An endpoint may be down: API keys go on working.
    pub fn start(&self) -> Result<(), IssuerError> {
        self.trust.issuers.iter().try_for_each(Issuer::start)
    }

    /// Proves who sent a request, by what the database says now: whoever reads must not see more than is allowed now.
    /// Blocks.
    ///
    /// # Errors
    /// [`AuthError`] if nobody is.
    pub fn authenticate(
        &self,
        offered: &Credentials,
        request_id: Uuid,
    ) -> Result<Caller, AuthError> {
        let now = self.clock.now();
        let by_authorization = |text: &str| self.by_authorization(text, offered.from, now);
        match self.who(offered, by_authorization) {
            Ok(proven) => Ok(proven.caller(request_id)),
            Err(refusal) => Err(self.refused(refusal, request_id)),
        }
    }

    /// Counts and logs why nobody is proven. What is returned says less.
    pub fn refused(&self, refusal: Rejection, request_id: Uuid) -> AuthError {
        let [proof, reason] = refusal.labels();
        self.metrics.unproven(proof, reason);
        let request_id = request_id.to_string();
        log::info!(request_id = request_id.as_str(), proof = proof, reason = reason; "nobody is proven: {refusal}");
        refusal.into()
    }

    /// A certificate that is mapped to somebody is a proof, and two proofs prove nothing. One that is mapped to nobody may
    /// stand beside an `Authorization` field: whoever runs the network may want both. One that is wrong may not.
    fn who(
        &self,
        offered: &Credentials,
        by_authorization: impl FnOnce(&str) -> Result<Identity, Rejection>,
    ) -> Result<Identity, Rejection> {
        let now = self.clock.now();
        let by_certificate = offered.certificate.as_ref().map(|certificate| {
            let taken = self.trust.certificates.as_ref();
            let taken = taken.ok_or(CertificateFault::NotTaken)?;
            taken.authenticate(certificate, now)
        });
        match (&offered.authorization, by_certificate) {
            (None, None) => Err(Rejection::Missing),
            (None, Some(proven)) => proven,
            (Some(authorization), None | Some(Err(Rejection::Unmapped(_)))) => {
                by_authorization(authorization)
            }
            (Some(_), Some(Ok(_))) => Err(Rejection::TwoProofs),
            (Some(_), Some(Err(wrong))) => Err(wrong),
        }
    }

    fn by_authorization(
        &self,
        authorization: &str,
        from: Option<IpAddr>,
        now: Time,
    ) -> Result<Identity, Rejection> {
        let credentials = bearer(authorization).ok_or(Rejection::Scheme)?;
        if Jwt::looks_like(credentials) {
            return access_token::authenticate(&self.trust.issuers, credentials, now);
        }
        let key = PresentedKey::parse(credentials).ok_or(Rejection::Scheme)?;
        self.api_keys.authenticate(&key, from)
    }

    /// Proves who sent a request, by what was read not long ago, without a look into the database; `None` if memory does
    /// not prove anybody. Right for what is done in a transaction alone, which looks again: see `domain::Actor`.
    #[must_use]
    pub fn authenticate_cached(&self, offered: &Credentials, request_id: Uuid) -> Option<Caller> {
        if offered.certificate.is_some() {
            // Two proofs need a closer look.
            return None;
        }
        let key = PresentedKey::parse(bearer(offered.authorization.as_deref()?)?)?;
        let proven = self.api_keys.authenticate_cached(&key, offered.from)?;
        Some(proven.caller(request_id))
    }

    /// Forgets what was read of a caller, when a transaction has found that its proof has ended.
    pub fn forget(&self, caller: &Caller) {
        self.api_keys.forget(&caller.id);
    }

    /// The API keys, to be kept by whoever may.
    #[must_use]
    pub const fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }
}

/// The token of an `Authorization` field with the scheme Bearer, whose name is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_start()),
        _ => None,
    }
}
