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
    names: Arc<dyn NameLookup>,
}

impl Guard {
    /// A guard that allows public addresses, and these networks.
    #[must_use]
    pub fn new(allowed: Vec<Network>, names: Arc<dyn NameLookup>) -> Self {
        Self {
            allowed: allowed.into(),
            names,
        }
    }

    /// Whether this address can be a target.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
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
