//! An HTTPS endpoint that publishes keys, named by the configuration. No redirect is followed, no proxy is asked, and an
//! answer has a limit of size and time.

use std::time::Duration;

use thiserror::Error;

use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing, OutgoingError, ReplyLimits, Way};

/// A key set has a few kilobytes.
pub(super) const MAX_BYTES: usize = 262_144;

/// Why nothing was fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    #[error("`{url}` answers with status {status}; redirects are not followed")]
    Status { url: HttpsUrl, status: u16 },
}

/// Why there is no endpoint.
#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("`{url}`: {error}")]
    Url { url: String, error: OutgoingError },
    #[error(transparent)]
    Roots(OutgoingError),
}

/// An endpoint, and whom it may be vouched for by.
#[derive(Debug)]
pub struct Endpoint {
    url: HttpsUrl,
    http: Outgoing,
    timeout: Duration,
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
        let limits = ReplyLimits {
            body: MAX_BYTES as u64,
            time: timeout,
        };
        let wrong = |error| EndpointError::Url {
            url: url.to_owned(),
            error,
        };
        Ok(Self {
            url: url.parse().map_err(wrong)?,
            http: Outgoing::new(roots_pem, limits, Way::Direct).map_err(EndpointError::Roots)?,
            timeout,
        })
    }

    /// What the endpoint answers. Blocks, at most as long as it was said.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let accept = [("Accept", "application/jwk-set+json, application/json")];
        let reply = self
            .http
            .send(&self.url, HttpRequest::Get, &accept, self.timeout)?;
        if reply.status != 200 {
            return Err(FetchError::Status {
                url: self.url.clone(),
                status: reply.status,
            });
        }
        Ok(reply.body)
    }
}
