//! A proxy between the service and its database, on the loopback interface: the network that a test can take away.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with what arrives.
#[derive(Debug, Default)]
struct ProxyState {
    /// Connections are closed at once.
    stopped: AtomicBool,
    /// Connections with smaller numbers are kept and acknowledged, and nothing is passed on: a frozen server.
    frozen_below: AtomicU64,
    /// Connections with smaller numbers lose their queries, after this number of them. The login is passed on, and
    /// all is acknowledged.
    swallowed_below: AtomicU64,
    queries: AtomicU64,
    opened: AtomicU64,
    /// Whether the last that was passed on came from the server.
    answered: AtomicBool,
    round_trips: AtomicU64,
    ended: AtomicBool,
}

#[derive(Debug)]
pub struct TcpProxy {
    pub address: SocketAddr,
    /// Where new connections go.
    server: Arc<Mutex<SocketAddr>>,
    state: Arc<ProxyState>,
}

impl TcpProxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(ProxyState::default());
        let shared = Arc::clone(&state);
        let server = Arc::new(Mutex::new(server));
        let servers = Arc::clone(&server);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                if shared.stopped.load(Ordering::SeqCst) {
                    continue;
                }
                let number = shared.opened.fetch_add(1, Ordering::SeqCst);
                let server = *servers.lock().expect("an address");
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                for (from, to, asks) in [(&client, &server, true), (&server, &client, false)] {
                    let from = from.try_clone().expect("a socket");
                    let to = to.try_clone().expect("a socket");
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, (number, asks), &state));
                }
            }
        });
        Self {
            address,
            server,
            state,
        }
    }

    /// How often the server was sent something after an answer.
    pub fn round_trips(&self) -> u64 {
        self.state.round_trips.load(Ordering::SeqCst)
    }

    /// Closes all connections, and each that comes.
    pub fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
    }

    /// Keeps all connections, and those that come, without passing anything on.
    pub fn freeze(&self) {
        self.state.frozen_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// Passes on what comes over new connections, as another server would. Those that are frozen stay so.
    pub fn fail_over(&self) {
        let opened = self.state.opened.load(Ordering::SeqCst);
        self.state.frozen_below.store(opened, Ordering::SeqCst);
    }

    /// New connections go to this server. The others go on with the old one.
    pub fn fail_over_to(&self, server: SocketAddr) {
        *self.server.lock().expect("an address") = server;
    }

    /// All connections, and those that come, lose their queries after this number of them.
    pub fn swallow_queries_after(&self, queries: u64) {
        self.state.queries.store(queries, Ordering::SeqCst);
        self.state.swallowed_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// Connections that come lose nothing any more; the others still do.
    pub fn swallow_no_more(&self) {
        let opened = self.opened();
        self.state.swallowed_below.store(opened, Ordering::SeqCst);
    }

    /// How many connections there have been.
    pub fn opened(&self) -> u64 {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// Passes everything on, and what was held back first.
    pub fn resume(&self) {
        self.state.stopped.store(false, Ordering::SeqCst);
        self.state.frozen_below.store(0, Ordering::SeqCst);
        self.state.swallowed_below.store(0, Ordering::SeqCst);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, (number, asks): (u64, bool), state: &ProxyState) {
    let mut queries = 0;
    let tick = Duration::from_millis(5);
    from.set_read_timeout(Some(tick)).expect("a timeout");
    let mut buffer = [0; 16_384];
    loop {
        if state.stopped.load(Ordering::SeqCst) || state.ended.load(Ordering::SeqCst) {
            break;
        }
        if number < state.frozen_below.load(Ordering::SeqCst) {
            std::thread::sleep(tick);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                // It may have been stopped or frozen during the read.
                while number < state.frozen_below.load(Ordering::SeqCst) {
                    if state.stopped.load(Ordering::SeqCst) || state.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    std::thread::sleep(tick);
                }
                if state.answered.swap(!asks, Ordering::SeqCst) && asks {
                    state.round_trips.fetch_add(1, Ordering::SeqCst);
                }
                // `Query` or `Parse`, and not a message of the login.
                queries += u64::from(asks && matches!(buffer[0], b'Q' | b'P'));
                if queries > state.queries.load(Ordering::SeqCst)
                    && number < state.swallowed_below.load(Ordering::SeqCst)
                {
                    continue;
                }
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
