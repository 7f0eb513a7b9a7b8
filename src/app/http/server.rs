//! A listener: accepts connections, with or without TLS, and hands them to the HTTP library.
//!
//! As `actix_web::HttpServer`, which has no way to put a stream of ours below the HTTP library.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request, Response};
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory,
    fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use super::BACKLOG;
use super::connection::{Connection, Transport};
use super::exchange::{Exchange, PIECE_BYTES, ResponseBody};
use super::patience::{ClientTimeouts, KEEP_ALIVE};
use super::slots::{Slot, Slots};
use super::tls::{ListenerTls, WorkerAcceptor};
use crate::api::OverTls;
use crate::callers::PresentedCertificate;

/// How long a connection that is being closed waits for its client.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) workers: usize,
    pub(super) slots: Arc<Slots>,
    pub(super) timeouts: ClientTimeouts,
    /// Seconds for requests in progress to finish when the service stops.
    pub(super) shutdown_timeout: u64,
}

/// Serves an app on a listener. Must be called inside a runtime.
pub(super) fn serve<F, I, S, B>(
    listener: TcpListener,
    tls: Option<Arc<ListenerTls>>,
    bounds: Bounds,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let connections = (bounds.slots.max() / bounds.workers).max(1);
    // The default limits handshakes in progress to 256 per worker, so clients that connect and send
    // nothing would keep others waiting.
    actix_tls::accept::max_concurrent_tls_connect(connections);
    let builder = Server::build()
        .workers(bounds.workers)
        .max_concurrent_connections(connections)
        .shutdown_timeout(bounds.shutdown_timeout)
        // On a signal, the library would stop the whole runtime as soon as one server has stopped,
        // with the requests that are in progress at another.
        .disable_signals()
        .backlog(BACKLOG);
    let stop = builder.graceful_shutdown_signal();
    let name = format!("http-{address}");
    let builder = match tls {
        None => builder.listen(name, listener, move || {
            let (slots, timeouts) = (Arc::clone(&bounds.slots), bounds.timeouts);
            let accept = fn_service(move |tcp: TcpStream| {
                let taken = take(&slots, &tcp);
                async move {
                    let (slot, peer) = taken?;
                    let connection = Connection::new(tcp, slot, timeouts);
                    Ok::<_, DispatchError>((connection, Protocol::Http1, Some(peer)))
                }
            });
            accept.and_then(http(app(), timeouts, stop.clone()))
        })?,
        Some(tls) => builder.listen(name, listener, move || {
            let (slots, timeouts) = (Arc::clone(&bounds.slots), bounds.timeouts);
            let acceptor = WorkerAcceptor::new(Arc::clone(&tls));
            let accept = fn_service(move |tcp: TcpStream| {
                let (taken, acceptor) = (take(&slots, &tcp), acceptor.current());
                async move {
                    let (slot, peer) = taken?;
                    let acceptor = acceptor.ok_or_else(refused)?;
                    let stream = acceptor.call(tcp).await.map_err(|_| refused())?;
                    let connection = Connection::new(stream, slot, timeouts);
                    Ok::<_, DispatchError>((connection, Protocol::Http1, Some(peer)))
                }
            });
            accept.and_then(http(app(), timeouts, stop.clone()))
        })?,
    };
    Ok(builder.run())
}

/// A slot for a new connection. Without one it is closed, before any handshake.
fn take(slots: &Arc<Slots>, tcp: &TcpStream) -> io::Result<(Slot, SocketAddr)> {
    let peer = tcp.peer_addr()?;
    // The last piece of an answer must not wait until the client has acknowledged the one before.
    tcp.set_nodelay(true)?;
    let slot = slots.take(peer).ok_or_else(refused)?;
    Ok((slot, peer))
}

/// The HTTP library only drops the connection; it neither sends nor logs this.
fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// The HTTP library, over connections of ours.
fn http<T, I, S, B>(
    app: I,
    timeouts: ClientTimeouts,
    stop: GracefulShutdownSignal,
) -> impl ServiceFactory<
    (Connection<T>, Protocol, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    T: Transport,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|e| e.into().error_response());
    let app = map_config(app, |()| AppConfig::default());
    let app = apply_fn_factory(app, |mut request: Request, app| {
        let exchange = Exchange::begin(&mut request);
        let answer = app.call(request);
        async move {
            let answer: Response<B> = answer.await?.into();
            Ok(answer.map_body(|_, body| ResponseBody::new(body, exchange)))
        }
    });
    HttpService::build()
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(KEEP_ALIVE)))
        .client_request_timeout(Duration::from_secs(timeouts.request))
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1_write_buffer_size(PIECE_BYTES)
        .graceful_shutdown_signal(move || {
            let stop = stop.clone();
            async move { stop.notified().await }
        })
        .on_connect_ext(|connection: &Connection<T>, data| {
            data.insert(Rc::clone(connection.flow()));
            data.insert(connection.client().clone());
            if let Some(tls) = connection.tls() {
                data.insert(OverTls);
                if let Some(certificate) = PresentedCertificate::of_connection(tls) {
                    data.insert(certificate);
                }
            }
        })
        .finish(app)
}
