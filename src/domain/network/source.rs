//! Which addresses count as one client.

use std::net::{IpAddr, Ipv6Addr};

/// The address to count: an IPv4 address, also if it is mapped into IPv6, or the /64 network of an
/// IPv6 address, since a client can choose any address of its network.
#[must_use]
pub fn source_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.into(),
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
    }
}
