//! Networks of the Internet Protocol: where an API key may be used from, and where proxies are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error(
        "a network is written as 192.0.2.0/24 or 2001:db8::/32; one address as 192.0.2.7/32 or 2001:db8::7/128"
    )]
    Syntax,
    #[error("the address has bits behind its prefix; the network is {0}")]
    HostBits(Network),
    #[error("an IPv4 address inside an IPv6 address; write the IPv4 network")]
    Mapped,
}

/// A network (RFC 4632 §3.1, RFC 4291 §2.3): an address whose bits behind the prefix are all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// How many networks one API key may be bound to.
    pub const MOST: usize = 32;

    /// Whether an address lies in it. An IPv4 address that arrives inside an IPv6 address, as it does on a listener for
    /// both, is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                masked_v4(own, self.prefix) == masked_v4(other, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                masked_v6(own, self.prefix) == masked_v6(other, self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
    Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or(0))
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
    Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or(0))
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError::Syntax)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        // `u8` also reads a sign, and `/024` is written by nobody who means 24.
        if !digits || (prefix.len() > 1 && prefix.starts_with('0')) {
            return Err(NetworkError::Syntax);
        }
        let prefix: u8 = prefix.parse().map_err(|_| NetworkError::Syntax)?;
        let (most, start) = match address {
            IpAddr::V4(address) => (32, IpAddr::V4(masked_v4(address, prefix))),
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                return Err(NetworkError::Mapped);
            }
            IpAddr::V6(address) => (128, IpAddr::V6(masked_v6(address, prefix))),
        };
        if prefix > most {
            return Err(NetworkError::Syntax);
        }
        let network = Self {
            address: start,
            prefix,
        };
        if start == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_lies_in_the_networks_that_hold_it() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1/128", "::1", "::2"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::ffff:198.51.100.9"),
            // What only looks like it: the deprecated form without ffff is an IPv6 address.
            ("192.0.2.0/24", "192.0.2.1", "::192.0.2.1"),
        ] {
            let (network, parse) = (network(text), |ip: &str| ip.parse().expect(ip));
            assert!(network.contains(parse(inside)), "{text} {inside}");
            assert!(!network.contains(parse(outside)), "{text} {outside}");
            assert_eq!(network.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "192.0.2.0",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/+24",
            "192.0.2.0/024",
            "192.0.2.0/24/24",
            "192.0.2.0/256",
            "192.0.2/24",
            "192.0.02.0/24",
            "2001:db8::/129",
            "[2001:db8::]/32",
            "fe80::1%eth0/128",
            " 192.0.2.0/24",
            "example.com/24",
            "localhost",
            "192.0.2.0/08",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Syntax), "{text}");
        }
        for (text, meant) in [
            ("192.0.2.1/24", "192.0.2.0/24"),
            ("10.0.0.1/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
        ] {
            let meant = NetworkError::HostBits(network(meant));
            assert_eq!(text.parse::<Network>(), Err(meant), "{text}");
        }
        assert_eq!(
            "::ffff:192.0.2.0/120".parse::<Network>(),
            Err(NetworkError::Mapped)
        );
    }
}
