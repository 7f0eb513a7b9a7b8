//! `OAuth2` access tokens (RFC 9068): who issued one, whether it is for us and holds now, and whom its claims name.
//!
//! The rules are those of RFC 8725. A token proves a caller only if everything about it is as its issuer's configuration
//! says; there is no default for a claim that is missing.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Identity;
use super::claims::{AccountsFrom, RoleFrom, is_for, seconds, subject};
use super::jwks_source::{Current, KeySettings, KeySource, KeysError};
use super::jwt::Jwt;
use super::proof_cache::ProofCache;
use super::rejection::{Rejection, TokenFault};
use super::role_accounts::{StandingError, standing};
use crate::domain::clock::from_unix;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::{Clock, Proof, Time};
use crate::telemetry::Metrics;

/// How the tokens of an issuer are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    pub algorithms: Vec<Algorithm>,
    /// `typ`, without `application/`.
    pub token_type: String,
    /// Seconds by which the clocks of the issuer and of the service may differ.
    pub leeway: u32,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: u32,
    pub max_token_bytes: usize,
    pub role: RoleFrom,
    pub accounts: AccountsFrom,
}

/// Why an issuer cannot be configured like this.
#[derive(Debug, Error)]
pub enum IssuerError {
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// An issuer that is trusted.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    settings: IssuerSettings,
    keys: KeySource,
    remembered: ProofCache<CachedToken>,
}

/// What a token proved.
#[derive(Debug, Clone)]
struct CachedToken {
    proven: Arc<Identity>,
    from: Time,
    until: Time,
    /// Of the keys that verified it.
    generation: u64,
}

impl Issuer {
    /// Trusts an issuer.
    ///
    /// # Errors
    /// [`IssuerError`] if a fixed role and fixed accounts do not go together.
    pub fn new(
        settings: IssuerSettings,
        keys: KeySettings,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, IssuerError> {
        if let (RoleFrom::Fixed(role), AccountsFrom::Fixed(accounts)) =
            (&settings.role, &settings.accounts)
        {
            standing(*role, accounts.clone())?;
        }
        Ok(Self {
            name: keys.name.clone(),
            settings,
            keys: KeySource::new(keys, clock, metrics),
            remembered: ProofCache::new(),
        })
    }

    /// Asks for the issuer's keys now, and not when the first token comes. An endpoint is not waited for.
    ///
    /// # Errors
    /// [`IssuerError`] if a file with keys cannot be used.
    pub fn start(&self) -> Result<(), IssuerError> {
        Ok(self.keys.start()?)
    }

    /// Reads or fetches the keys once: how many can be used, and what is wrong with the others. Blocks.
    ///
    /// # Errors
    /// [`IssuerError`] if there are none.
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
        if let Some(kept) = self.remember(text, &current, now) {
            return Ok(kept);
        }
        let generation = self.verify(jwt, algorithm, current, now)?;
        let claims = jwt.claims();
        if !is_for(claims, &settings.audience) {
            return Err(TokenFault::Audience.into());
        }
        let (from, until) = self.holds(claims, now)?;
        if claims.contains_key("cnf") {
            return Err(TokenFault::Bound.into());
        }
        let role = settings.role.of(claims)?;
        let accounts = settings.accounts.of(claims, role)?;
        let proven = Identity {
            id: format!("oauth:{}:{}", self.name, subject(claims)?),
            proof: Proof::AccessToken,
            role,
            accounts,
            expires: Some(until),
        };
        let kept = CachedToken {
            proven: Arc::new(proven.clone()),
            from,
            until,
            generation,
        };
        self.remembered.keep(text.as_bytes(), kept);
        Ok(proven)
    }

    /// A signature is verified once for each token, as long as the keys stay what they are.
    fn remember(&self, text: &str, current: &Current, now: Time) -> Option<Identity> {
        let holds = |kept: &CachedToken| {
            kept.generation == current.generation && kept.from <= now && now < kept.until
        };
        let kept = self.remembered.get(text.as_bytes(), holds)?;
        Some((*kept.proven).clone())
    }

    fn verify(
        &self,
        jwt: &Jwt<'_>,
        algorithm: Algorithm,
        mut current: Current,
        now: Time,
    ) -> Result<u64, TokenFault> {
        let kid = jwt.kid()?;
        if current.keys.find(kid, algorithm).err() == Some(TokenFault::UnknownKey) {
            current = self
                .keys
                .newer_than(&current, now)
                .ok_or(TokenFault::UnknownKey)?;
        }
        jwt.verify(current.keys.find(kid, algorithm)?)?;
        Ok(current.generation)
    }

    /// From when until when the token holds, the leeway included, if it holds now.
    fn holds(&self, claims: &Map<String, Value>, now: Time) -> Result<(Time, Time), TokenFault> {
        let settings = &self.settings;
        let leeway = TimeDelta::seconds(settings.leeway.into());
        let expires = seconds(claims, "exp")?.ok_or(TokenFault::Times)?;
        let issued = seconds(claims, "iat")?.ok_or(TokenFault::Times)?;
        let starts = seconds(claims, "nbf")?.unwrap_or(issued).max(issued);
        if expires <= issued {
            return Err(TokenFault::Times);
        }
        if expires - issued > i64::from(settings.max_lifetime) {
            return Err(TokenFault::Lifetime);
        }
        let (from, until) = (from_unix(starts) - leeway, from_unix(expires) + leeway);
        if now < from {
            return Err(TokenFault::NotYetValid);
        }
        if now >= until {
            return Err(TokenFault::Expired);
        }
        Ok((from, until))
    }
}

/// Proves by an access token of one of these issuers.
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
    // The claim is not to be believed yet: it says whose keys would have to verify it (RFC 8725 §3.8).
    let claimed = jwt.claims().get("iss").and_then(Value::as_str);
    let issuer = issuers
        .iter()
        .find(|issuer| Some(issuer.settings.issuer.as_str()) == claimed);
    issuer
        .ok_or(TokenFault::Issuer)?
        .authenticate(text, &jwt, now)
}
