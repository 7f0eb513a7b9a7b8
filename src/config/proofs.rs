//! The sections that say who is trusted to prove callers, besides API keys: issuers of access tokens, CAs of client
//! certificates, and proxies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::list::{list, named, table};
use super::validate::{within, wrong};
use super::{Config, ConfigError};
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::network::trusted_proxy::{AddressHeader, CertificateEncoding, ProxyAddress};
use crate::domain::{AccountId, Role};

/// Who issues access tokens (RFC 9068).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// By a name, which stands in the audit trail and in metrics.
    pub issuers: BTreeMap<String, Issuer>,
}

/// One issuer, and how its tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    pub jwks_file: Option<PathBuf>,
    pub jwks_url: Option<String>,
    /// The CAs that vouch for the endpoint; those of the system when absent.
    pub jwks_ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "list")]
    pub algorithms: Vec<Algorithm>,
    /// `typ`, without `application/`.
    pub token_type: String,
    /// Seconds by which clocks may differ.
    pub leeway: u32,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: u32,
    pub max_token_bytes: u32,
    /// The role of every token.
    #[serde(deserialize_with = "named")]
    pub role: Option<Role>,
    /// The claim that gives the role: a name, or a JSON pointer.
    pub role_claim: Option<String>,
    /// The values of that claim, each with its role.
    #[serde(deserialize_with = "table")]
    pub roles: BTreeMap<String, Role>,
    /// The accounts of every token.
    #[serde(deserialize_with = "list")]
    pub accounts: Vec<AccountId>,
    /// The claim that names the accounts.
    pub accounts_claim: Option<String>,
    /// Seconds between two fetches at least.
    pub refetch_interval: u32,
    /// Seconds after which keys are fetched again.
    pub max_age: u32,
    /// Seconds after which fetched keys are used no more.
    pub max_stale: u32,
    /// Seconds that a fetch may take.
    pub fetch_timeout: u32,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            jwks_file: None,
            jwks_url: None,
            jwks_ca_file: None,
            algorithms: Algorithm::ALL.to_vec(),
            token_type: "at+jwt".to_owned(),
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

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificates {
    /// The CAs that vouch for clients; no client certificate is taken when absent.
    pub ca_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    /// Whether the TLS handshake fails without one.
    pub require: bool,
    /// Whom certificates name, by a name that stands in the audit trail.
    pub callers: BTreeMap<String, CertificateCaller>,
}

/// A caller with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateCaller {
    pub subject: Option<String>,
    pub dns: Option<String>,
    pub uri: Option<String>,
    pub sha256: Option<String>,
    #[serde(deserialize_with = "named")]
    pub role: Option<Role>,
    #[serde(deserialize_with = "list")]
    pub accounts: Vec<AccountId>,
}

/// Proxies in front of the service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Where they are. Only they are listened to.
    #[serde(deserialize_with = "list")]
    pub addresses: Vec<ProxyAddress>,
    /// The header field with the client's certificate.
    pub certificate_header: Option<String>,
    pub certificate_encoding: CertificateEncoding,
    /// The header field with the client's address.
    pub address_header: Option<AddressHeader>,
}

impl Config {
    pub(super) fn validate_proofs(&self) -> Result<(), ConfigError> {
        for (name, issuer) in &self.oauth.issuers {
            let key = |key: &str| format!("oauth.issuers.{name}.{key}");
            check_name(name, "oauth.issuers")?;
            issuer.validate(&key)?;
            let same = |other: &&Issuer| other.issuer == issuer.issuer;
            if self.oauth.issuers.values().filter(same).count() > 1 {
                return wrong(key("issuer"), "is the one of another issuer too");
            }
        }
        for (name, caller) in &self.client_certificates.callers {
            check_name(name, "client_certificates.callers")?;
            caller.validate(name)?;
        }
        self.validate_certificates()
    }

    fn validate_certificates(&self) -> Result<(), ConfigError> {
        let (certificates, proxy) = (&self.client_certificates, &self.proxy);
        let taken = certificates.ca_file.is_some();
        let tls = self.server.tls_certificate.is_some();
        let alone = [
            (certificates.require, "client_certificates.require"),
            (
                certificates.crl_file.is_some(),
                "client_certificates.crl_file",
            ),
            (
                !certificates.callers.is_empty(),
                "client_certificates.callers",
            ),
            (
                proxy.certificate_header.is_some(),
                "proxy.certificate_header",
            ),
        ];
        if let Some((_, key)) = alone.into_iter().find(|(set, _)| *set && !taken) {
            return wrong(
                key,
                "needs `client_certificates.ca_file`, which says who vouches for clients",
            );
        }
        if taken && !tls && proxy.certificate_header.is_none() {
            return wrong(
                "client_certificates.ca_file",
                "needs `server.tls_certificate`, or `proxy.certificate_header` if a proxy ends TLS",
            );
        }
        if certificates.require && !tls {
            return wrong(
                "client_certificates.require",
                "needs `server.tls_certificate`",
            );
        }
        let told = proxy.certificate_header.is_some() || proxy.address_header.is_some();
        if told && proxy.addresses.is_empty() {
            return wrong(
                "proxy.addresses",
                "is empty, so that no proxy could be listened to",
            );
        }
        if let Some(name) = &proxy.certificate_header {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(plain) {
                return wrong(
                    "proxy.certificate_header",
                    "is a name of lower-case letters, digits and `-`, such as `client-cert`",
                );
            }
            if matches!(
                name.as_str(),
                "authorization" | "forwarded" | "x-forwarded-for"
            ) {
                return wrong("proxy.certificate_header", "has another meaning already");
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
                    "is `https://host/path`: keys that anybody on the way could replace prove nothing",
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
            return wrong(
                key("algorithms"),
                "is empty, so that no token could be taken",
            );
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
                    "is the one role of all tokens, or `role_claim` and `roles` say how a token gives one; set either",
                );
            }
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

impl CertificateCaller {
    fn validate(&self, name: &str) -> Result<(), ConfigError> {
        let key = |key: &str| format!("client_certificates.callers.{name}.{key}");
        let by = [
            ("subject", &self.subject),
            ("dns", &self.dns),
            ("uri", &self.uri),
            ("sha256", &self.sha256),
        ];
        let mut set = by
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)));
        match (set.next(), set.next()) {
            (Some((_, text)), None) if !text.is_empty() => {}
            _ => {
                return wrong(
                    key("subject"),
                    "or exactly one of `dns`, `uri` and `sha256` says which certificates are meant",
                );
            }
        }
        if self.dns.as_ref().is_some_and(|dns| dns.contains('*')) {
            return wrong(key("dns"), "has a `*`, which would stand for nothing");
        }
        if self.role.is_none() {
            return wrong(key("role"), "is missing");
        }
        Ok(())
    }
}

/// The environment knows no upper case, and the audit trail separates with `:`.
fn check_name(name: &str, section: &str) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    wrong(
        section.to_owned(),
        "has a name that is not 1 to 32 lower-case letters, digits, `-` or `_`",
    )
}

fn is_https(url: &str) -> bool {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    !host.is_empty()
        && !host.contains('@')
        && !rest.contains('#')
        && rest.bytes().all(|b| b.is_ascii_graphic())
}
