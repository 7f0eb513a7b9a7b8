//! `[server]`: the listener of the API.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{at_least_one, within, wrong};

/// The API's listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    /// What clients and CAs call the service: `iss`, and the front of `x5u`.
    pub public_url: String,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// A proxy in front ends TLS, so that plain HTTP is right also on addresses other than loopback.
    pub behind_proxy: bool,
    /// Threads that serve HTTP; one a core when absent.
    pub workers: Option<usize>,
    pub max_body_bytes: usize,
    /// The same for a bulk of requests for tokens.
    pub max_bulk_body_bytes: usize,
    /// Seconds that a client has to send a request.
    pub request_timeout: u64,
    /// Connections that are open at one time.
    pub max_connections: usize,
    /// Requests that are worked on at one time; more are answered 503.
    pub max_requests: usize,
    /// Seconds that requests under way get when the service stops.
    pub shutdown_timeout: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            public_url: "https://localhost:8443".to_owned(),
            tls_certificate: None,
            tls_key: None,
            behind_proxy: false,
            workers: None,
            max_body_bytes: 262_144,
            max_bulk_body_bytes: 2_097_152,
            request_timeout: 10,
            max_connections: 10_000,
            max_requests: 5_000,
            shutdown_timeout: 20,
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
        // Tokens are confidential (RFC 9447 §7).
        let plain = self.tls_certificate.is_none() && !self.behind_proxy;
        if plain && !self.listen.ip().is_loopback() {
            return wrong(
                "server.listen",
                format!(
                    "is `{}`, where plain HTTP would be open to others; set `server.tls_certificate` and \
                     `server.tls_key`, or `server.behind_proxy = true` if a proxy ends TLS",
                    self.listen
                ),
            );
        }
        if let Some(workers) = self.workers {
            within("server.workers", workers as u64, 1_024)?;
        }
        let (connections, requests) = (self.max_connections, self.max_requests);
        within("server.max_connections", connections as u64, 1_000_000)?;
        within("server.max_requests", requests as u64, 1_000_000)?;
        at_least_one("server.max_body_bytes", self.max_body_bytes as u64)?;
        at_least_one("server.request_timeout", self.request_timeout)
    }
}

/// The URL goes into tokens as it stands, so it has one spelling: `https://host[:port][/path]`.
fn public_url_fault(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Some("has to start with `https://` (RFC 7515 §4.1.5)");
    };
    if url.ends_with('/') {
        return Some("must not end with `/`");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
    if rest.starts_with(['/', ':']) || rest.is_empty() {
        return Some("has no host");
    }
    if !rest.bytes().all(allowed) {
        return Some(
            "is `https://host`, with a port and a path if need be; no user, query, fragment or white space",
        );
    }
    None
}
