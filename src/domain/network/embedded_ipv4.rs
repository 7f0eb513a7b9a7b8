//! IPv6 addresses with an IPv4 address inside. A translator or the end of a tunnel forwards to the
//! IPv4 address, so whether the IPv6 address is public says nothing about where packets arrive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use super::cidr::{Network, NetworkError};

/// Why a text is not the prefix of a NAT64.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Nat64PrefixError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(
        "the prefix of a NAT64 is IPv6, has 32, 40, 48, 56, 64 or 96 bits, and bits 64 to 71 are zero (RFC 6052 §2.2), \
         as in 64:ff9b:1::/96"
    )]
    Nat64,
}

/// The prefix of a NAT64 (RFC 6052 §2.2). It translates an IPv6 address with this prefix to the
/// IPv4 address that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64Prefix {
    first: Ipv6Addr,
    bits: u8,
}

impl Nat64Prefix {
    /// The one that every network may use (RFC 6052 §2.1).
    const WELL_KNOWN: Self = Self {
        first: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        bits: 96,
    };

    /// A network as the prefix of a NAT64, if its length permits that.
    fn of(network: &Network) -> Option<Self> {
        let (first, bits) = network.as_ipv6()?;
        let is_valid = matches!(bits, 32 | 40 | 48 | 56 | 64 | 96) && first.octets()[8] == 0;
        is_valid.then_some(Self { first, bits })
    }

    /// A network as the prefix of a NAT64, if it is one of those that are reserved for that
    /// (RFC 8215).
    #[must_use]
    pub fn of_local_use(network: &Network) -> Option<Self> {
        Self::of(network).filter(|prefix| is_local_use(prefix.first))
    }

    fn contains(&self, address: Ipv6Addr) -> bool {
        let prefix = |address: Ipv6Addr| u128::from(address) >> (128 - u32::from(self.bits));
        prefix(address) == prefix(self.first)
    }

    /// The IPv4 address in an IPv6 address with this prefix. It skips bits 64 to 71, which are zero
    /// as is everything after it; `None` if they are not.
    fn ipv4_in(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let octets = address.octets();
        let after = octets.iter().enumerate().skip(usize::from(self.bits / 8));
        let mut after = after.filter(|(index, _)| *index != 8);
        let mut inside = [0; 4];
        for octet in &mut inside {
            *octet = *after.next()?.1;
        }
        let is_zero = octets[8] == 0 && after.all(|(_, octet)| *octet == 0);
        is_zero.then(|| inside.into())
    }
}

impl FromStr for Nat64Prefix {
    type Err = Nat64PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of(&text.parse()?).ok_or(Nat64PrefixError::Nat64)
    }
}

impl<'de> Deserialize<'de> for Nat64Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The addresses at which packets to an address can arrive, directly, through a translator with
/// one of these prefixes, or through a tunnel. Empty if that is not certain, or if it is the
/// translator itself.
#[must_use]
pub fn destinations(address: IpAddr, nat64: &[Nat64Prefix]) -> Vec<IpAddr> {
    // An IPv4-mapped address (RFC 4291 §2.5.5.2) is sent as IPv4.
    let address = match address.to_canonical() {
        IpAddr::V4(address) => return vec![address.into()],
        IpAddr::V6(address) => address,
    };
    let prefixes = [&Nat64Prefix::WELL_KNOWN].into_iter().chain(nat64);
    let mut prefixes = prefixes
        .filter(|prefix| prefix.contains(address))
        .peekable();
    let (outer, inner) = if prefixes.peek().is_some() {
        let inner = prefixes.map(|prefix| prefix.ipv4_in(address));
        (None, inner.collect())
    } else if is_local_use(address) {
        // Without the length of the prefix, the IPv4 address could be at several positions.
        (None, None)
    } else {
        (Some(address), Some(tunnelled(address)))
    };
    let inner: Vec<Ipv4Addr> = inner.unwrap_or_default();
    let is_translator =
        |inner: &Ipv4Addr| inner.is_loopback() || inner.is_link_local() || inner.is_unspecified();
    if inner.iter().any(is_translator) {
        return Vec::new();
    }
    let outer = outer.into_iter().map(IpAddr::V6);
    outer.chain(inner.into_iter().map(IpAddr::V4)).collect()
}

/// Whether an address is in the prefix for translators of one network (RFC 8215).
fn is_local_use(address: Ipv6Addr) -> bool {
    address.segments()[..3] == [0x64, 0xff9b, 1]
}

/// The IPv4 addresses in an address of a transition mechanism.
fn tunnelled(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let ipv4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let [first, second, third, fourth, fifth, sixth, high, low] = segments;
    let last = ipv4(high, low);
    let mut found = Vec::new();
    // 6to4 (RFC 3056 §2).
    if first == 0x2002 {
        found.push(ipv4(second, third));
    }
    // Teredo (RFC 4380 §4): the server, and the client with all bits inverted.
    if first == 0x2001 && second == 0 {
        found.extend([ipv4(third, fourth), ipv4(!high, !low)]);
    }
    // ISATAP (RFC 5214 §6.1), with any prefix.
    if fifth & !0x0300 == 0 && sixth == 0x5efe {
        found.push(last);
    }
    // IPv4-compatible (RFC 4291 §2.5.5.1), which `::` and `::1` are not.
    let is_compatible = segments[..6] == [0; 6] && u32::from(last) > 1;
    // IPv4-translated (RFC 2765 §2.1).
    if is_compatible || segments[..6] == [0, 0, 0, 0, 0xffff, 0] {
        found.push(last);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(address: &str, nat64: &[&str]) -> Vec<String> {
        let nat64 = nat64.iter().map(|text| text.parse().expect(text));
        let nat64: Vec<Nat64Prefix> = nat64.collect();
        let found = destinations(address.parse().expect(address), &nat64);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_of_rfc_6052_is_read() {
        // §2.4: 192.0.2.33 after a prefix of each length.
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
            ("64:ff9b:1::/96", "64:ff9b:1::c000:221"),
            ("64:ff9b:1::/48", "64:ff9b:1:c000:2:2100::"),
        ] {
            assert_eq!(reached(address, &[prefix]), ["192.0.2.33"], "{address}");
        }
        assert_eq!(reached("64:ff9b::192.0.2.33", &[]), ["192.0.2.33"]);
    }

    #[test]
    fn what_is_not_certain_is_not_reached() {
        for (address, prefix) in [
            // Bits 64 to 71, and a suffix.
            ("2001:db8:122:c000:102:2100::", "2001:db8:122::/48"),
            ("2001:db8:122:c000:2:2100::1", "2001:db8:122::/48"),
            // A prefix whose length is not known.
            ("64:ff9b:1::808:808", "2001:db8:122::/48"),
            ("64:ff9b:1::808:808", "64:ff9b:1:1::/96"),
            // The translator, or the end of the tunnel.
            ("64:ff9b::7f00:1", "64:ff9b:1::/96"),
            ("64:ff9b::a9fe:a9fe", "64:ff9b:1::/96"),
            ("64:ff9b::", "64:ff9b:1::/96"),
            ("2002:7f00:1::1", "64:ff9b:1::/96"),
            ("2606:4700::5efe:7f00:1", "64:ff9b:1::/96"),
        ] {
            assert!(reached(address, &[prefix]).is_empty(), "{address}");
        }
        // The longer prefix could be the one of the translator, or the shorter one.
        let both = ["2001:db8::/32", "2001:db8::/96"];
        assert!(reached("2001:db8::808:808", &both).is_empty());
    }

    #[test]
    fn the_ends_of_tunnels_are_reached_too() {
        for (address, inside) in [
            ("2002:a00:1::1", &["10.0.0.1"][..]),
            ("2001:0:a00:1::f5ff:fffd", &["10.0.0.1", "10.0.0.2"]),
            ("2606:4700::5efe:a00:1", &["10.0.0.1"]),
            ("2606:4700::200:5efe:a00:1", &["10.0.0.1"]),
            ("::10.0.0.1", &["10.0.0.1"]),
            ("::ffff:0:10.0.0.1", &["10.0.0.1"]),
            ("2606:4700::1111", &[]),
            ("::1", &[]),
            ("::", &[]),
        ] {
            let found = reached(address, &[]);
            let outer: Ipv6Addr = found[0].parse().expect("an IPv6 address");
            assert_eq!(Ok(outer), address.parse());
            assert_eq!(found[1..], *inside, "{address}");
        }
        assert_eq!(reached("::ffff:10.0.0.1", &[]), ["10.0.0.1"]);
    }

    #[test]
    fn only_prefixes_of_a_nat64_are_prefixes() {
        for text in [
            "10.0.0.0/8",
            "64:ff9b:1::/97",
            "64:ff9b:1::/80",
            "::/0",
            "2001:db8:0:0:100::/96",
        ] {
            assert_eq!(
                text.parse::<Nat64Prefix>(),
                Err(Nat64PrefixError::Nat64),
                "{text}"
            );
        }
        assert!("64:ff9b::1/96".parse::<Nat64Prefix>().is_err());
        let local = |text: &str| Nat64Prefix::of_local_use(&text.parse().expect(text));
        assert!(local("64:ff9b:1::/48").is_some() && local("64:ff9b:1:2::/96").is_some());
        assert_eq!(local("2001:db8::/96"), None);
        assert_eq!(local("64:ff9b::/96"), None);
        assert_eq!(local("64:ff9b:1::808:808/128"), None);
    }
}
