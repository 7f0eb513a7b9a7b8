//! The two listeners: the API, with TLS, and operations.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;
use openssl::error::ErrorStack;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod};
use thiserror::Error;

use super::rotation::Watcher;
use crate::api::{self, Service};
use crate::config::Config;
use crate::webhooks::Worker;

/// Why the service cannot listen. Says what to do.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error(
        "{0} is not a loopback address, and there is no TLS: set server.tls_certificate and server.tls_key, or server.behind_proxy if a proxy ends TLS"
    )]
    PlainHttp(SocketAddr),
    #[error("`{path}` cannot be used for TLS: {error}")]
    Tls { path: PathBuf, error: ErrorStack },
    #[error("OpenSSL is not ready for TLS: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error("the service stopped: {0}")]
    Serve(#[from] std::io::Error),
}

/// A service that answers.
#[expect(missing_debug_implementations, reason = "actix's servers have none")]
pub struct Running {
    /// Where the API listens, also when the configuration asked for a free port.
    pub address: SocketAddr,
    /// Where metrics and health are.
    pub operations: SocketAddr,
    servers: [Server; 2],
    watcher: Option<Watcher>,
    worker: Worker,
}

/// Starts to listen. Must be called where [`super::block_on`] runs.
///
/// # Errors
/// [`HttpError`] says what is in the way.
pub fn start(service: Arc<Service>, config: &Config) -> Result<Running, HttpError> {
    let server = &config.server;
    let tls = acceptor(config)?;
    let (listener, address) = listen(server.listen)?;
    let (operations_listener, operations) = listen(config.operations.listen)?;
    let workers = server
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into));

    service.jobs.start()?;
    let interval = Duration::from_secs(config.signer.poll_interval.into());
    let authority = Arc::clone(&service.authority);
    let signs = authority.signers.is_some();
    let worker = Worker::start(&authority, &service.webhooks)?;
    let watcher = signs.then(|| Watcher::start(authority, interval));
    let data = Data::from(service);
    let shared = data.clone();
    let public = HttpServer::new(move || api::app(shared.clone()))
        .workers(workers)
        .client_request_timeout(Duration::from_secs(server.request_timeout))
        .shutdown_timeout(server.shutdown_timeout);
    let public = match tls {
        Some(tls) => public.listen_openssl(listener, tls)?,
        None => public.listen(listener)?,
    };

    let metrics = HttpServer::new(move || api::operations(data.clone()))
        .workers(1)
        .shutdown_timeout(1)
        .listen(operations_listener)?;
    Ok(Running {
        address,
        operations,
        servers: [public.run(), metrics.run()],
        watcher: watcher.transpose()?,
        worker,
    })
}

impl Running {
    /// What stops the service from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper([self.servers[0].handle(), self.servers[1].handle()])
    }

    /// Answers until it is stopped, by a handle or by SIGTERM.
    ///
    /// # Errors
    /// [`HttpError`] if a listener fails.
    pub async fn wait(self) -> Result<(), HttpError> {
        let [public, operations] = self.servers;
        let (public, operations) = tokio::join!(public, operations);
        drop(self.watcher);
        drop(self.worker);
        public?;
        Ok(operations?)
    }
}

/// Stops a running service.
#[derive(Debug)]
pub struct Stopper([ServerHandle; 2]);

impl Stopper {
    /// Lets the service take no more requests, and waits for those under way.
    pub async fn stop(&self) {
        for server in &self.0 {
            server.stop(true).await;
        }
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HttpError> {
    let failed = |error| HttpError::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Checks how the API would listen, and says it in words.
///
/// # Errors
/// [`HttpError`] says what is wrong.
pub fn check_listener(config: &Config) -> Result<&'static str, HttpError> {
    Ok(match acceptor(config)? {
        Some(_) => "1.2 and 1.3, with the configured certificate",
        None if config.server.behind_proxy => "ended by a proxy",
        None => "none: plain HTTP on loopback",
    })
}

/// TLS 1.2 and 1.3, by Mozilla's intermediate profile. `None` if no certificate is configured, which is only right on
/// loopback and behind a proxy: tokens travel in confidence (RFC 9447 §7).
///
/// # Errors
/// [`HttpError`] names the file that is wrong.
fn acceptor(config: &Config) -> Result<Option<SslAcceptorBuilder>, HttpError> {
    let files = config
        .server
        .tls_certificate
        .as_deref()
        .zip(config.server.tls_key.as_deref());
    let server = &config.server;
    let Some((certificate, key)) = files else {
        let confidential = server.behind_proxy || server.listen.ip().is_loopback();
        return if confidential {
            Ok(None)
        } else {
            Err(HttpError::PlainHttp(server.listen))
        };
    };
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error| HttpError::Tls { path, error }
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder
        .set_certificate_chain_file(certificate)
        .map_err(wrong(certificate))?;
    builder
        .set_private_key_file(key, SslFiletype::PEM)
        .map_err(wrong(key))?;
    builder.check_private_key().map_err(wrong(key))?;
    Ok(Some(builder))
}
