//! The guard against internal addresses (SSRF): resolves the host of a target and checks its
//! addresses. The connection goes to the addresses that were checked: a name is resolved once for
//! each attempt, and nothing else resolves it.

use std::fmt::Debug;
use std::io::{Error as IoError, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::domain::Network;
use crate::domain::network::embedded_ipv4::{Nat64Prefix, destinations};
use crate::domain::network::public_address::is_public;
use crate::domain::webhook::Host;

/// Timeout of a name lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses of one name that are tried; ureq accepts no more.
const MAX_ADDRESSES: usize = 16;

/// Resolves names to addresses.
pub trait NameLookup: Debug + Send + Sync + 'static {
    /// The addresses of a name. Blocks.
    ///
    /// # Errors
    /// The system's error if the name has none.
    fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemNames;

impl NameLookup for SystemNames {
    fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok((name, 443)
            .to_socket_addrs()?
            .map(|found| found.ip())
            .collect())
    }
}

/// Decides which addresses can be targets.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Internal networks that are allowed as well.
    allowed: Arc<[Network]>,
    /// The prefixes of translators, besides the well-known one.
    nat64: Arc<[Nat64Prefix]>,
    names: Arc<dyn NameLookup>,
}

impl Guard {
    /// A guard that allows public addresses, and these networks. An allowed network that is
    /// reserved for NAT64 is a prefix too.
    #[must_use]
    pub fn new(
        allowed: Vec<Network>,
        mut nat64: Vec<Nat64Prefix>,
        names: Arc<dyn NameLookup>,
    ) -> Self {
        nat64.extend(allowed.iter().filter_map(Nat64Prefix::of_local_use));
        Self {
            nat64: nat64.into(),
            allowed: allowed.into(),
            names,
        }
    }

    /// Whether this address can be a target. An IPv4 address inside an IPv6 address is where a
    /// translator or a tunnel leads to, so it must be allowed; no network that is allowed in IPv6
    /// replaces that.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let reached = destinations(address, &self.nat64);
        !reached.is_empty() && reached.iter().all(|address| self.permits(*address))
    }

    fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }

    /// Whether this host can be a target. A name is accepted here, and checked at each attempt,
    /// when it is resolved.
    #[must_use]
    pub fn may_be_target(&self, host: &Host) -> bool {
        match host {
            Host::Address(address) => self.allows(*address),
            Host::Name(_) => true,
        }
    }

    /// The addresses of a host. All of them must be allowed: a name with a public and an internal
    /// address must not reach the internal one.
    fn allowed_addresses(&self, host: &str) -> Result<Vec<IpAddr>, ureq::Error> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        let found = match literal {
            Ok(address) => vec![address],
            Err(_) => self.resolve_with_timeout(host)?,
        };
        if found.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        if found.iter().any(|address| !self.allows(*address)) {
            return Err(ureq::Error::Io(IoError::new(
                ErrorKind::PermissionDenied,
                "the address is neither public nor in `webhooks.allow_private`",
            )));
        }
        Ok(found)
    }

    /// Resolves a name on a thread of its own, since the system's resolver has no timeout.
    fn resolve_with_timeout(&self, host: &str) -> Result<Vec<IpAddr>, ureq::Error> {
        let (names, name) = (Arc::clone(&self.names), host.to_owned());
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name("lookup".to_owned());
        thread.spawn(move || {
            // The receiver is gone if the lookup timed out.
            let _ = sender.send(names.addresses(&name));
        })?;
        match receiver.recv_timeout(LOOKUP_TIMEOUT) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) => Err(ureq::Error::HostNotFound),
            Err(_) => Err(ureq::Error::Timeout(ureq::Timeout::Resolve)),
        }
    }
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(443);
        let mut addresses = self.empty();
        for address in self
            .allowed_addresses(host)?
            .into_iter()
            .take(MAX_ADDRESSES)
        {
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &[&str], nat64: &[&str], address: &str) -> bool {
        let allowed = allowed.iter().map(|text| text.parse().expect(text));
        let nat64 = nat64.iter().map(|text| text.parse().expect(text));
        let guard = Guard::new(allowed.collect(), nat64.collect(), Arc::new(SystemNames));
        guard.allows(address.parse().expect(address))
    }

    #[test]
    fn a_translated_address_is_judged_by_the_ipv4_address_inside() {
        let (local, own) = ("64:ff9b:1::/96", "2606:4700:64::/96");
        assert!(allows(&[], &[], "64:ff9b::808:808"));
        for allowed in [&[][..], &["64:ff9b::/96"], &["64:ff9b::/32", "::/0"]] {
            assert!(allows(allowed, &[], "64:ff9b::808:808"), "{allowed:?}");
            for inside in ["a9fe:a9fe", "7f00:1", "a00:1", "c0a8:1", "6440:1", "::"] {
                let address = format!("64:ff9b::{}", inside.trim_start_matches(':'));
                assert!(!allows(allowed, &[], &address), "{allowed:?} {address}");
            }
        }
        // Which translator it is must be known.
        assert!(!allows(&[], &[], "64:ff9b:1::808:808"));
        for (allowed, nat64) in [(&[local][..], &[][..]), (&[], &[local])] {
            assert!(allows(allowed, nat64, "64:ff9b:1::808:808"));
            assert!(!allows(allowed, nat64, "64:ff9b:1::7f00:1"));
            assert!(!allows(allowed, nat64, "64:ff9b:1::a00:1"));
        }
        assert!(!allows(&["64:ff9b:1::/48"], &[], "64:ff9b:1::7f00:1"));
        // A prefix of the network's own is public without being a public target.
        assert!(!allows(&[], &[own], "2606:4700:64::a9fe:a9fe"));
        assert!(allows(&[], &[own], "2606:4700:64::808:808"));
        // What is allowed in IPv4 is, through a translator too, but not the translator's loopback.
        let private = ["10.0.0.0/8", "127.0.0.0/8"];
        assert!(allows(&private, &[], "64:ff9b::a00:1"));
        assert!(!allows(&private, &[], "64:ff9b::7f00:1"));
    }

    #[test]
    fn a_tunnel_does_not_lead_inside() {
        let all = ["::/0"];
        for (inside, outside) in [
            ("2002:a00:1::1", "2002:808:808::1"),
            ("2001:0:808:808::f5ff:fffe", "2001:0:808:808::f7f7:f7f7"),
            ("2606:4700::5efe:a00:1", "2606:4700::5efe:808:808"),
            ("::10.0.0.1", "::8.8.8.8"),
            ("::ffff:0:10.0.0.1", "::ffff:0:8.8.8.8"),
            ("::ffff:10.0.0.1", "::ffff:8.8.8.8"),
        ] {
            assert!(!allows(&all, &[], inside), "{inside}");
            assert!(allows(&all, &[], outside), "{outside}");
        }
        assert!(!allows(&[], &[], "2606:4700::5efe:a00:1"));
        assert!(!allows(&[], &[], "2002:808:808::1"));
        assert!(allows(&["::1/128"], &[], "::1"));
    }
}
