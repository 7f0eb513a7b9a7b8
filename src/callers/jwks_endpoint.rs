//! Fetches keys from a configured HTTPS endpoint, without redirects or proxies, and with limits on
//! size and time.

use std::time::Duration;

use thiserror::Error;

use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing, OutgoingError, ReplyLimits, Way};

/// Bytes of a key set, which usually has a few thousand.
pub(super) const MAX_BYTES: usize = 262_144;

/// Why a key set was not fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    #[error("`{url}` answered with status {status}; expected 200 (redirects are not followed)")]
    Status { url: HttpsUrl, status: u16 },
}

/// Why an endpoint cannot be configured like this.
#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("`{url}`: {error}")]
    Url { url: String, error: OutgoingError },
    #[error(transparent)]
    Roots(OutgoingError),
}

/// An endpoint, and the client that fetches from it.
#[derive(Debug)]
pub struct Endpoint {
    url: HttpsUrl,
    http: Outgoing,
    timeout: Duration,
}

impl Endpoint {
    /// Trusts the CAs in `roots_pem`, or by default those of the system. `timeout` is for a whole
    /// fetch.
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

    /// Fetches the key set. Blocks until the timeout at most.
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
