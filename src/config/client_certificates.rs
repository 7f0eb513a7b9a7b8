//! `[client_certificates]`: the CAs of client certificates, and the callers that they authenticate.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{check_name, wrong};
use super::lists::{list, named};
use crate::domain::{AccountId, Role};

/// Why a key about client certificates is invalid without a CA.
pub(super) const NEEDS_CA: &str =
    "needs `client_certificates.ca_file`, the CAs that issue client certificates";

/// Seconds: a week.
const MAX_CRL_GRACE: u32 = 604_800;

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificates {
    /// The CAs that issue client certificates. None is accepted when absent.
    pub ca_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    /// Seconds for which a CRL still counts after it has expired.
    pub crl_grace: u32,
    /// Whether the TLS handshake fails without a client certificate.
    pub require: bool,
    /// The callers that certificates authenticate, by the name that the audit trail uses.
    pub callers: BTreeMap<String, CertificateCaller>,
}

/// A caller that a certificate authenticates.
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

impl ClientCertificates {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (name, caller) in &self.callers {
            check_name(name, "client_certificates.callers")?;
            caller.validate(name)?;
        }
        if self.crl_grace > MAX_CRL_GRACE {
            let why = format!("is {}, more than {MAX_CRL_GRACE}", self.crl_grace);
            return wrong("client_certificates.crl_grace", why);
        }
        let needs_ca = [
            (self.require, "client_certificates.require"),
            (self.crl_file.is_some(), "client_certificates.crl_file"),
            (!self.callers.is_empty(), "client_certificates.callers"),
        ];
        match needs_ca.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, key)) if self.ca_file.is_none() => wrong(key, NEEDS_CA),
            _ => Ok(()),
        }
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
                    "or one of `dns`, `uri` and `sha256` must be set, and only one, to say which certificates match",
                );
            }
        }
        if self.dns.as_ref().is_some_and(|dns| dns.contains('*')) {
            return wrong(key("dns"), "has a `*`; wildcards are not supported");
        }
        if self.role.is_none() {
            return wrong(key("role"), "is missing");
        }
        Ok(())
    }
}
