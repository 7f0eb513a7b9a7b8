//! Serves what needs no database, while the service waits for it at its start.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;

use super::patience::ClientTimeouts;
use super::server::{Bounds, serve};
use super::slots::Slots;
use super::{HttpError, ListenerTls, Listeners};
use crate::api::{self, ConcurrencyLimit, WaitingState};
use crate::app::{Signals, block_on, file_limit};
use crate::config::Config;
use crate::telemetry::{Listener, Metrics};

/// The servers on both listeners, on a thread of their own.
#[derive(Debug)]
pub struct WaitingServers {
    listeners: Listeners,
    handles: [ServerHandle; 2],
    thread: JoinHandle<()>,
}

impl WaitingServers {
    /// A signal stops them.
    pub fn start(
        config: &Config,
        waiting: WaitingState,
        signals: Signals,
    ) -> Result<Self, HttpError> {
        let listeners = block_on(async { Listeners::open(config) })?;
        let ours = listeners.try_clone()?;
        let (address, operations) = (ours.address, ours.operations_address);
        // No client has to authenticate for what is served.
        let tls = ListenerTls::open(config, None)?.map(Arc::new);
        let timeouts = ClientTimeouts {
            request: config.server.request_timeout,
            write: config.server.write_timeout,
        };
        let metrics = Arc::new(Metrics::new().map_err(std::io::Error::other)?);
        let limit = ConcurrencyLimit::at_most(config.server.max_requests);
        let connections = file_limit::connections(config, 1)?;
        let bounds = move |listener, connections, share| Bounds {
            workers: 1,
            slots: Slots::new(
                listener,
                connections,
                share,
                Vec::new(),
                Arc::clone(limit.unsent()),
                Arc::clone(&metrics),
            ),
            timeouts,
            shutdown_timeout: 1,
        };
        let share = config
            .server
            .share_of_an_address(connections, &config.proxy);
        let share = share.filter(|_| config.proxy.addresses.is_empty());
        let public = bounds(Listener::Api, connections, share);
        let most = file_limit::OPERATIONS_CONNECTIONS;
        let operations_bounds = bounds(Listener::Operations, most, None);
        let data = Data::new(waiting);
        let (sender, started) = channel();
        let run = move || {
            block_on(async move {
                let servers = (|| -> std::io::Result<[Server; 2]> {
                    let app = {
                        let data = data.clone();
                        move || api::while_waiting(data.clone())
                    };
                    let public = serve(ours.api, tls, public, app.clone())?;
                    Ok([
                        public,
                        serve(ours.operations, None, operations_bounds, app)?,
                    ])
                })();
                match servers {
                    Ok([public, operations]) => {
                        let handles = [public.handle(), operations.handle()];
                        let stopped = handles.clone();
                        let watched = signals.when_stopped(async move {
                            stop(&stopped).await;
                        });
                        let _ = sender.send(watched.map(|()| handles));
                        let _ = tokio::join!(public, operations);
                    }
                    Err(error) => {
                        let _ = sender.send(Err(error));
                    }
                }
            });
        };
        let thread = thread::Builder::new()
            .name("waiting".to_owned())
            .spawn(run)?;
        let ended = || std::io::Error::other("the thread that serves meanwhile has ended");
        let handles = started.recv().map_err(|_| ended())??;
        log::info!(address:%, operations:%; "serving /certs/, /healthz and /readyz meanwhile");
        Ok(Self {
            listeners,
            handles,
            thread,
        })
    }

    /// Finishes the requests in progress. Connections that arrive meanwhile wait in the queue of
    /// the listeners, which are returned.
    pub fn stop(self) -> Listeners {
        block_on(stop(&self.handles));
        let _ = self.thread.join();
        self.listeners
    }
}

async fn stop(handles: &[ServerHandle; 2]) {
    for handle in handles {
        handle.stop(true).await;
    }
}
