//! Authentication as configured: access tokens, client certificates, proxies.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::callers::{
    AccountsFrom, AnchorsError, CertificateCaller, ClaimPath, ClientCertificates, CrlSettings,
    Endpoint, EndpointError, Issuer, IssuerError, IssuerSettings, KeySettings, Match, Origin,
    Proxies, RoleFrom, TokenType, Trust,
};
use crate::config::{self, Config};
use crate::domain::{Clock, Role};
use crate::telemetry::{Metrics, TelemetryError};

/// A fault in the configuration of authentication.
#[derive(Debug, Error)]
pub enum AuthenticationError {
    #[error("`oauth.issuers.{name}`: {error}")]
    Issuer { name: String, error: IssuerError },
    #[error("`oauth.issuers.{name}`: {error}")]
    Endpoint { name: String, error: EndpointError },
    #[error("`client_certificates`: {0}")]
    Anchors(#[from] AnchorsError),
    #[error(
        "`client_certificates.callers.{0}.sha256` must be 32 bytes in hex, with or without `:`"
    )]
    Sha256(String),
    #[error("`{0}` has no role; set `role`")]
    NoRole(String),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Everything that authenticates callers, besides API keys. Reads the files of client certificates;
/// the keys of issuers are fetched later.
///
/// # Errors
/// [`AuthenticationError`] names the key that is wrong.
pub(super) fn trust(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Trust, AuthenticationError> {
    let issuers = config.oauth.issuers.iter();
    let issuers = issuers.map(|(name, section)| issuer(name, section, clock, metrics));
    Ok(Trust {
        issuers: issuers.collect::<Result<_, _>>()?,
        certificates: certificates(&config.client_certificates, metrics)?,
        proxies: proxies(&config.proxy),
    })
}

/// Reads or fetches the keys of each issuer once, and reports how many can be used.
///
/// # Errors
/// [`AuthenticationError`] if the configuration itself is wrong.
pub fn check_issuers(
    config: &Config,
    clock: &Clock,
) -> Result<Vec<CheckedIssuer>, AuthenticationError> {
    let metrics = Arc::new(Metrics::new()?);
    let trust = trust(config, clock, &metrics)?;
    let checked = trust.issuers.iter().map(|issuer| CheckedIssuer {
        name: issuer.name().to_owned(),
        keys: issuer.check(),
    });
    Ok(checked.collect())
}

/// The outcome of reading an issuer's keys.
#[derive(Debug)]
pub struct CheckedIssuer {
    pub name: String,
    /// The number of usable keys, and why the others cannot be used.
    pub keys: Result<(usize, Vec<String>), IssuerError>,
}

fn issuer(
    name: &str,
    section: &config::Issuer,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Issuer, AuthenticationError> {
    let issuer = Issuer::new(
        issuer_settings(name, section)?,
        key_settings(name, section)?,
        clock.clone(),
        Arc::clone(metrics),
    );
    issuer.map_err(|error| AuthenticationError::Issuer {
        name: name.to_owned(),
        error,
    })
}

fn issuer_settings(
    name: &str,
    section: &config::Issuer,
) -> Result<IssuerSettings, AuthenticationError> {
    Ok(IssuerSettings {
        issuer: section.issuer.clone(),
        audience: section.audience.clone(),
        audience_claim: ClaimPath(section.audience_claim.clone()),
        algorithms: section.algorithms.clone(),
        token_type: match section.token_type.as_str() {
            config::NO_TOKEN_TYPE => TokenType::None,
            typ => TokenType::Typ(typ.to_owned()),
        },
        required_claims: required_claims(section),
        leeway: section.leeway,
        max_lifetime: section.max_lifetime,
        max_token_bytes: usize::try_from(section.max_token_bytes).unwrap_or(usize::MAX),
        role: match (section.role, &section.role_claim) {
            (Some(role), _) => RoleFrom::Fixed(role),
            (None, Some(claim)) => {
                RoleFrom::ClaimPath(ClaimPath(claim.clone()), section.roles.clone())
            }
            (None, None) => {
                return Err(AuthenticationError::NoRole(format!("oauth.issuers.{name}")));
            }
        },
        accounts: match &section.accounts_claim {
            Some(claim) => AccountsFrom::ClaimPath(ClaimPath(claim.clone())),
            None => AccountsFrom::Fixed(section.accounts.clone()),
        },
    })
}

fn required_claims(section: &config::Issuer) -> Vec<(ClaimPath, String)> {
    let required = section.required_claims.iter();
    required
        .map(|(claim, value)| (ClaimPath(claim.clone()), value.clone()))
        .collect()
}

fn key_settings(name: &str, section: &config::Issuer) -> Result<KeySettings, AuthenticationError> {
    Ok(KeySettings {
        name: name.to_owned(),
        origin: origin(name, section)?,
        algorithms: section.algorithms.clone(),
        refetch_interval: section.refetch_interval,
        max_age: section.max_age,
        max_stale: section.max_stale,
    })
}

fn origin(name: &str, section: &config::Issuer) -> Result<Origin, AuthenticationError> {
    let Some(url) = &section.jwks_url else {
        return Ok(Origin::File(section.jwks_file.clone().unwrap_or_default()));
    };
    let timeout = Duration::from_secs(section.fetch_timeout.into());
    let endpoint = Endpoint::new(url, section.jwks_ca_file.clone(), timeout);
    let endpoint = endpoint.map_err(|error| AuthenticationError::Endpoint {
        name: name.to_owned(),
        error,
    });
    Ok(Origin::Https(endpoint?))
}

fn certificates(
    section: &config::ClientCertificates,
    metrics: &Arc<Metrics>,
) -> Result<Option<ClientCertificates>, AuthenticationError> {
    let Some(ca_file) = &section.ca_file else {
        return Ok(None);
    };
    let callers = section.callers.iter().map(|(name, caller)| {
        Ok(CertificateCaller {
            name: name.clone(),
            by: criterion(name, caller)?,
            role: role(name, caller)?,
            accounts: caller.accounts.clone(),
        })
    });
    let callers = callers.collect::<Result<_, AuthenticationError>>()?;
    let crls = section.crl_file.clone().map(|file| CrlSettings {
        file,
        grace: section.crl_grace,
    });
    let certificates = ClientCertificates::new(ca_file.clone(), crls, callers, metrics);
    Ok(Some(certificates?))
}

fn proxies(section: &config::Proxy) -> Proxies {
    Proxies {
        addresses: section.addresses.clone(),
        certificate_header: section.certificate_header.clone(),
        certificate_encoding: section.certificate_encoding,
        certificate_chain_header: section.certificate_chain_header.clone(),
        address_header: section.address_header,
    }
}

fn criterion(name: &str, caller: &config::CertificateCaller) -> Result<Match, AuthenticationError> {
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
    let digest = digest.ok_or_else(|| AuthenticationError::Sha256(name.to_owned()))?;
    Ok(Match::Sha256(digest))
}

fn role(name: &str, caller: &config::CertificateCaller) -> Result<Role, AuthenticationError> {
    let missing = || AuthenticationError::NoRole(format!("client_certificates.callers.{name}"));
    caller.role.ok_or_else(missing)
}

/// Reads 32 bytes in hex, with `:` as `openssl x509 -fingerprint -sha256` writes them, or without.
fn digest(text: &str) -> Option<[u8; 32]> {
    let text: String = text.split(':').collect();
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}
