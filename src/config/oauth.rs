//! `[oauth]`: the issuers of access tokens (RFC 9068).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{check_name, within, wrong};
use super::lists::{list, named, table};
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::{AccountId, Role};

/// The value of `token_type` for issuers whose tokens have no `typ`.
pub const NO_TOKEN_TYPE: &str = "none";

/// The issuers of access tokens (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// By the name that the audit trail and metrics use.
    pub issuers: BTreeMap<String, Issuer>,
}

/// One issuer, and how its tokens are verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    /// `iss`, compared byte for byte.
    pub issuer: String,
    /// The name that the audience claim must contain.
    pub audience: String,
    /// The claim with the audience: a name, or a JSON pointer.
    pub audience_claim: String,
    pub jwks_file: Option<PathBuf>,
    pub jwks_url: Option<String>,
    /// CAs for TLS with the endpoint; those of the system when absent.
    pub jwks_ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "list")]
    pub algorithms: Vec<Algorithm>,
    /// `typ`, without `application/`; [`NO_TOKEN_TYPE`] if the tokens have none.
    pub token_type: String,
    /// Claims that tokens must have, and their values.
    #[serde(deserialize_with = "table")]
    pub required_claims: BTreeMap<String, String>,
    /// Seconds of tolerance for clock differences.
    pub leeway: u32,
    /// The longest permitted time from `iat` to `exp`, in seconds.
    pub max_lifetime: u32,
    pub max_token_bytes: u32,
    /// The role of every token.
    #[serde(deserialize_with = "named")]
    pub role: Option<Role>,
    /// The claim with the role: a name, or a JSON pointer.
    pub role_claim: Option<String>,
    /// The role for each value of that claim.
    #[serde(deserialize_with = "table")]
    pub roles: BTreeMap<String, Role>,
    /// The accounts of every token.
    #[serde(deserialize_with = "list")]
    pub accounts: Vec<AccountId>,
    /// The claim with the accounts.
    pub accounts_claim: Option<String>,
    /// Minimum seconds between two fetches.
    pub refetch_interval: u32,
    /// Seconds after which keys are refreshed.
    pub max_age: u32,
    /// Seconds after which keys are no longer used if they cannot be refreshed.
    pub max_stale: u32,
    /// The timeout of a fetch, in seconds.
    pub fetch_timeout: u32,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            audience_claim: "aud".to_owned(),
            jwks_file: None,
            jwks_url: None,
            jwks_ca_file: None,
            algorithms: Algorithm::ALL.to_vec(),
            token_type: "at+jwt".to_owned(),
            required_claims: BTreeMap::new(),
            leeway: 30,
            max_lifetime: 86_400,
            max_token_bytes: 8_192,
            role: None,
            role_claim: None,
            roles: BTreeMap::new(),
            accounts: Vec::new(),
            accounts_claim: None,
            refetch_interval: 30,
            max_age: 600,
            max_stale: 86_400,
            fetch_timeout: 5,
        }
    }
}

impl OAuth {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (name, issuer) in &self.issuers {
            let key = |key: &str| format!("oauth.issuers.{name}.{key}");
            check_name(name, "oauth.issuers")?;
            issuer.validate(&key)?;
            let same = |other: &&Issuer| other.issuer == issuer.issuer;
            if self.issuers.values().filter(same).count() > 1 {
                return wrong(key("issuer"), "is also the one of another issuer");
            }
        }
        Ok(())
    }
}

impl Issuer {
    fn validate(&self, key: &impl Fn(&str) -> String) -> Result<(), ConfigError> {
        for (name, text) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("audience_claim", &self.audience_claim),
            ("token_type", &self.token_type),
        ] {
            if text.is_empty() {
                return wrong(key(name), "is missing");
            }
        }
        match (&self.jwks_file, &self.jwks_url) {
            (Some(_), None) => {}
            (None, Some(url)) if is_https(url) => {}
            (None, Some(_)) => {
                return wrong(
                    key("jwks_url"),
                    "must be `https://host/path`: over plain HTTP, anyone on the path could replace the keys",
                );
            }
            (None, None) => return wrong(key("jwks_file"), "or `jwks_url` is missing"),
            (Some(_), Some(_)) => {
                return wrong(
                    key("jwks_file"),
                    "and `jwks_url` exclude each other; remove one",
                );
            }
        }
        if self.jwks_ca_file.is_some() && self.jwks_url.is_none() {
            return wrong(key("jwks_ca_file"), "needs `jwks_url`");
        }
        if self.algorithms.is_empty() {
            return wrong(key("algorithms"), "is empty, so no token would be accepted");
        }
        self.validate_claims(key)?;
        if self.leeway > 300 {
            return wrong(key("leeway"), format!("is {}, more than 300", self.leeway));
        }
        for (name, value, most) in [
            ("max_lifetime", self.max_lifetime, 604_800),
            ("max_token_bytes", self.max_token_bytes, 65_536),
            ("refetch_interval", self.refetch_interval, 3_600),
            ("max_age", self.max_age, 86_400),
            ("max_stale", self.max_stale, 604_800),
            ("fetch_timeout", self.fetch_timeout, 30),
        ] {
            within(key(name), value.into(), most)?;
        }
        if self.max_stale < self.max_age {
            return wrong(key("max_stale"), "is less than `max_age`");
        }
        Ok(())
    }

    fn validate_claims(&self, key: &impl Fn(&str) -> String) -> Result<(), ConfigError> {
        match (&self.role, &self.role_claim) {
            (Some(_), None) if self.roles.is_empty() => {}
            (None, Some(claim)) if !claim.is_empty() && !self.roles.is_empty() => {}
            _ => {
                return wrong(
                    key("role"),
                    "gives all tokens one role; `role_claim` and `roles` take it from a claim; set either",
                );
            }
        }
        let empty = |(claim, value): (&String, &String)| claim.is_empty() || value.is_empty();
        if self.required_claims.iter().any(empty) {
            return wrong(key("required_claims"), "has an empty claim or value");
        }
        if self.token_type == NO_TOKEN_TYPE && self.required_claims.is_empty() {
            return wrong(
                key("required_claims"),
                "is missing: without `typ`, it must name a claim that only access tokens of the issuer have, and its value, such as `token_use = \"access\"`",
            );
        }
        if self.accounts_claim.as_ref().is_some_and(String::is_empty) {
            return wrong(key("accounts_claim"), "is empty");
        }
        if self.accounts_claim.is_some() && !self.accounts.is_empty() {
            return wrong(
                key("accounts"),
                "and `accounts_claim` exclude each other; remove one",
            );
        }
        Ok(())
    }
}

fn is_https(url: &str) -> bool {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    !host.is_empty()
        && !host.contains('@')
        && !rest.contains('#')
        && rest.bytes().all(|b| b.is_ascii_graphic())
}
