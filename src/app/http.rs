//! The two listeners: the API, with TLS, and operations.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_tls::accept::openssl::TlsStream;
use actix_web::HttpServer;
use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use openssl::error::ErrorStack;
use openssl::ssl::{
    SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::verify::X509VerifyFlags;
use thiserror::Error;

use super::background::{self, Periodic, write_the_rest};
use super::file_limit;
use super::tls_key::{TlsKeyError, read_tls_key};
use crate::api::{self, Service};
use crate::callers::{ClientCertificates, IssuerError, PresentedCertificate};
use crate::config::Config;
use crate::webhooks::SenderThreads;

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
    #[error(transparent)]
    TlsKey(#[from] TlsKeyError),
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

/// A running service.
#[expect(missing_debug_implementations, reason = "actix's servers have none")]
pub struct Running {
    /// The address of the API, with the real port if the configuration has port 0.
    pub address: SocketAddr,
    /// The address of metrics and health.
    pub operations: SocketAddr,
    servers: [Server; 2],
    background: Vec<Periodic>,
    webhooks: SenderThreads,
    service: Data<Service>,
}

/// Starts listeners and background work. Must be called inside [`super::block_on`].
pub fn start(service: Arc<Service>, config: &Config) -> Result<Running, HttpError> {
    let server = &config.server;
    let workers = server
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, Into::into));
    let connections = file_limit::connections(config, workers)?;
    let tls = acceptor(config, service.callers.trust().certificates.as_ref())?;
    service.callers.start()?;
    let (listener, address) = listen(server.listen)?;
    let (operations_listener, operations) = listen(config.operations.listen)?;

    service.jobs.start()?;
    let background = background::start(&service, config)?;
    let webhooks = SenderThreads::start(&service.authority, &service.webhooks)?;
    let data = Data::from(service);
    let shared = data.clone();
    let public = HttpServer::new(move || api::app(shared.clone()))
        .on_connect(keep_certificate)
        .workers(workers)
        .max_connections((connections / workers).max(1))
        // The default limits handshakes in progress to 256 per worker, so clients that connect and
        // send nothing would keep others waiting.
        .max_connection_rate((connections / workers).max(1))
        .client_request_timeout(Duration::from_secs(server.request_timeout))
        .shutdown_timeout(server.shutdown_timeout);
    let public = match tls {
        Some(tls) => public.listen_openssl(listener, tls)?,
        None => public.listen(listener)?,
    };

    let service = data.clone();
    let metrics = HttpServer::new(move || api::operations(data.clone()))
        .workers(1)
        .max_connections(file_limit::OPERATIONS_CONNECTIONS)
        .shutdown_timeout(1)
        .listen(operations_listener)?;
    Ok(Running {
        address,
        operations,
        servers: [public.run(), metrics.run()],
        background,
        webhooks,
        service,
    })
}

impl Running {
    /// A handle that stops the service from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper([self.servers[0].handle(), self.servers[1].handle()])
    }

    /// Serves until it is stopped, by a [`Stopper`] or by SIGTERM.
    pub async fn wait(self) -> Result<(), HttpError> {
        let [public, operations] = self.servers;
        let (public, operations) = tokio::join!(public, operations);
        self.service.authority.metrics().background.service_stops();
        drop((self.background, self.webhooks));
        write_the_rest(&self.service).await;
        public?;
        Ok(operations?)
    }
}

/// Stops a running service.
#[derive(Debug)]
pub struct Stopper([ServerHandle; 2]);

impl Stopper {
    /// Stops accepting requests, and waits for those in progress.
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

/// Checks the TLS settings of the API, and describes them.
pub fn check_listener(config: &Config) -> Result<&'static str, HttpError> {
    Ok(match acceptor(config, None)? {
        Some(_) => "1.2 and 1.3, with the configured certificate",
        None if config.server.behind_proxy => "terminated by a proxy",
        None => "none: plain HTTP on loopback",
    })
}

/// TLS 1.2 and 1.3, as in Mozilla's intermediate profile. `None` if no certificate is configured,
/// which is permitted only on loopback and behind a proxy.
///
/// # Errors
/// [`HttpError`] names the file that is wrong.
fn acceptor(
    config: &Config,
    clients: Option<&ClientCertificates>,
) -> Result<Option<SslAcceptorBuilder>, HttpError> {
    let files = config
        .server
        .tls_certificate
        .as_deref()
        .zip(config.server.tls_key.as_deref());
    let Some((certificate, key)) = files else {
        return Ok(None);
    };
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error| HttpError::Tls { path, error }
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder
        .set_certificate_chain_file(certificate)
        .map_err(wrong(certificate))?;
    let passphrase = config.server.tls_passphrase_file.as_deref();
    builder
        .set_private_key(&*read_tls_key(key, passphrase)?)
        .map_err(wrong(key))?;
    builder.check_private_key().map_err(wrong(key))?;
    if let Some(clients) = clients {
        ask_for_certificates(&mut builder, clients, config.client_certificates.require)?;
    }
    Ok(Some(builder))
}

/// Requests a certificate from clients. An untrusted one ends the handshake; without one it
/// continues, unless a certificate is required.
fn ask_for_certificates(
    builder: &mut SslAcceptorBuilder,
    clients: &ClientCertificates,
    require: bool,
) -> Result<(), ErrorStack> {
    let (anchors, names) = clients.for_handshakes()?;
    // As in `for_handshakes`: each configured CA is a trust anchor, even without its root.
    builder.set_verify_cert_store(anchors)?;
    builder
        .verify_param_mut()
        .set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    builder.set_client_ca_list(names);
    let mut mode = SslVerifyMode::PEER;
    if require {
        mode |= SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    }
    builder.set_verify(mode);
    // A resumed session would carry a client certificate that this handshake has not verified, and
    // without its chain. So resumption is off: no cache, no tickets.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_num_tickets(0)?;
    builder.set_session_id_context(b"tn-authority")
}

/// Stores the client's certificate with its connection, for the requests on it.
fn keep_certificate(connection: &dyn Any, data: &mut Extensions) {
    let tls = connection.downcast_ref::<TlsStream<TcpStream>>();
    if let Some(certificate) = tls.and_then(|tls| PresentedCertificate::of_connection(tls.ssl())) {
        data.insert(certificate);
    }
}
