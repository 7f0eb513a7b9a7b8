//! `[server]`: the listener of the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::address::socket_address;
use super::bounds::{at_least_one, within, wrong};
use super::{ConfigError, Proxy};
use crate::domain::network::web_url::{WebUrl, WebUrlError};

/// The most connections from one address, if the configuration names no other number.
const DEFAULT_SHARE: usize = 1_000;

/// The API's listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// The base URL under which clients and CAs reach the service: `iss`, and the start of `x5u`.
    pub public_url: String,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// The passphrase of an encrypted TLS key.
    pub tls_passphrase_file: Option<PathBuf>,
    /// Seconds after which the files of TLS, of client CAs and of issuers' keys are checked for
    /// changes.
    pub tls_poll_interval: u32,
    /// Whether a proxy terminates TLS. Plain HTTP is then permitted on any address, not only on
    /// loopback.
    pub behind_proxy: bool,
    /// Threads that serve HTTP; one per core when absent.
    pub workers: Option<usize>,
    /// The longest request body, in bytes.
    pub max_body_bytes: usize,
    /// The same for a bulk of token requests.
    pub max_bulk_body_bytes: usize,
    /// Seconds that a client has to send a request.
    pub request_timeout: u64,
    /// Seconds without progress after which a client that does not read its answers is
    /// disconnected.
    pub write_timeout: u64,
    /// Connections that are open at the same time.
    pub max_connections: usize,
    /// Of these, the most from one IPv4 address, or one IPv6 /64; 0 means no limit.
    pub max_connections_per_address: Option<usize>,
    /// Requests in progress at the same time; further ones get 503.
    pub max_requests: usize,
    /// Seconds for requests in progress to finish when the service stops.
    pub shutdown_timeout: u64,
    /// Seconds after which `/readyz` counts a commit no longer as a proof that tokens can be
    /// recorded.
    pub ready_age: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            public_url: "https://localhost:8443".to_owned(),
            tls_certificate: None,
            tls_key: None,
            tls_passphrase_file: None,
            tls_poll_interval: 10,
            behind_proxy: false,
            workers: None,
            max_body_bytes: 262_144,
            max_bulk_body_bytes: 2_097_152,
            request_timeout: 10,
            write_timeout: 30,
            max_connections: 10_000,
            max_connections_per_address: None,
            max_requests: 5_000,
            shutdown_timeout: 20,
            ready_age: 3,
        }
    }
}

impl Server {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(why) = public_url_fault(&self.public_url) {
            return wrong("server.public_url", why);
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return wrong(
                "server.tls_certificate",
                "and `server.tls_key` go together; one of them is missing",
            );
        }
        // Tokens must travel over a confidential transport (RFC 9447 §7).
        let plain = self.tls_certificate.is_none() && !self.behind_proxy;
        if plain && !self.listen.ip().is_loopback() {
            return wrong(
                "server.listen",
                format!(
                    "is `{}`, where plain HTTP would expose tokens; set `server.tls_certificate` and \
                     `server.tls_key`, or `server.behind_proxy = true` if a proxy terminates TLS",
                    self.listen
                ),
            );
        }
        if let Some(workers) = self.workers {
            within("server.workers", workers as u64, 512)?;
        }
        let (connections, requests) = (self.max_connections, self.max_requests);
        within("server.max_connections", connections as u64, 1_000_000)?;
        within("server.max_requests", requests as u64, 1_000_000)?;
        within("server.ready_age", self.ready_age.into(), 60)?;
        at_least_one("server.max_body_bytes", self.max_body_bytes as u64)?;
        if let Some(share) = self.max_connections_per_address
            && share > connections
        {
            return wrong(
                "server.max_connections_per_address",
                format!("is {share}, more than `server.max_connections`, which is {connections}"),
            );
        }
        at_least_one("server.tls_poll_interval", self.tls_poll_interval.into())?;
        at_least_one("server.request_timeout", self.request_timeout)?;
        at_least_one("server.write_timeout", self.write_timeout)
    }

    /// The most connections from one address, given how many can be open. The default leaves room
    /// for three others, and is no limit behind a proxy that is not named, since all connections
    /// come from it.
    #[must_use]
    pub fn share_of_an_address(&self, connections: usize, proxy: &Proxy) -> Option<usize> {
        match self.max_connections_per_address {
            Some(0) => None,
            Some(share) => Some(share),
            None if self.behind_proxy && proxy.addresses.is_empty() => None,
            None => Some(DEFAULT_SHARE.min(connections / 4).max(1)),
        }
    }
}

/// The URL goes into tokens unchanged, so it has one form: `https://host[:port][/path]`.
fn public_url_fault(url: &str) -> Option<&'static str> {
    if !url.starts_with("https://") {
        return Some("must start with `https://` (RFC 7515 §4.1.5)");
    }
    if url.ends_with('/') {
        return Some("must not end with `/`");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
    match url.parse::<WebUrl>() {
        Ok(_) if url.bytes().all(allowed) => None,
        Err(WebUrlError::Host) => Some("has no host, or one that is not in its usual form"),
        Ok(_) | Err(_) => Some(
            "must be `https://host`, with an optional port and path; no user, query, fragment or white space",
        ),
    }
}
