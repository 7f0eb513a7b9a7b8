//! Who is asking: proofs in, one [`Caller`] out.
//!
//! - API keys. A key is `tna_ID_SECRET`: the id finds its row, the secret is 256 random bits, and what is stored is
//!   HMAC-SHA256 of the secret under a key that is not in the database.
//! - `OAuth2` access tokens (RFC 9068) of issuers that the configuration names, verified with the keys that these publish.
//! - Client certificates, of the TLS connection or as a proxy hands them on.
//!
//! Knows openssl and josekit; what a caller may do is decided elsewhere. Nothing that a caller sends says what is fetched.

mod access_token;
mod anchors;
mod api_key;
mod certificate;
mod claims;
mod endpoint;
mod jwks;
mod jwt;
mod key_source;
mod pepper;
mod proxy;
mod refusal;
mod remembered;
mod sealing;
mod standing;

pub use access_token::{Issuer, IssuerError, IssuerSettings};
pub use anchors::AnchorsError;
pub use api_key::{ApiKeyError, NewApiKey, ShownApiKey};
pub use certificate::{CertificateCaller, ClientCertificates, Match, PresentedCertificate};
pub use claims::{AccountsFrom, Claim, RoleFrom};
pub use endpoint::{Endpoint, EndpointError, FetchError};
pub use jwks::JwksError;
pub use key_source::{KeySettings, KeysError, Origin};
pub use pepper::{Pepper, PepperError};
pub use proxy::{Behind, Proxies};
pub use refusal::{CertificateFault, Refusal, TokenFault};
pub use sealing::{Seal, SealError, Seals};
pub use standing::StandingError;

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::{AccountId, Caller, Clock, Proof, Role, Time};
use crate::store::{Store, StoreError, Tx};
use crate::telemetry::Metrics;
use api_key::PresentedKey;
use jwt::Jwt;

/// Why nobody is proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unproven {
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
pub struct Offered {
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
struct Proven {
    id: String,
    proof: Proof,
    role: Role,
    accounts: Vec<AccountId>,
    expires: Option<Time>,
}

/// Proves callers, and makes the keys that prove them.
#[derive(Debug)]
pub struct Callers {
    store: Arc<Store>,
    pepper: Pepper,
    clock: Clock,
    trust: Trust,
    metrics: Option<Arc<Metrics>>,
}

impl Callers {
    /// Proves callers by the keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>, pepper: Pepper, clock: Clock) -> Self {
        Self {
            store,
            pepper,
            clock,
            trust: Trust::default(),
            metrics: None,
        }
    }

    /// Proves callers by these too, and counts who is not proven.
    #[must_use]
    pub fn trusting(self, trust: Trust, metrics: Arc<Metrics>) -> Self {
        Self {
            trust,
            metrics: Some(metrics),
            ..self
        }
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

    /// Proves who sent a request. Blocks.
    ///
    /// # Errors
    /// [`Unproven`] if nobody is.
    pub fn prove(&self, offered: &Offered, request_id: Uuid) -> Result<Caller, Unproven> {
        let proven = self.who(offered);
        let proven = proven.map_err(|refusal| self.refused(refusal, request_id))?;
        Ok(Caller {
            id: proven.id,
            proof: proven.proof,
            role: proven.role,
            accounts: proven.accounts,
            expires: proven.expires,
            request_id,
        })
    }

    /// Counts and logs why nobody is proven. What is returned says less.
    pub fn refused(&self, refusal: Refusal, request_id: Uuid) -> Unproven {
        let [proof, reason] = refusal.labels();
        if let Some(metrics) = &self.metrics {
            metrics.unproven(proof, reason);
        }
        let request_id = request_id.to_string();
        log::info!(request_id = request_id.as_str(), proof = proof, reason = reason; "nobody is proven: {refusal}");
        refusal.into()
    }

    /// A certificate that is mapped to somebody is a proof, and two proofs prove nothing. One that is mapped to nobody may
    /// stand beside an `Authorization` field: whoever runs the network may want both. One that is wrong may not.
    fn who(&self, offered: &Offered) -> Result<Proven, Refusal> {
        let now = self.clock.now();
        let by_certificate = offered.certificate.as_ref().map(|certificate| {
            let taken = self.trust.certificates.as_ref();
            let taken = taken.ok_or(CertificateFault::NotTaken)?;
            taken.prove(certificate, now)
        });
        match (&offered.authorization, by_certificate) {
            (None, None) => Err(Refusal::Missing),
            (None, Some(proven)) => proven,
            (Some(authorization), None | Some(Err(Refusal::Unmapped(_)))) => {
                self.by_authorization(authorization, now)
            }
            (Some(_), Some(Ok(_))) => Err(Refusal::TwoProofs),
            (Some(_), Some(Err(wrong))) => Err(wrong),
        }
    }

    fn by_authorization(&self, authorization: &str, now: Time) -> Result<Proven, Refusal> {
        // The scheme's name is case-insensitive (RFC 9110 §11.1).
        let credentials = match authorization.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim_start(),
            _ => return Err(Refusal::Scheme),
        };
        if Jwt::looks_like(credentials) {
            return access_token::prove(&self.trust.issuers, credentials, now);
        }
        let key = PresentedKey::parse(credentials).ok_or(Refusal::Scheme)?;
        self.by_api_key(&key, now)
    }

    fn by_api_key(&self, key: &PresentedKey<'_>, now: Time) -> Result<Proven, Refusal> {
        let known = self.store.read(|tx| tx.api_key(key.id()))?;
        let proven = known.filter(|known| {
            let right = self.pepper.matches(key, &known.secret_hash);
            right && known.revoked_at.is_none_or(|revoked| now < revoked)
        });
        let known = proven.ok_or(Refusal::ApiKey)?;
        Ok(Proven {
            id: known.id,
            proof: Proof::ApiKey,
            role: known.role,
            accounts: known.accounts,
            expires: None,
        })
    }

    /// Makes a key. What is returned is the only time that it is shown.
    ///
    /// # Errors
    /// [`ApiKeyError`] if the role and the accounts do not go together, or an account is unknown.
    pub async fn create(&self, new: NewApiKey) -> Result<ShownApiKey, ApiKeyError> {
        api_key::create(&self.store, &self.pepper, new, self.clock.now()).await
    }

    /// Makes a key useless from now on. Says whether there was one to revoke.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub async fn revoke(&self, id: String) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let work = move |tx: &mut Tx<'_>| tx.revoke_api_key(&id, now);
        self.store.change("revoke-api-key", work).await
    }
}
