//! The two listeners: the API, with TLS, and operations.

mod connection;
mod exchange;
mod flow;
mod head_scan;
mod patience;
mod server;
mod slots;
mod tls;
mod waiting;

pub(super) use tls::ListenerTls;
pub use tls::check_listener;
pub use waiting::WaitingServers;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::rt::net::TcpSocket;
use actix_web::web::Data;
use openssl::error::ErrorStack;
use thiserror::Error;

use super::background::{self, Periodic, write_the_rest};
use super::file_limit;
use super::gateways::{self, GatewaysError};
use super::settings::database_url;
use super::signals::Signals;
use super::supervisor::Supervisor;
use super::tls_key::TlsKeyError;
use crate::api::{self, Service};
use crate::callers::{ClientCertificates, IssuerError};
use crate::config::Config;
use crate::gateways::GatewayThreads;
use crate::telemetry::Listener;
use crate::webhooks::SenderThreads;
use patience::ClientTimeouts;
use server::Bounds;
use slots::Slots;

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;
/// What the system buffers of the answers on one connection; Linux doubles it.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// Why the service cannot serve.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("`{path}` cannot be used for TLS: {error}")]
    Tls { path: PathBuf, error: ErrorStack },
    #[error(
        "`{}` has no certificate; are `server.tls_certificate` and `server.tls_key` swapped?",
        .0.display()
    )]
    TlsNoCertificate(PathBuf),
    #[error(
        "the TLS key `{}` does not belong to the certificate `{}`",
        key.display(),
        certificate.display()
    )]
    TlsOtherKey { key: PathBuf, certificate: PathBuf },
    #[error("cannot read the TLS certificate `{}`: {error}", .path.display())]
    TlsUnreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error(transparent)]
    TlsKey(#[from] TlsKeyError),
    #[error(transparent)]
    Gateways(#[from] GatewaysError),
    #[error("OpenSSL cannot be set up for TLS: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error(
        "at most {limit} files can be open, and {needed} are needed besides connections; raise the limit (`ulimit -n`, \
         `LimitNOFILE`)"
    )]
    FewFiles { limit: u64, needed: u64 },
    #[error("access tokens cannot be verified: {0}")]
    Issuer(#[from] IssuerError),
    #[error("the service stopped: {0}")]
    Serve(#[from] std::io::Error),
}

/// The sockets of both listeners.
#[derive(Debug)]
pub struct Listeners {
    api: TcpListener,
    /// The address of the API, with the real port if the configuration has port 0.
    address: SocketAddr,
    operations: TcpListener,
    operations_address: SocketAddr,
}

impl Listeners {
    /// Listens. Must be called inside [`block_on`](crate::app::block_on).
    pub(super) fn open(config: &Config) -> Result<Self, HttpError> {
        let (api, address) = listen(config.server.listen)?;
        let (operations, operations_address) = listen(config.operations.listen)?;
        Ok(Self {
            api,
            address,
            operations,
            operations_address,
        })
    }

    fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            api: self.api.try_clone()?,
            address: self.address,
            operations: self.operations.try_clone()?,
            operations_address: self.operations_address,
        })
    }
}

/// A running service.
#[expect(missing_debug_implementations, reason = "actix's servers have none")]
pub struct Running {
    /// The address of the API, with the real port if the configuration has port 0.
    pub address: SocketAddr,
    /// The address of metrics and health.
    pub operations: SocketAddr,
    servers: [Server; 2],
    signals: Signals,
    background: Vec<Periodic>,
    webhooks: SenderThreads,
    gateways: GatewayThreads,
    service: Data<Service>,
}

/// Starts listeners and background work. Must be called inside [`super::block_on`].
pub fn start(service: Arc<Service>, config: &Config) -> Result<Running, HttpError> {
    start_on(None, service, config, (&Arc::default(), Signals::watch()?))
}

/// As [`start`], on listeners that are open already, below a supervisor, and with signals that are
/// watched already.
pub fn start_on(
    listeners: Option<Listeners>,
    service: Arc<Service>,
    config: &Config,
    (supervisor, signals): (&Arc<Supervisor>, Signals),
) -> Result<Running, HttpError> {
    let server = &config.server;
    let workers = server
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into));
    let connections = file_limit::connections(config, workers)?;
    let clients = service.callers.trust().certificates.as_ref();
    let anchors = clients.map(ClientCertificates::for_handshakes);
    let tls = ListenerTls::open(config, anchors.transpose()?)?.map(Arc::new);
    let gateways = Arc::new(gateways::open(config)?);
    service.callers.start()?;
    let listeners = match listeners {
        Some(listeners) => listeners,
        None => Listeners::open(config)?,
    };
    let (address, operations) = (listeners.address, listeners.operations_address);

    service.jobs.start()?;
    let url = database_url(config).map_err(std::io::Error::other)?;
    let background =
        background::start(&service, config, tls.clone(), (supervisor, &signals), &url)?;
    let webhooks = SenderThreads::start(&service.authority, &service.webhooks)?;
    let gateways = GatewayThreads::start(&service.authority, &gateways)?;
    let metrics = service.authority.metrics();
    let timeouts = ClientTimeouts {
        request: server.request_timeout,
        write: server.write_timeout,
    };
    let bounds = Bounds {
        workers,
        slots: Slots::new(
            Listener::Api,
            connections,
            server.share_of_an_address(connections, &config.proxy),
            config.proxy.addresses.clone(),
            Arc::clone(service.under_way.unsent()),
            Arc::clone(metrics),
        ),
        timeouts,
        shutdown_timeout: server.shutdown_timeout,
    };
    let operations_bounds = Bounds {
        workers: 1,
        slots: Slots::new(
            Listener::Operations,
            file_limit::OPERATIONS_CONNECTIONS,
            None,
            Vec::new(),
            Arc::clone(service.under_way.unsent()),
            Arc::clone(metrics),
        ),
        timeouts,
        shutdown_timeout: 1,
    };
    let data = Data::from(service);
    let shared = data.clone();
    let public = server::serve(listeners.api, tls, bounds, move || api::app(shared.clone()))?;
    let service = data.clone();
    let operations_server =
        server::serve(listeners.operations, None, operations_bounds, move || {
            api::operations(data.clone())
        })?;
    Ok(Running {
        address,
        operations,
        servers: [public, operations_server],
        signals,
        background,
        webhooks,
        gateways,
        service,
    })
}

impl Running {
    /// A handle that stops the service from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper([self.servers[0].handle(), self.servers[1].handle()])
    }

    /// Serves until it is stopped, by a [`Stopper`] or by SIGTERM or SIGINT: then it finishes the
    /// requests in progress.
    pub async fn wait(self) -> Result<(), HttpError> {
        let stopper = self.stopper();
        self.signals
            .when_stopped(async move { stopper.stop().await })?;
        let [public, operations] = self.servers;
        let (public, operations) = tokio::join!(public, operations);
        self.service.authority.metrics().background.service_stops();
        drop((self.background, self.webhooks, self.gateways));
        write_the_rest(&self.service).await;
        public?;
        Ok(operations?)
    }
}

/// Stops a running service.
#[derive(Debug)]
pub struct Stopper([ServerHandle; 2]);

impl Stopper {
    /// Stops accepting requests, and waits for those in progress. Meanwhile, operations are served.
    pub async fn stop(&self) {
        for server in &self.0 {
            server.stop(true).await;
        }
    }
}

/// Listens, with a send buffer of bounded size, which accepted connections inherit. Otherwise the
/// system would buffer megabytes for a client that reads nothing, and a slow client would seem to
/// make no progress while a large buffer drains.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HttpError> {
    let failed = |error| HttpError::Listen { address, error };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket
        .set_send_buffer_size(SEND_BUFFER_BYTES)
        .map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let listener = listener.into_std().map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
