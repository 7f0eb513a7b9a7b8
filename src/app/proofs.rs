//! From the configuration to who is trusted to prove callers.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::callers::{
    AccountsFrom, AnchorsError, CertificateCaller, Claim, ClientCertificates, Endpoint,
    EndpointError, Issuer, IssuerError, IssuerSettings, KeySettings, Match, Origin, Proxies,
    RoleFrom, Trust,
};
use crate::config::{self, Config};
use crate::domain::{Clock, Role};
use crate::telemetry::{Metrics, TelemetryError};

/// Why callers cannot be proven as the configuration says.
#[derive(Debug, Error)]
pub enum ProofsError {
    #[error("`{path}` cannot be read: {error}")]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("`oauth.issuers.{name}`: {error}")]
    Issuer { name: String, error: IssuerError },
    #[error("`oauth.issuers.{name}.jwks_url`: {error}")]
    Endpoint { name: String, error: EndpointError },
    #[error("`client_certificates`: {0}")]
    Anchors(#[from] AnchorsError),
    #[error("`client_certificates.callers.{0}.sha256` is not 32 bytes in hex, with or without `:`")]
    Sha256(String),
    #[error("`{0}` gives no role")]
    NoRole(String),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Who is trusted to prove callers, besides API keys. Reads the files of client certificates; keys of issuers are had
/// later.
///
/// # Errors
/// [`ProofsError`] names the key that is wrong.
pub(super) fn trust(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Trust, ProofsError> {
    let issuers = config.oauth.issuers.iter();
    let issuers = issuers.map(|(name, section)| issuer(name, section, clock, metrics));
    let proxy = &config.proxy;
    Ok(Trust {
        issuers: issuers.collect::<Result<_, _>>()?,
        certificates: certificates(&config.client_certificates)?,
        proxies: Proxies {
            addresses: proxy.addresses.clone(),
            certificate_header: proxy.certificate_header.clone(),
            certificate_encoding: proxy.certificate_encoding,
            address_header: proxy.address_header,
        },
    })
}

/// A line for each issuer: its keys are read, or fetched, once.
///
/// # Errors
/// [`ProofsError`] if the configuration itself is wrong.
pub fn check_issuers(config: &Config, clock: &Clock) -> Result<Vec<Checked>, ProofsError> {
    let metrics = Arc::new(Metrics::new()?);
    let trust = trust(config, clock, &metrics)?;
    let checked = trust.issuers.iter().map(|issuer| Checked {
        name: issuer.name().to_owned(),
        keys: issuer.check(),
    });
    Ok(checked.collect())
}

/// What became of the keys of an issuer.
#[derive(Debug)]
pub struct Checked {
    pub name: String,
    /// How many can be used, and what is wrong with the others.
    pub keys: Result<(usize, Vec<String>), IssuerError>,
}

fn issuer(
    name: &str,
    section: &config::Issuer,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Issuer, ProofsError> {
    let settings = IssuerSettings {
        issuer: section.issuer.clone(),
        audience: section.audience.clone(),
        algorithms: section.algorithms.clone(),
        token_type: section.token_type.clone(),
        leeway: section.leeway,
        max_lifetime: section.max_lifetime,
        max_token_bytes: usize::try_from(section.max_token_bytes).unwrap_or(usize::MAX),
        role: match (section.role, &section.role_claim) {
            (Some(role), _) => RoleFrom::Fixed(role),
            (None, Some(claim)) => RoleFrom::Claim(Claim(claim.clone()), section.roles.clone()),
            (None, None) => return Err(ProofsError::NoRole(format!("oauth.issuers.{name}"))),
        },
        accounts: match &section.accounts_claim {
            Some(claim) => AccountsFrom::Claim(Claim(claim.clone())),
            None => AccountsFrom::Fixed(section.accounts.clone()),
        },
    };
    let keys = KeySettings {
        name: name.to_owned(),
        origin: origin(name, section)?,
        algorithms: section.algorithms.clone(),
        refetch_interval: section.refetch_interval,
        max_age: section.max_age,
        max_stale: section.max_stale,
    };
    let issuer = Issuer::new(settings, keys, clock.clone(), Arc::clone(metrics));
    issuer.map_err(|error| ProofsError::Issuer {
        name: name.to_owned(),
        error,
    })
}

fn origin(name: &str, section: &config::Issuer) -> Result<Origin, ProofsError> {
    let Some(url) = &section.jwks_url else {
        return Ok(Origin::File(section.jwks_file.clone().unwrap_or_default()));
    };
    let roots = section.jwks_ca_file.as_ref().map(|path| {
        fs::read_to_string(path).map_err(|error| ProofsError::Read {
            path: path.clone(),
            error,
        })
    });
    let timeout = Duration::from_secs(section.fetch_timeout.into());
    let endpoint = Endpoint::new(url, roots.transpose()?.as_deref(), timeout);
    let endpoint = endpoint.map_err(|error| ProofsError::Endpoint {
        name: name.to_owned(),
        error,
    });
    Ok(Origin::Https(endpoint?))
}

fn certificates(
    section: &config::ClientCertificates,
) -> Result<Option<ClientCertificates>, ProofsError> {
    let Some(ca_file) = &section.ca_file else {
        return Ok(None);
    };
    let callers = section.callers.iter().map(|(name, caller)| {
        Ok(CertificateCaller {
            name: name.clone(),
            by: by(name, caller)?,
            role: role(name, caller)?,
            accounts: caller.accounts.clone(),
        })
    });
    let callers = callers.collect::<Result<_, ProofsError>>()?;
    let certificates = ClientCertificates::new(ca_file.clone(), section.crl_file.clone(), callers);
    Ok(Some(certificates?))
}

fn by(name: &str, caller: &config::CertificateCaller) -> Result<Match, ProofsError> {
    if let Some(subject) = &caller.subject {
        return Ok(Match::Subject(subject.clone()));
    }
    if let Some(dns) = &caller.dns {
        return Ok(Match::Dns(dns.clone()));
    }
    if let Some(uri) = &caller.uri {
        return Ok(Match::Uri(uri.clone()));
    }
    let digest = caller.sha256.as_deref().and_then(digest);
    let digest = digest.ok_or_else(|| ProofsError::Sha256(name.to_owned()))?;
    Ok(Match::Sha256(digest))
}

fn role(name: &str, caller: &config::CertificateCaller) -> Result<Role, ProofsError> {
    let missing = || ProofsError::NoRole(format!("client_certificates.callers.{name}"));
    caller.role.ok_or_else(missing)
}

/// 32 bytes in hex, as `openssl x509 -fingerprint -sha256` writes them, or without the `:`.
fn digest(text: &str) -> Option<[u8; 32]> {
    let text: String = text.split(':').collect();
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}
