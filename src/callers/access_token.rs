//! Verifies `OAuth2` access tokens (RFC 9068): issuer, signature, audience, validity, and the
//! caller that the claims name.
//!
//! The rules are those of RFC 8725. A token is accepted only if all of it matches the configuration
//! of its issuer; a missing claim has no default.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Identity;
use super::claims::{AccountsFrom, ClaimPath, RoleFrom, has_required, is_for, subject, time};
use super::jwks_endpoint::{Endpoint, EndpointError};
use super::jwks_source::{Current, KeySettings, KeySource, KeysError, NewerKeys};
use super::jwt::{Jwt, TokenType};
use super::proof_cache::ProofCache;
use super::rejection::{Rejection, TokenFault};
use super::role_accounts::{RoleAccountsError, role_accounts};
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::text::printable::printable;
use crate::domain::tokens::numeric_date::Boundary;
use crate::domain::{Clock, Proof, Time};
use crate::regular_file::WatchedFile;
use crate::telemetry::Metrics;

/// How the tokens of an issuer are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// The value that the audience claim must contain.
    pub audience: String,
    /// The claim that names the audience: `aud`, or what stands for it.
    pub audience_claim: ClaimPath,
    pub algorithms: Vec<Algorithm>,
    pub token_type: TokenType,
    /// Claims that distinguish access tokens from other tokens of the issuer, and their values.
    pub required_claims: Vec<(ClaimPath, String)>,
    /// Seconds by which the clocks of the issuer and the service can differ.
    pub leeway: u32,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: u32,
    pub max_token_bytes: usize,
    pub role: RoleFrom,
    pub accounts: AccountsFrom,
}

/// Why the configuration of an issuer is invalid.
#[derive(Debug, Error)]
pub enum IssuerError {
    #[error(transparent)]
    RoleAccounts(#[from] RoleAccountsError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// A trusted issuer.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    settings: IssuerSettings,
    keys: KeySource,
    cache: ProofCache<CachedToken>,
}

/// The identity that a token authenticates.
#[derive(Debug, Clone)]
struct CachedToken {
    identity: Arc<Identity>,
    from: Time,
    until: Time,
    /// The generation of the keys that verified it.
    generation: u64,
}

impl Issuer {
    /// # Errors
    /// [`IssuerError`] if a fixed role does not allow the fixed accounts.
    pub fn new(
        settings: IssuerSettings,
        keys: KeySettings,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, IssuerError> {
        if let (RoleFrom::Fixed(role), AccountsFrom::Fixed(accounts)) =
            (&settings.role, &settings.accounts)
        {
            role_accounts(*role, accounts.clone())?;
        }
        Ok(Self {
            name: keys.name.clone(),
            settings,
            keys: KeySource::new(keys, clock, metrics),
            cache: ProofCache::new(),
        })
    }

    /// Loads the issuer's keys before the first token arrives. Does not wait for an endpoint.
    ///
    /// # Errors
    /// [`IssuerError`] if a file with keys cannot be used.
    pub fn start(&self) -> Result<(), IssuerError> {
        Ok(self.keys.start()?)
    }

    /// Reads the file with the keys again, if they come from one, when it has changed or in any
    /// case.
    pub fn read_file_again(&self, in_any_case: bool) {
        self.keys.read_file_again(in_any_case);
    }

    /// The file of the CAs that its endpoint is verified against, if there is one.
    #[must_use]
    pub fn ca_file(&self) -> Option<&WatchedFile> {
        self.keys.endpoint()?.ca_file()
    }

    /// Reads that file again.
    ///
    /// # Errors
    /// [`EndpointError`] if it is faulty. It changes nothing then.
    pub fn read_ca_file_again(&self) -> Result<(), EndpointError> {
        let endpoint = self.keys.endpoint();
        endpoint.map_or(Ok(()), Endpoint::read_ca_file_again)
    }

    /// Reads or fetches the keys once. Returns how many are usable, and what is wrong with the
    /// others. Blocks.
    pub fn check(&self) -> Result<(usize, Vec<String>), IssuerError> {
        Ok(self.keys.check()?)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn authenticate(&self, text: &str, jwt: &Jwt<'_>, now: Time) -> Result<Identity, Rejection> {
        let settings = &self.settings;
        if text.len() > settings.max_token_bytes {
            return Err(TokenFault::Long.into());
        }
        let algorithm = jwt.algorithm(&settings.algorithms)?;
        jwt.check_type(&settings.token_type)?;
        let current = self.keys.current(now).ok_or(Rejection::NoKeys)?;
        if let Some(cached) = self.cached(text, &current, now) {
            return Ok(cached);
        }
        let generation = self.verify(jwt, algorithm, current, now)?;
        let claims = jwt.claims();
        if !has_required(claims, &settings.required_claims) {
            return Err(TokenFault::RequiredClaim.into());
        }
        if !is_for(claims, &settings.audience_claim, &settings.audience) {
            return Err(TokenFault::Audience.into());
        }
        let (from, until) = self.validity(claims, now)?;
        // A sender-constrained token (RFC 7800) must not pass as a bearer token.
        if claims.contains_key("cnf") {
            return Err(TokenFault::Bound.into());
        }
        let role = settings.role.of(claims)?;
        let accounts = settings.accounts.of(claims, role)?;
        let identity = Identity {
            id: format!("oauth:{}:{}", self.name, subject(claims)?),
            proof: Proof::AccessToken,
            role,
            accounts,
            expires: Some(until),
        };
        let cached = CachedToken {
            identity: Arc::new(identity.clone()),
            from,
            until,
            generation,
        };
        self.cache.keep(text.as_bytes(), cached);
        Ok(identity)
    }

    /// The identity of a token that was verified before with the current keys.
    fn cached(&self, text: &str, current: &Current, now: Time) -> Option<Identity> {
        let is_valid = |token: &CachedToken| {
            token.generation == current.generation && token.from <= now && now < token.until
        };
        let token = self.cache.get(text.as_bytes(), is_valid)?;
        Some((*token.identity).clone())
    }

    fn verify(
        &self,
        jwt: &Jwt<'_>,
        algorithm: Algorithm,
        mut current: Current,
        now: Time,
    ) -> Result<u64, Rejection> {
        let kid = jwt.kid()?;
        if current.keys.find(kid, algorithm).err() == Some(TokenFault::UnknownKey) {
            let signed = self.signed_at_latest(jwt.claims(), now);
            current = match self.keys.newer_than(&current, signed, now) {
                NewerKeys::Found(newer) => newer,
                NewerKeys::None => return Err(TokenFault::UnknownKey.into()),
                NewerKeys::NotLoadedSince { retry_after } => {
                    // With any key it would be refused for its times, so no retry helps.
                    self.validity(jwt.claims(), now)?;
                    return Err(Rejection::KeyNotLoaded { retry_after });
                }
            };
        }
        jwt.verify(current.keys.find(kid, algorithm)?)?;
        Ok(current.generation)
    }

    /// The latest time, by the service's clock, at which a token can have been signed. Not verified
    /// yet: it only decides with which status the token is refused.
    fn signed_at_latest(&self, claims: &Map<String, Value>, now: Time) -> Time {
        let issued = time(claims, "iat", Boundary::Start).ok().flatten();
        let leeway = TimeDelta::seconds(self.settings.leeway.into());
        issued.map_or(now, |issued| (issued + leeway).min(now))
    }

    /// The period in which the token is valid, including the leeway. An error if it is not valid
    /// now.
    fn validity(&self, claims: &Map<String, Value>, now: Time) -> Result<(Time, Time), TokenFault> {
        let settings = &self.settings;
        let leeway = TimeDelta::seconds(settings.leeway.into());
        let expires = time(claims, "exp", Boundary::End)?.ok_or(TokenFault::Times)?;
        let issued = time(claims, "iat", Boundary::Start)?.ok_or(TokenFault::Times)?;
        let starts = time(claims, "nbf", Boundary::Start)?;
        let starts = starts.unwrap_or(issued).max(issued);
        if expires <= issued {
            return Err(TokenFault::Times);
        }
        if expires - issued > TimeDelta::seconds(settings.max_lifetime.into()) {
            return Err(TokenFault::Lifetime);
        }
        let (from, until) = (starts - leeway, expires + leeway);
        if now < from {
            return Err(TokenFault::NotYetValid);
        }
        if now >= until {
            return Err(TokenFault::Expired);
        }
        Ok((from, until))
    }
}

/// Authenticates by an access token of one of these issuers.
pub(super) fn authenticate(
    issuers: &[Issuer],
    text: &str,
    now: Time,
) -> Result<Identity, Rejection> {
    let longest = issuers.iter().map(|one| one.settings.max_token_bytes).max();
    if longest.is_none_or(|longest| text.len() > longest) {
        return Err(TokenFault::Long.into());
    }
    let jwt = Jwt::parse(text)?;
    // Not verified yet: it only selects the issuer whose keys have to verify it (RFC 8725 §3.8).
    let claimed = jwt.claims().get("iss").and_then(Value::as_str);
    let is_same = |issuer: &&Issuer| Some(issuer.settings.issuer.as_str()) == claimed;
    match issuers.iter().find(is_same) {
        Some(issuer) => issuer.authenticate(text, &jwt, now),
        None => Err(unknown_issuer(issuers, claimed.unwrap_or_default())),
    }
}

/// RFC 7519 §4.1.1 compares `iss` byte for byte, so a slash at its end matters.
fn unknown_issuer(issuers: &[Issuer], claimed: &str) -> Rejection {
    let plain = |name: &str| name.trim_end_matches('/').to_owned();
    let mut names = issuers.iter().map(|issuer| issuer.settings.issuer.as_str());
    match names.find(|name| plain(name) == plain(claimed)) {
        Some(configured) => Rejection::IssuerSlash {
            claimed: printable(claimed),
            configured: configured.to_owned(),
        },
        None => TokenFault::Issuer.into(),
    }
}
