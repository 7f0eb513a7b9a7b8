//! `http` and `https` URLs that all software parses alike: those in the configuration, and webhook
//! targets.
//!
//! They are parsed as in browsers (the URL Standard), which is lenient: `0x7f.1` is 127.0.0.1,
//! `https:/a` is `https://a/`, and a tab is ignored. None of this is accepted here: host and port
//! must be written in canonical form.

use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;
use url::{Host, ParseError, Url};

/// An absolute URL in printable ASCII, without user and password. The host can have letters of
/// either case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

/// Why a text is not such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WebUrlError {
    #[error("has a character that is not printable ASCII")]
    Text,
    #[error("does not start with http:// or https://")]
    Scheme,
    #[error("has a user name or a password in it")]
    UserInfo,
    #[error("has a port that is not a plain number")]
    Port,
    #[error("has no host, or one in an unusual spelling")]
    Host,
}

impl WebUrl {
    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host; a name is in lower case.
    #[must_use]
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The port, or the default port of the scheme.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    /// Whether it has a fragment, even an empty one.
    #[must_use]
    pub fn has_fragment(&self) -> bool {
        self.0.fragment().is_some()
    }
}

impl FromStr for WebUrl {
    type Err = WebUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(WebUrlError::Text);
        }
        let rest = ["https://", "http://"]
            .into_iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or(WebUrlError::Scheme)?;
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::InvalidPort => WebUrlError::Port,
            _ => WebUrlError::Host,
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebUrlError::UserInfo);
        }
        let after = url.host().and_then(|host| after_host(rest, &host));
        let after = after.ok_or(WebUrlError::Host)?;
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let parsed_port = url.port_or_known_default().map(|port| port.to_string());
        match after[..end].strip_prefix(':') {
            None if end == 0 => Ok(Self(url)),
            None => Err(WebUrlError::Host),
            Some(port) if parsed_port.as_deref() == Some(port) => Ok(Self(url)),
            Some(_) => Err(WebUrlError::Port),
        }
    }
}

/// The rest of the text after the host, if the text spells the host exactly as it was parsed.
fn after_host<'a>(text: &'a str, host: &Host<&str>) -> Option<&'a str> {
    if let Host::Ipv6(address) = host {
        let (inside, after) = text.strip_prefix('[')?.split_once(']')?;
        // An IPv6 address has several common spellings, none of which is ambiguous.
        return (inside.parse::<Ipv6Addr>().as_ref() == Ok(address)).then_some(after);
    }
    let host = host.to_string();
    let (given, after) = text.split_at_checked(host.len())?;
    given.eq_ignore_ascii_case(&host).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_canonical() {
        for (text, host, port) in [
            ("https://a.example", "a.example", 443),
            ("http://a.example/spc.crl?x=1", "a.example", 80),
            ("https://A.Example:8443/x/../y", "a.example", 8443),
            ("https://a.example:443?x@y:z", "a.example", 443),
            ("https://localhost:1#", "localhost", 1),
            ("https://127.0.0.1:8443/", "127.0.0.1", 8443),
            ("https://[2001:DB8:0::1]:8443/", "[2001:db8::1]", 8443),
        ] {
            let url: WebUrl = text.parse().expect(text);
            let read = url.host().map(|host| host.to_string());
            assert_eq!((read.as_deref(), url.port()), (Some(host), Some(port)));
            assert_eq!(url.is_https(), text.starts_with("https:"));
            assert_eq!(url.has_fragment(), text.contains('#'));
        }
        for (wrong, why) in [
            ("", WebUrlError::Scheme),
            ("a.example", WebUrlError::Scheme),
            ("ftp://a.example", WebUrlError::Scheme),
            ("HTTPS://a.example", WebUrlError::Scheme),
            ("https:/a.example", WebUrlError::Scheme),
            (" https://a.example", WebUrlError::Text),
            ("https://a.ex\tample", WebUrlError::Text),
            ("https://\u{e4}.example", WebUrlError::Text),
            ("https://a@b.example", WebUrlError::UserInfo),
            ("https://:a@b.example", WebUrlError::UserInfo),
            ("https://a.example:", WebUrlError::Port),
            ("https://a.example:x", WebUrlError::Port),
            ("https://a.example:0443", WebUrlError::Port),
            ("https://a.example:65536", WebUrlError::Port),
            ("https://", WebUrlError::Host),
            ("https://:443", WebUrlError::Host),
            ("https:///a.example", WebUrlError::Host),
            ("https://@a.example", WebUrlError::Host),
            ("https://\\a.example", WebUrlError::Host),
            ("https://a.example\\b", WebUrlError::Host),
            ("https://%61.example", WebUrlError::Host),
            ("https://127.1", WebUrlError::Host),
            ("https://0x7f.0.0.1", WebUrlError::Host),
            ("https://127.0.0.1.", WebUrlError::Host),
            ("https://2130706433", WebUrlError::Host),
            ("https://[::1", WebUrlError::Host),
            ("https://[127.0.0.1]", WebUrlError::Host),
        ] {
            assert_eq!(wrong.parse::<WebUrl>(), Err(why), "{wrong}");
        }
    }
}
