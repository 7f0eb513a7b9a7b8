//! Proxies that stand in front of the service: where they are, and how they tell of those behind them.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error(
        "a network is an address or a prefix, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
    )]
    Syntax,
    #[error("a network has no bits behind its prefix, as 192.0.2.7/24 has")]
    BitsBehindThePrefix,
}

/// An address, or all addresses with one prefix (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.7`) is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                let mask = mask.unwrap_or(0);
                first.to_bits() == address.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                first.to_bits() == address.to_bits() & v6_mask(self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

const fn v6_mask(prefix: u8) -> u128 {
    match u128::MAX.checked_shl(Ipv6Addr::BITS - prefix as u32) {
        Some(mask) => mask,
        None => 0,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            // One spelling: no sign, no leading zero.
            Some(digits) if digits.len() > 1 && digits.starts_with('0') => {
                return Err(NetworkError::Syntax);
            }
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Syntax)?
            }
            Some(_) => return Err(NetworkError::Syntax),
        };
        if prefix > longest {
            return Err(NetworkError::Syntax);
        }
        // What can be an IPv4 address is compared as one.
        if first.to_canonical() != first {
            return Err(NetworkError::Syntax);
        }
        let network = Self { first, prefix };
        if network.contains(first) {
            Ok(network)
        } else {
            Err(NetworkError::BitsBehindThePrefix)
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The header field in which a proxy says whose request it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// RFC 7239.
    Forwarded,
    XForwardedFor,
}

/// How a proxy writes a client certificate into a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateEncoding {
    /// RFC 9440: `:`, the DER in base64, `:`.
    #[default]
    Rfc9440,
    /// PEM, URL-encoded, as `$ssl_client_escaped_cert` of nginx is.
    EscapedPem,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_contains_its_addresses() {
        for (text, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
        ] {
            let contains = |address: &str| network(text).contains(address.parse().expect("one"));
            assert!(contains(inside), "{text} {inside}");
            assert!(!contains(outside), "{text} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "localhost",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/08",
            "192.0.2/24",
            "::/129",
            "::ffff:192.0.2.0/120",
            "192.0.2.0/24/24",
        ] {
            assert_eq!(
                wrong.parse::<Network>(),
                Err(NetworkError::Syntax),
                "{wrong}"
            );
        }
        assert_eq!(
            "192.0.2.7/24".parse::<Network>(),
            Err(NetworkError::BitsBehindThePrefix)
        );
    }
}
