//! Fetches keys from a configured HTTPS endpoint, without redirects or proxies, and with limits on
//! size and time.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::RwLock;
use thiserror::Error;

use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing, OutgoingError, ReplyLimits, Way};
use crate::regular_file::WatchedFile;

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
    #[error("`{path}` cannot be used as `jwks_ca_file`: {why}")]
    CaFile { path: PathBuf, why: String },
}

/// An endpoint, and the client that fetches from it.
#[derive(Debug)]
pub struct Endpoint {
    url: HttpsUrl,
    http: RwLock<Outgoing>,
    ca_file: Option<WatchedFile>,
    timeout: Duration,
}

impl Endpoint {
    /// Trusts the CAs in `ca_file`, or by default those of the system. `timeout` is for a whole
    /// fetch.
    ///
    /// # Errors
    /// [`EndpointError`] if the URL is not https or there is no certificate in the file.
    pub fn new(
        url: &str,
        ca_file: Option<PathBuf>,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        let wrong = |error| EndpointError::Url {
            url: url.to_owned(),
            error,
        };
        let ca_file = ca_file.map(WatchedFile::new);
        Ok(Self {
            url: url.parse().map_err(wrong)?,
            http: RwLock::new(client(ca_file.as_ref(), timeout)?),
            ca_file,
            timeout,
        })
    }

    pub(super) const fn ca_file(&self) -> Option<&WatchedFile> {
        self.ca_file.as_ref()
    }

    /// Reads the file of the CAs again, for the fetches from now on.
    ///
    /// # Errors
    /// [`EndpointError`] if it is faulty. It changes nothing then.
    pub(super) fn read_ca_file_again(&self) -> Result<(), EndpointError> {
        let client = client(self.ca_file.as_ref(), self.timeout)?;
        *self.http.write() = client;
        Ok(())
    }

    /// Fetches the key set. Blocks until the timeout at most.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        let accept = [("Accept", "application/jwk-set+json, application/json")];
        // A fetch under way does not keep the CAs from being replaced.
        let http = self.http.read().clone();
        let reply = http.send(&self.url, HttpRequest::Get, &accept, self.timeout)?;
        if reply.status != 200 {
            return Err(FetchError::Status {
                url: self.url.clone(),
                status: reply.status,
            });
        }
        Ok(reply.body)
    }
}

fn client(ca_file: Option<&WatchedFile>, timeout: Duration) -> Result<Outgoing, EndpointError> {
    let limits = ReplyLimits {
        body: MAX_BYTES as u64,
        time: timeout,
    };
    let Some(file) = ca_file else {
        return Outgoing::new(None, limits, Way::Direct).map_err(EndpointError::Roots);
    };
    let unusable = |why: String| EndpointError::CaFile {
        path: file.path().to_owned(),
        why,
    };
    let pem = file
        .read_text()
        .map_err(|error| unusable(error.to_string()))?;
    Outgoing::new(Some(&pem), limits, Way::Direct).map_err(|error| unusable(error.to_string()))
}
