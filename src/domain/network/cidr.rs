//! IP networks in CIDR notation: where an API key can be used from, and where proxies are.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error(
        "a network is written as 192.0.2.0/24 or 2001:db8::/32; one address as 192.0.2.7/32 or 2001:db8::7/128"
    )]
    Syntax,
    #[error("the address has bits set after its prefix; the network is {0}")]
    HostBits(Network),
    #[error("an IPv4-mapped IPv6 address; write the IPv4 network")]
    Mapped,
}

/// A network (RFC 4632 §3.1, RFC 4291 §2.3): an address in which all bits after the prefix are
/// zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// The most networks of one API key.
    pub const MAX: usize = 32;

    /// Whether an address is in the network. An IPv4-mapped IPv6 address, as a dual-stack listener
    /// reports it, counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The first address of an IPv6 network, and the length of its prefix.
    #[must_use]
    pub fn as_ipv6(&self) -> Option<(Ipv6Addr, u8)> {
        match self.0 {
            IpNet::V4(_) => None,
            IpNet::V6(network) => Some((network.network(), network.prefix_len())),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError::Syntax)?;
        // `ipnet` would accept 192.0.02.0, where other parsers read the 02 as octal.
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let length: u8 = prefix.parse().map_err(|_| NetworkError::Syntax)?;
        // `u8` would also accept a sign and leading zeros, such as `+24` and `/024`.
        if length.to_string() != prefix {
            return Err(NetworkError::Syntax);
        }
        if address != address.to_canonical() {
            return Err(NetworkError::Mapped);
        }
        let given = IpNet::new(address, length).map_err(|_| NetworkError::Syntax)?;
        let network = Self(given.trunc());
        if network.0 == given {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
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
            // The deprecated form without ffff is an ordinary IPv6 address.
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
