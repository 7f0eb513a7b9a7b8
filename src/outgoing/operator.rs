//! Requests to servers that the operator's configuration names, such as a gateway for messages:
//! internal addresses are allowed, and plain HTTP to this machine, or anywhere if the operator says
//! so. No redirects; only the beginning of a response is read.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, http};

use super::{HostPort, MAX_HEAD, MAX_URL, OutgoingError, USER_AGENT, tls};

/// What is read of a response's body.
const MAX_BODY: u64 = 65_536;
/// The most of a timeout that may pass until there is a connection: failing later leaves open
/// whether the server acted.
const CONNECT_SHARE: u32 = 2;

/// Why a text is not the URL of a server that the operator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OperatorUrlError {
    #[error(
        "must be `https://` or `http://` with a host and a path, without user, password or \
         fragment, of at most {MAX_URL} characters"
    )]
    Malformed,
    #[error(
        "is `http://`, which everyone on the way can read; use `https://`, or set \
         `allow_plain = true` for a network of your own"
    )]
    Plain,
}

/// An absolute URL of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorUrl(String);

impl OperatorUrl {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses plain HTTP, unless it does not leave this machine or is `allowed`.
    ///
    /// # Errors
    /// [`OperatorUrlError::Plain`].
    pub fn require_tls(self, allowed: bool) -> Result<Self, OperatorUrlError> {
        let is_tls = self.0.starts_with("https://");
        if is_tls || allowed || self.is_loopback() {
            return Ok(self);
        }
        Err(OperatorUrlError::Plain)
    }

    fn is_loopback(&self) -> bool {
        let uri: Option<http::Uri> = self.0.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let ipv6 = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
            || ipv6.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback())
    }
}

impl FromStr for OperatorUrl {
    type Err = OperatorUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.len() <= MAX_URL
            && (text.starts_with("https://") || text.starts_with("http://"))
            && !text.contains(['#', '\\'])
            && text.bytes().all(|b| b.is_ascii_graphic());
        let uri: Option<http::Uri> = text.parse().ok().filter(|_| is_plain);
        let host = uri.as_ref().and_then(http::Uri::authority);
        match host.and_then(HostPort::of) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(OperatorUrlError::Malformed),
        }
    }
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct OperatorRequest<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(String, String)],
    pub body: Option<&'a [u8]>,
}

/// The beginning of a response.
#[derive(Debug)]
pub struct OperatorReply {
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<String>,
    /// At most the first 64 KiB.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorFailure {
    /// No connection: nothing was sent.
    Unreachable,
    /// TLS failed: nothing was sent.
    Tls,
    /// The request cannot be written, so nothing was sent.
    Unwritable,
    /// No response in time. The server may have acted.
    Timeout,
    /// The connection broke off. The server may have acted.
    Interrupted,
    /// The response is not HTTP. The server may have acted.
    Malformed,
}

/// A client for one server of the operator.
#[derive(Debug, Clone)]
pub struct OperatorClient {
    agent: Agent,
}

impl OperatorClient {
    /// A client that trusts only the roots of a PEM text, or those of the system if there is none.
    ///
    /// # Errors
    /// [`OutgoingError::Roots`] if the text contains no certificate.
    pub fn new(roots_pem: Option<&str>, timeout: Duration) -> Result<Self, OutgoingError> {
        let connect = timeout / CONNECT_SHARE;
        let config = Agent::config_builder()
            .tls_config(tls(roots_pem)?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(MAX_HEAD)
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .proxy(None)
            .user_agent(USER_AGENT)
            .build();
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), Names::default()),
        })
    }

    /// Sends a request, and reads the beginning of the response.
    ///
    /// # Errors
    /// [`OperatorFailure`] if there is none.
    pub fn send(&self, request: OperatorRequest<'_>) -> Result<OperatorReply, OperatorFailure> {
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(request.url);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let sent = match request.body {
            None => builder.body(()).map(|request| self.agent.run(request)),
            Some(body) => builder.body(body).map(|request| self.agent.run(request)),
        };
        let response = sent.map_err(|_| OperatorFailure::Unwritable)?;
        let mut response = response.map_err(|error| failure(&error))?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let mut body = Vec::new();
        let mut reader = response.body_mut().as_reader().take(MAX_BODY);
        // The status has arrived, which is what counts; a body that breaks off is a short one.
        let _ = reader.read_to_end(&mut body);
        Ok(OperatorReply {
            status: response.status().as_u16(),
            retry_after,
            body,
        })
    }
}

/// The system's resolver. A name without an address is not mistaken for a broken connection.
#[derive(Debug, Default)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolved = self.0.resolve(uri, config, timeout);
        resolved.map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })
    }
}

fn failure(error: &ureq::Error) -> OperatorFailure {
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            OperatorFailure::Unreachable
        }
        ureq::Error::Timeout(_) => OperatorFailure::Timeout,
        ureq::Error::NativeTls(_) | ureq::Error::Tls(_) | ureq::Error::TlsRequired => {
            OperatorFailure::Tls
        }
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => OperatorFailure::Unwritable,
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable => OperatorFailure::Unreachable,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => OperatorFailure::Timeout,
            _ => OperatorFailure::Interrupted,
        },
        _ => OperatorFailure::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_does_not_leave_this_machine_unless_allowed() {
        let url = |text: &str| text.parse::<OperatorUrl>().expect(text);
        for text in [
            "https://sms.example/send",
            "http://127.0.0.1:13013/cgi-bin/sendsms",
            "http://127.8.8.8/",
            "http://[::1]:8080/",
            "http://LocalHost/",
        ] {
            assert!(url(text).require_tls(false).is_ok(), "{text}");
        }
        for text in [
            "http://sms.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://[::2]/",
        ] {
            let refused = url(text).require_tls(false);
            assert_eq!(refused, Err(OperatorUrlError::Plain), "{text}");
            assert!(url(text).require_tls(true).is_ok(), "{text}");
        }
    }

    #[test]
    fn only_plain_urls_are_urls() {
        for text in [
            "ftp://sms.example/",
            "https://user@sms.example/",
            "https://user:password@sms.example/",
            "https://sms.example/#x",
            "https://sms.example/a b",
            "https://sms.example:99999/",
            "https://",
            "sms.example/send",
            "HTTPS://sms.example/",
        ] {
            assert!(text.parse::<OperatorUrl>().is_err(), "{text}");
        }
    }
}
