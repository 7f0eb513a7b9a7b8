//! HTTPS client for requests to other servers: verifies certificates, follows no redirects, and
//! limits the size and time of a response.
//!
//! A leaf module without knowledge of the protocols that use it. The caller decides which URLs may
//! be fetched: an untrusted URL only if its host is on an allowlist of the operator.

mod failure_side;
mod operator;

pub use operator::{
    OperatorClient, OperatorFailure, OperatorReply, OperatorRequest, OperatorUrl, OperatorUrlError,
};

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use ureq::http::uri::Authority;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, http};

pub use failure_side::FailureSide;

/// The longest accepted URL.
const MAX_URL: usize = 2048;
/// The largest accepted response head, in bytes.
const MAX_HEAD: usize = 32_768;
const USER_AGENT: &str = concat!("tn-authority/", env!("CARGO_PKG_VERSION"));

/// Why a request has no usable response.
#[derive(Debug, Error)]
pub enum OutgoingError {
    #[error(
        "a URL must be `https://` with a host and a path, without user, password or fragment, of at \
         most {MAX_URL} characters"
    )]
    Url,
    #[error("a host must be a name or an address, followed by `:` and the port unless it is 443")]
    Host,
    #[error("cannot read the root certificates for TLS: {0}")]
    Roots(String),
    #[error("`{url}`: the response is longer than {limit} bytes")]
    TooLong { url: HttpsUrl, limit: u64 },
    #[error("`{url}`: no response within {seconds} seconds")]
    Late { url: HttpsUrl, seconds: u64 },
    #[error("`{url}`: {why}")]
    Failed {
        url: HttpsUrl,
        why: String,
        side: FailureSide,
    },
}

/// An absolute https URL with a host, no user and no fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    text: String,
    /// Boxed to keep errors small, since each of them contains a URL.
    host: Box<HostPort>,
}

impl HttpsUrl {
    /// The URL, exactly as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host with its port.
    #[must_use]
    pub fn host(&self) -> &HostPort {
        &self.host
    }
}

impl FromStr for HttpsUrl {
    type Err = OutgoingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.len() <= MAX_URL
            && text.starts_with("https://")
            && !text.contains(['#', '\\'])
            && text.bytes().all(|b| b.is_ascii_graphic());
        let uri: http::Uri = text.parse().map_err(|_| OutgoingError::Url)?;
        let host = uri.authority().filter(|_| is_plain).and_then(HostPort::of);
        Ok(Self {
            text: text.to_owned(),
            host: Box::new(host.ok_or(OutgoingError::Url)?),
        })
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A host and a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// `None` if there is a user, or if the host or the port is malformed.
    fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host)? {
            "" => 443,
            suffix => {
                let port = suffix.strip_prefix(':')?;
                // `u16::from_str` would accept a leading `+`.
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                port.parse().ok().filter(|_| digits)?
            }
        };
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = !host.is_empty() && host.bytes().all(is_name_byte);
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_ipv6 = address.is_some_and(|h| h.parse::<Ipv6Addr>().is_ok());
        (is_name || is_ipv6).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// `authority.example`, `authority.example:8443`, `[2001:db8::1]:8443`.
impl FromStr for HostPort {
    type Err = OutgoingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let authority: Option<Authority> = text.parse().ok();
        let host = authority.as_ref().and_then(Self::of);
        host.ok_or(OutgoingError::Host)
    }
}

/// The limits of a response.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// The largest body, in bytes.
    pub body: u64,
    /// The timeout, from resolving the name to reading the last byte.
    pub time: Duration,
}

/// Whether requests go through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// No proxy.
    Direct,
    /// The proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`).
    Environment,
}

/// A method, with the body if it has one.
#[derive(Debug, Clone, Copy)]
pub enum HttpRequest<'a> {
    Get,
    Head,
    Post { media_type: &'a str, body: &'a [u8] },
    Put { media_type: &'a str, body: &'a [u8] },
}

/// A response with any status.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl HttpReply {
    /// The value of a header field, if it is present and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client. It opens a new connection for each request, so that none fails because the server has
/// closed an idle one.
#[derive(Debug, Clone)]
pub struct Outgoing {
    agent: Agent,
    limits: ReplyLimits,
}

impl Outgoing {
    /// A client that trusts only the roots of a PEM text, or those of the system if there is none.
    ///
    /// # Errors
    /// [`OutgoingError::Roots`] if the text contains no certificate.
    pub fn new(
        roots_pem: Option<&str>,
        limits: ReplyLimits,
        way: Way,
    ) -> Result<Self, OutgoingError> {
        let config = Agent::config_builder()
            .tls_config(tls(roots_pem)?)
            .https_only(true)
            .http_status_as_error(false)
            // Do not follow a redirect: return it as the response.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(MAX_HEAD)
            .user_agent(USER_AGENT);
        let config = match way {
            Way::Direct => config.proxy(None),
            // The builder's default.
            Way::Environment => config,
        };
        Ok(Self {
            agent: config.build().into(),
            limits,
        })
    }

    /// Sends a request and reads the whole response. `within` can shorten the timeout of the
    /// limits.
    ///
    /// # Errors
    /// [`OutgoingError`] if the complete response does not arrive in time.
    pub fn send(
        &self,
        url: &HttpsUrl,
        request: HttpRequest<'_>,
        headers: &[(&str, &str)],
        within: Duration,
    ) -> Result<HttpReply, OutgoingError> {
        let time = self.limits.time.min(within);
        let failed = |error: ureq::Error| Self::failure(url, &error, time);
        let mut builder = http::Request::builder().uri(url.as_str());
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (method, content) = match request {
            HttpRequest::Get => ("GET", None),
            HttpRequest::Head => ("HEAD", None),
            HttpRequest::Post { media_type, body } => ("POST", Some((media_type, body))),
            HttpRequest::Put { media_type, body } => ("PUT", Some((media_type, body))),
        };
        let builder = builder.method(method);
        let response = match content {
            None => self.run(builder.body(()), time),
            Some((media_type, body)) => {
                let builder = builder.header("Content-Type", media_type);
                self.run(builder.body(body), time)
            }
        };
        let mut response = response.map_err(failed)?;
        let body = response.body_mut().with_config().limit(self.limits.body);
        let body = body.read_to_vec().map_err(failed)?;
        Ok(HttpReply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        request: Result<http::Request<B>, http::Error>,
        time: Duration,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let configured = self.agent.configure_request(request?);
        let request = configured.timeout_global(Some(time)).build();
        self.agent.run(request)
    }

    fn failure(url: &HttpsUrl, error: &ureq::Error, time: Duration) -> OutgoingError {
        let url = url.clone();
        match error {
            ureq::Error::BodyExceedsLimit(limit) => OutgoingError::TooLong { url, limit: *limit },
            ureq::Error::Timeout(_) => OutgoingError::Late {
                url,
                seconds: time.as_secs(),
            },
            other => OutgoingError::Failed {
                url,
                why: other.to_string(),
                side: FailureSide::of(other),
            },
        }
    }
}

/// TLS that trusts only the roots of a PEM text, or those of the system if there is none.
///
/// # Errors
/// [`OutgoingError::Roots`] if the text contains no certificate.
pub fn tls(roots_pem: Option<&str>) -> Result<TlsConfig, OutgoingError> {
    let roots = match roots_pem {
        None => RootCerts::PlatformVerifier,
        Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
    Ok(tls.root_certs(roots).build())
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, OutgoingError> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        let item = item.map_err(|e| OutgoingError::Roots(e.to_string()))?;
        if let PemItem::Certificate(certificate) = item {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(OutgoingError::Roots(
            "the file contains no certificate".to_owned(),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_urls_are_urls() {
        for (url, host) in [
            (
                "https://authority.example/certs/1.pem",
                "authority.example:443",
            ),
            ("https://Authority.Example:8443", "authority.example:8443"),
            ("https://[2001:db8::1]:8443/x?y=z", "[2001:db8::1]:8443"),
            ("https://127.0.0.1/", "127.0.0.1:443"),
        ] {
            let (host, port) = host.rsplit_once(':').expect("a port");
            let host = HostPort {
                host: host.to_owned(),
                port: port.parse().expect("a port"),
            };
            assert_eq!(url.parse::<HttpsUrl>().expect(url).host(), &host);
        }
        let long = format!("https://a/{}", "x".repeat(MAX_URL));
        for wrong in [
            "http://authority.example/",
            "https://",
            "https:///path",
            "https://user@host/",
            "https://user:password@host/",
            "https://host/#fragment",
            "https://host\\@evil/",
            "https://host/a b",
            "https://host:99999/",
            "https://host:/",
            "https://host:+443/",
            "https://host@host/",
            "https://ho\u{0301}st/",
            "HTTPS://host/",
            "file:///etc/passwd",
            &long,
        ] {
            assert!(wrong.parse::<HttpsUrl>().is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_host_without_a_port_means_port_443() {
        let host = |text: &str| text.parse::<HostPort>();
        assert_eq!(
            host("a.example").expect("a host"),
            host("A.example:443").expect("a host")
        );
        assert_ne!(
            host("a.example").expect("a host"),
            host("a.example:8443").expect("a host")
        );
        for wrong in [
            "",
            ":443",
            "a/b",
            "*.example",
            "a.example:x",
            "a:b:1",
            "a:+1",
            "a@a",
            "[::g]",
        ] {
            assert!(host(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
