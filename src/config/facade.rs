//! `[facade]`: the API of an STI-PA, for clients that know no other.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::wrong;
use crate::domain::network::web_url::WebUrl;

/// The facade for STI-PA clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facade {
    pub enabled: bool,
    /// The CRL of the signing certificates. Clients download it, and accept no token without it.
    pub crl_url: Option<String>,
    /// Seconds that an access token is valid.
    pub access_lifetime: u32,
}

impl Default for Facade {
    fn default() -> Self {
        Self {
            enabled: false,
            crl_url: None,
            access_lifetime: 3600,
        }
    }
}

impl Facade {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.access_lifetime == 0 || self.access_lifetime > 86_400 {
            return wrong("facade.access_lifetime", "must be 1 to 86400 seconds");
        }
        match &self.crl_url {
            None if self.enabled => wrong(
                "facade.crl_url",
                "is missing; clients of the facade accept no token without a CRL",
            ),
            Some(url) if url.parse::<WebUrl>().is_err() => wrong(
                "facade.crl_url",
                "must be an absolute http or https URL, without user or white space",
            ),
            None | Some(_) => Ok(()),
        }
    }
}
