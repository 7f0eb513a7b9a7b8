//! Requests that this program makes to others: HTTPS with a certificate that is checked, no redirects, and bounds for the
//! size and the time of an answer.
//!
//! A leaf: knows no other room, and nothing of what is asked. Who calls it decides which URLs may be fetched; one that
//! came from a stranger is fetched only if its host is on a list of the operator's.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use ureq::http::uri::Authority;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, http};

/// Longer URLs are not taken.
const MAX_URL: usize = 2048;
/// Bytes of an answer's head.
const MAX_HEAD: usize = 32_768;
const USER_AGENT: &str = concat!("tn-authority/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum OutgoingError {
    #[error(
        "a URL is `https://`, a host and a path, without user, password or fragment, and has at most {MAX_URL} characters"
    )]
    Url,
    #[error("a host is a name or an address, with `:` and a port if it is not 443")]
    Host,
    #[error("the roots for TLS cannot be read: {0}")]
    Roots(String),
    #[error("`{url}`: the answer is longer than {limit} bytes")]
    TooLong { url: HttpsUrl, limit: u64 },
    #[error("`{url}`: no answer within {seconds} seconds")]
    Late { url: HttpsUrl, seconds: u64 },
    #[error("`{url}`: {why}")]
    Failed { url: HttpsUrl, why: String },
}

/// An absolute https URL with a host, no user and no fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    text: String,
    /// Boxed, since each error names a URL.
    host: Box<HostPort>,
}

impl HttpsUrl {
    /// The URL, byte for byte what was read.
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
        let plain = text.len() <= MAX_URL
            && text.starts_with("https://")
            && !text.contains(['#', '\\'])
            && text.bytes().all(|b| b.is_ascii_graphic());
        let uri: http::Uri = text.parse().map_err(|_| OutgoingError::Url)?;
        let host = uri.authority().filter(|_| plain).and_then(HostPort::of);
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
    /// None if there is a user too, or what is no name, no address, or no port.
    fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host)? {
            "" => 443,
            after => {
                let port = after.strip_prefix(':')?;
                // `u16` also reads a sign.
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                port.parse().ok().filter(|_| digits)?
            }
        };
        let is_named = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let named = !host.is_empty() && host.bytes().all(is_named);
        let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let numbered = inside.is_some_and(|h| h.parse::<Ipv6Addr>().is_ok());
        (named || numbered).then(|| Self {
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

/// How much is waited for and read.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// Bytes of an answer's body.
    pub body: u64,
    /// From the resolution of the name to the last byte.
    pub time: Duration,
}

/// The way to who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By no proxy.
    Direct,
    /// By the proxies that the environment names (`HTTPS_PROXY`, `NO_PROXY`).
    Environment,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum HttpRequest<'a> {
    Get,
    Head,
    Post { media_type: &'a str, body: &'a [u8] },
    Put { media_type: &'a str, body: &'a [u8] },
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl HttpReply {
    /// A header field, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client. Each request has a connection of its own, so that none is lost to one that the server has closed.
#[derive(Debug, Clone)]
pub struct Outgoing {
    agent: Agent,
    limits: ReplyLimits,
}

impl Outgoing {
    /// A client that trusts the roots of a PEM text and no others; without one, those of the system.
    ///
    /// # Errors
    /// [`OutgoingError::Roots`] if the text holds no certificate.
    pub fn new(
        roots_pem: Option<&str>,
        limits: ReplyLimits,
        way: Way,
    ) -> Result<Self, OutgoingError> {
        let config = Agent::config_builder()
            .tls_config(tls(roots_pem)?)
            .https_only(true)
            .http_status_as_error(false)
            // A redirect is an answer, and nobody here follows it.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(MAX_HEAD)
            .user_agent(USER_AGENT);
        let config = match way {
            Way::Direct => config.proxy(None),
            // What the builder does unasked.
            Way::Environment => config,
        };
        Ok(Self {
            agent: config.build().into(),
            limits,
        })
    }

    /// Asks, and reads the whole answer. `within` shortens the time that the limits allow.
    ///
    /// # Errors
    /// [`OutgoingError`] if there is no whole answer in time.
    pub fn send(
        &self,
        url: &HttpsUrl,
        ask: HttpRequest<'_>,
        headers: &[(&str, &str)],
        within: Duration,
    ) -> Result<HttpReply, OutgoingError> {
        let time = self.limits.time.min(within);
        let failed = |error: ureq::Error| Self::failure(url, &error, time);
        let mut request = http::Request::builder().uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (method, content) = match ask {
            HttpRequest::Get => ("GET", None),
            HttpRequest::Head => ("HEAD", None),
            HttpRequest::Post { media_type, body } => ("POST", Some((media_type, body))),
            HttpRequest::Put { media_type, body } => ("PUT", Some((media_type, body))),
        };
        let request = request.method(method);
        let answer = match content {
            None => self.run(request.body(()), time),
            Some((media_type, body)) => {
                let request = request.header("Content-Type", media_type);
                self.run(request.body(body), time)
            }
        };
        let mut answer = answer.map_err(failed)?;
        let body = answer.body_mut().with_config().limit(self.limits.body);
        let body = body.read_to_vec().map_err(failed)?;
        Ok(HttpReply {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
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
            },
        }
    }
}

/// TLS that trusts the roots of a PEM text and no others; without one, those of the system.
///
/// # Errors
/// [`OutgoingError::Roots`] if the text holds no certificate.
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
            "there is no certificate in it".to_owned(),
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
            assert!(wrong.parse::<HttpsUrl>().is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_host_means_port_443_unless_it_says_another() {
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
            assert!(host(wrong).is_err(), "{wrong} was taken");
        }
    }
}
