//! The guard: which addresses may be told anything. What it has checked is what is connected to: a name is looked up once
//! for each attempt, and there is no other way to an address.

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

/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// So many addresses of one name are tried at most; ureq takes no more.
const MAX_ADDRESSES: usize = 16;

/// Says which addresses names have.
pub trait NameLookup: Debug + Send + Sync + 'static {
    /// The addresses of a name. Blocks.
    ///
    /// # Errors
    /// What the system says if there are none.
    fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The names that the system knows.
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

/// Says where to things may be sent.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Networks inside that may be told too.
    allowed: Arc<[Network]>,
    names: Arc<dyn NameLookup>,
}

impl Guard {
    /// A guard that lets through what is public, and these networks.
    #[must_use]
    pub fn new(allowed: Vec<Network>, names: Arc<dyn NameLookup>) -> Self {
        Self {
            allowed: allowed.into(),
            names,
        }
    }

    /// Whether an address may be told anything.
    #[must_use]
    pub fn lets_through(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }

    /// Whether a host may be a target, as far as it can be said without looking it up.
    #[must_use]
    pub fn may_be_told(&self, host: &Host) -> bool {
        match host {
            Host::Address(address) => self.lets_through(*address),
            Host::Name(_) => true,
        }
    }

    /// The addresses of a host, of which every one must be let through: whoever answers for a name must not get to choose.
    fn checked(&self, host: &str) -> Result<Vec<IpAddr>, ureq::Error> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        let found = match literal {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host)?,
        };
        if found.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        if found.iter().any(|address| !self.lets_through(*address)) {
            return Err(ureq::Error::Io(IoError::new(
                ErrorKind::PermissionDenied,
                "the address is not let through",
            )));
        }
        Ok(found)
    }

    /// The system has no bound of its own, so the name is looked up aside.
    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, ureq::Error> {
        let (names, name) = (Arc::clone(&self.names), host.to_owned());
        let (found, wait) = channel();
        let aside = thread::Builder::new().name("lookup".to_owned());
        aside.spawn(move || {
            // Whoever waited may have given up.
            let _ = found.send(names.addresses(&name));
        })?;
        match wait.recv_timeout(LOOKUP) {
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
        for address in self.checked(host)?.into_iter().take(MAX_ADDRESSES) {
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}
