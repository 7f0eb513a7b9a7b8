//! Reverse proxies in front of the service: where they are, and how they pass on the client's
//! address and certificate.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::cidr::{Network, NetworkError};
use crate::domain::text::words::words;

/// The address of a proxy, or a network of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProxyAddress(Network);

impl ProxyAddress {
    /// Whether an address is that of such a proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}

impl FromStr for ProxyAddress {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(one)) => format!("{one}/32").parse().map(Self),
            Ok(IpAddr::V6(one)) => format!("{one}/128").parse().map(Self),
            Err(_) => text.parse().map(Self),
        }
    }
}

impl<'de> Deserialize<'de> for ProxyAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The header field in which a proxy passes on the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressHeader {
    /// RFC 7239.
    Forwarded,
    XForwardedFor,
}

words! {
    /// The name of the field, as in the configuration.
    impl FromStr, Deserialize for AddressHeader {
        Forwarded = "forwarded",
        XForwardedFor = "x-forwarded-for",
    }
}

/// How a proxy encodes a client certificate in a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateEncoding {
    /// RFC 9440: `:`, the DER in base64, `:`.
    #[default]
    Rfc9440,
    /// PEM, URL-encoded, as `$ssl_client_escaped_cert` of nginx is. Intermediate certificates can
    /// follow.
    EscapedPem,
    /// The DER in base64, without colons, as Traefik and HAProxy write it. Intermediate
    /// certificates can follow, separated by commas.
    Base64Der,
    /// `x-forwarded-client-cert` of Envoy, with `Cert` or `Chain`.
    Xfcc,
}

words! {
    /// The name in the configuration.
    impl FromStr, Deserialize for CertificateEncoding {
        Rfc9440 = "rfc9440",
        EscapedPem = "escaped-pem",
        Base64Der = "base64-der",
        Xfcc = "xfcc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_one_address_or_those_of_a_network() {
        for (text, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("::1", "::1", "::2"),
        ] {
            let proxy: ProxyAddress = text.parse().expect(text);
            let contains = |address: &str| proxy.contains(address.parse().expect("one"));
            assert!(contains(inside), "{text} {inside}");
            assert!(!contains(outside), "{text} {outside}");
        }
        let wrong = |text: &str| text.parse::<ProxyAddress>().expect_err(text);
        for text in ["", "localhost", "192.0.2", "192.0.2.0/"] {
            assert_eq!(wrong(text), NetworkError::Syntax, "{text}");
        }
        for text in ["::ffff:192.0.2.7", "::ffff:192.0.2.0/120"] {
            assert_eq!(wrong(text), NetworkError::Mapped, "{text}");
        }
    }
}
