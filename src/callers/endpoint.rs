//! An HTTPS endpoint that publishes keys, named by the configuration. No redirect is followed, no proxy is asked, and an
//! answer has a limit of size and time.

use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::domain::certificate::{self, CertificateError};

/// A key set has a few kilobytes.
pub(super) const MAX_BYTES: usize = 262_144;
const MAX_HEADER_BYTES: usize = 32_768;

/// Why nothing was fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("`{url}` does not answer as it should: {error}")]
    Http {
        url: String,
        error: Box<ureq::Error>,
    },
    #[error("`{url}` answers with status {status}; redirects are not followed")]
    Status { url: String, status: u16 },
}

/// Why there is no endpoint.
#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("`{0}` is not an https URL")]
    NotHttps(String),
    #[error(transparent)]
    Roots(#[from] CertificateError),
}

/// An endpoint, and whom it may be vouched for by.
#[derive(Debug)]
pub struct Endpoint {
    url: String,
    agent: Agent,
}

impl Endpoint {
    /// Trusts the CAs of a PEM text, or those of the system without one. A fetch may take so long, all in all.
    ///
    /// # Errors
    /// [`EndpointError`] if the URL is not https or there is no certificate in the text.
    pub fn new(
        url: &str,
        roots_pem: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        if !url.starts_with("https://") {
            return Err(EndpointError::NotHttps(url.to_owned()));
        }
        let roots = match roots_pem {
            Some(pem) => {
                let roots = certificate::Certificate::chain_from_pem(pem)?;
                let roots = roots
                    .iter()
                    .map(|root| Certificate::from_der(root.as_der()).to_owned());
                RootCerts::new_with_certs(&roots.collect::<Vec<_>>())
            }
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(roots)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(timeout))
            .max_response_header_size(MAX_HEADER_BYTES)
            // A connection is not kept from one fetch to the next: minutes lie between them.
            .max_idle_connections(0)
            .user_agent(concat!("tn-authority/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            url: url.to_owned(),
            agent: config.into(),
        })
    }

    /// What the endpoint answers. Blocks, at most as long as it was said.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let failed = |error| FetchError::Http {
            url: self.url.clone(),
            error: Box::new(error),
        };
        let request = self
            .agent
            .get(&self.url)
            .header("Accept", "application/jwk-set+json, application/json");
        let mut response = request.call().map_err(failed)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status {
                url: self.url.clone(),
                status,
            });
        }
        let body = response.body_mut().with_config().limit(MAX_BYTES as u64);
        body.read_to_vec().map_err(failed)
    }
}
