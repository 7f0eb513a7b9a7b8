//! `[facade]`: the facade in the shape of an STI-PA.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::wrong;

/// The facade for clients of STI-PAs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facade {
    pub enabled: bool,
    /// Where the certificates of the tokens are revoked: clients download it, and take no token without.
    pub crl_url: Option<String>,
    /// Seconds that an access token lives.
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
            return wrong("facade.access_lifetime", "has to be 1 to 86400 seconds");
        }
        match &self.crl_url {
            None if self.enabled => wrong(
                "facade.crl_url",
                "is missing; the clients of the facade take no token without the URL of a CRL",
            ),
            Some(url) if !is_web_url(url) => wrong(
                "facade.crl_url",
                "is an absolute URL with http or https, without white space",
            ),
            None | Some(_) => Ok(()),
        }
    }
}

fn is_web_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic())
    })
}
