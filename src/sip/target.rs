//! Addresses: `udp:proxy.example:5060`, `tcp:192.0.2.1:5060`, `[2001:db8::1]:5060`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use thiserror::Error;

/// The longest host name (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;

/// The text names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected `udp:HOST:PORT` or `tcp:HOST:PORT`, such as `udp:proxy.example:5060`")]
pub struct TargetError;

/// How messages are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SipTransport {
    Udp,
    Tcp,
}

impl SipTransport {
    /// As `Via` writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// A transport, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipTarget {
    transport: SipTransport,
    host: String,
    port: u16,
}

impl SipTarget {
    #[must_use]
    pub const fn transport(&self) -> SipTransport {
        self.transport
    }

    /// The host, in brackets if it is an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The first address of the host.
    ///
    /// # Errors
    /// If the name cannot be resolved. The resolver of the system bounds the time.
    pub fn resolve(&self) -> std::io::Result<SocketAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (host, self.port).to_socket_addrs()?;
        let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        addresses.next().ok_or_else(none)
    }
}

impl FromStr for SipTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (transport, rest) = match text.split_once(':') {
            Some(("udp", rest)) => (SipTransport::Udp, rest),
            Some(("tcp", rest)) => (SipTransport::Tcp, rest),
            Some(_) | None => return Err(TargetError),
        };
        let (host, port) = rest.rsplit_once(':').ok_or(TargetError)?;
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_name_byte);
        let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_ipv6 = address.is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(TargetError)?;
        if !is_name && !is_ipv6 {
            return Err(TargetError);
        }
        Ok(Self {
            transport,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for SipTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            SipTransport::Udp => "udp",
            SipTransport::Tcp => "tcp",
        };
        write!(f, "{transport}:{}:{}", self.host, self.port)
    }
}
