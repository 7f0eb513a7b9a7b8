//! A server of `MESSAGE` requests outside of a dialog (RFC 3428 §7): answers each, and a repetition
//! with the same answer.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::connections::{OpenConnection, OpenConnections};
use super::message::{SipMessage, StartLine};
use super::once_a_minute::OnceAMinute;
use super::target::{SipTarget, SipTransport};

/// How long an answer is kept for repetitions: timer J (RFC 3261 §17.2.2).
const KEEP: Duration = Duration::from_secs(32);
/// How many answers are kept.
const MAX_KEPT: usize = 4_096;
/// How many bytes of answers are kept: an answer repeats header fields of its request.
const MAX_KEPT_BYTES: usize = 4 << 20;
/// The longest request that is served; others are dropped. With the path that proxies have added, a
/// `MESSAGE` is much shorter: it should not exceed 1300 bytes (RFC 3428 §8).
const MAX_REQUEST: usize = 8_192;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// How long a thread waits before it looks whether it has to stop.
const LOOK: Duration = Duration::from_millis(200);

/// A `MESSAGE` that came in.
#[derive(Debug)]
pub struct IncomingMessage<'a> {
    pub from: SocketAddr,
    /// Whom it is for: the user part of the request URI, such as `+12125551001`.
    pub user: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// Decides the status of the answer.
pub type Handler = dyn Fn(&IncomingMessage<'_>) -> u16 + Send + Sync;

/// A running server. Dropping it stops its threads.
#[derive(Debug)]
pub struct SipServer {
    local: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SipServer {
    /// Listens. Only `sources` are answered; what others send is dropped before it is read as SIP.
    ///
    /// # Errors
    /// The system's error if the address cannot be listened on.
    pub fn start(
        listen: &SipTarget,
        sources: Vec<IpAddr>,
        handler: Arc<Handler>,
    ) -> io::Result<Self> {
        let address = listen.resolve()?;
        let stop = Arc::new(AtomicBool::new(false));
        let answerer = Arc::new(Answerer {
            sources,
            strangers: OnceAMinute::default(),
            handler,
            kept: Mutex::default(),
            stop: Arc::clone(&stop),
        });
        let name = thread::Builder::new().name("sip".to_owned());
        let (local, thread) = match listen.transport() {
            SipTransport::Udp => {
                let socket = UdpSocket::bind(address)?;
                socket.set_read_timeout(Some(LOOK))?;
                (
                    socket.local_addr()?,
                    name.spawn(move || answerer.over_udp(&socket))?,
                )
            }
            SipTransport::Tcp => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                (
                    listener.local_addr()?,
                    name.spawn(move || over_tcp(&answerer, &listener))?,
                )
            }
        };
        Ok(Self {
            local,
            stop,
            thread: Some(thread),
        })
    }

    /// The address, with the port that the system chose for port 0.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether it still listens. It stops by itself only through a fault, such as a panic.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for SipServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Names a transaction: a hash of the branch, the sender and the method (RFC 3261 §17.2.3).
type Transaction = [u8; 32];

fn transaction(branch: &str, sender: &str, method: &str) -> Transaction {
    let mut digest = Sha256::new();
    for part in [branch, sender, method] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

struct Answerer {
    sources: Vec<IpAddr>,
    strangers: OnceAMinute,
    handler: Arc<Handler>,
    kept: Mutex<KeptAnswers>,
    stop: Arc<AtomicBool>,
}

/// The answers of the last transactions.
#[derive(Debug, Default)]
struct KeptAnswers {
    answers: HashMap<Transaction, Vec<u8>>,
    order: VecDeque<(Instant, Transaction)>,
    /// How many bytes the answers have.
    bytes: usize,
}

impl KeptAnswers {
    fn keep(&mut self, transaction: Transaction, answer: &[u8]) {
        let now = Instant::now();
        let is_over = |at: &Instant| now.saturating_duration_since(*at) > KEEP;
        let is_full = |kept: &Self| {
            kept.order.len() >= MAX_KEPT || kept.bytes + answer.len() > MAX_KEPT_BYTES
        };
        while (is_full(self) && !self.order.is_empty())
            || self.order.front().is_some_and(|(at, _)| is_over(at))
        {
            if let Some((_, oldest)) = self.order.pop_front() {
                let removed = self.answers.remove(&oldest);
                self.bytes -= removed.map_or(0, |answer| answer.len());
            }
        }
        self.bytes += answer.len();
        match self.answers.insert(transaction, answer.to_vec()) {
            Some(before) => self.bytes -= before.len(),
            None => self.order.push_back((now, transaction)),
        }
    }
}

impl Answerer {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn accepts(&self, from: SocketAddr) -> bool {
        let from = from.ip().to_canonical();
        let is_known = self.sources.contains(&from);
        if !is_known && self.strangers.is_due(Instant::now()) {
            log::warn!(from:%; "dropped what came from an address that is not among the proxies");
        }
        is_known
    }

    fn over_udp(&self, socket: &UdpSocket) {
        // A byte more: what fills it is too long.
        let mut buffer = vec![0; MAX_REQUEST + 1];
        while !self.stopped() {
            let (length, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if is_timeout(&error) => continue,
                Err(error) => {
                    // Such as an ICMP error of an earlier answer.
                    log::debug!("a datagram could not be received: {error}");
                    thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            if !self.accepts(from) || length > MAX_REQUEST {
                continue;
            }
            if let Ok(request) = SipMessage::from_datagram(&buffer[..length])
                && let Some(answer) = self.answer(&request, from)
                && let Err(error) = socket.send_to(&answer, from)
            {
                log::debug!("an answer could not be sent: {error}");
            }
        }
    }

    /// Answers the requests of one connection, until it ends.
    fn over_connection(
        &self,
        mut stream: TcpStream,
        from: SocketAddr,
        open: &OpenConnection,
    ) -> io::Result<()> {
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(IDLE))?;
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        let mut heard = Instant::now();
        while !self.stopped() && heard.elapsed() < IDLE {
            let length = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(error),
            };
            received.extend_from_slice(&buffer[..length]);
            // A proxy keeps a connection open by empty lines (RFC 5626 §3.5.1).
            while received.starts_with(b"\r\n") {
                received.drain(..2);
            }
            while let Ok(Some((request, length))) = SipMessage::from_stream(&received) {
                if length > MAX_REQUEST {
                    return Ok(());
                }
                // Only whole messages count as activity, so nobody keeps a place by trickling.
                heard = Instant::now();
                open.is_active(heard);
                received.drain(..length);
                if let Some(answer) = self.answer(&request, from) {
                    stream.write_all(&answer)?;
                }
            }
            if received.len() > MAX_REQUEST || SipMessage::from_stream(&received).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The answer to a request; `None` for what needs none: a response, an `ACK`, or a request that
    /// cannot be answered.
    fn answer(&self, request: &SipMessage, from: SocketAddr) -> Option<Vec<u8>> {
        let StartLine::Request { method, uri } = &request.start else {
            return None;
        };
        let is_complete = ["from", "to", "call-id", "cseq"]
            .iter()
            .all(|name| request.header(name).is_some());
        if method == "ACK" || !is_complete {
            return None;
        }
        let sender = request.top_via()?.split(';').next().unwrap_or_default();
        let transaction = transaction(request.branch()?, sender, method);
        if let Some(answer) = self.kept.lock().answers.get(&transaction) {
            return Some(answer.clone());
        }
        let status = match method.as_str() {
            "MESSAGE" => (self.handler)(&IncomingMessage {
                from,
                user: user_of(uri),
                content_type: request.header("content-type").unwrap_or_default(),
                body: &request.body,
            }),
            // Proxies ask so whether the agent is alive.
            "OPTIONS" => 200,
            _ => 405,
        };
        let tag = tag(request);
        let mut answer = request
            .response(status, &tag)
            .with("Allow", "MESSAGE, OPTIONS");
        answer.mark_top_via(&format!(";received={};rport={}", from.ip(), from.port()));
        let answer = answer.to_bytes();
        self.kept.lock().keep(transaction, &answer);
        Some(answer)
    }
}

/// Accepts connections, each with a thread of its own.
fn over_tcp(answerer: &Arc<Answerer>, listener: &TcpListener) {
    let open = OpenConnections::shared_by(answerer.sources.len());
    while !answerer.stopped() {
        let Ok((stream, from)) = listener.accept() else {
            thread::sleep(LOOK / 4);
            continue;
        };
        if !answerer.accepts(from) || stream.set_nonblocking(false).is_err() {
            continue;
        }
        let Some(connection) = open.enter(from.ip().to_canonical(), &stream, Instant::now()) else {
            continue;
        };
        let answerer = Arc::clone(answerer);
        let serve = move || {
            if let Err(error) = answerer.over_connection(stream, from, &connection) {
                log::debug!("a connection ended: {error}");
            }
        };
        let name = thread::Builder::new().name("sip-connection".to_owned());
        if let Err(error) = name.spawn(serve) {
            log::warn!("a connection cannot be served: {error}");
        }
    }
}

/// The tag of the answers to one request: the same for each repetition.
fn tag(request: &SipMessage) -> String {
    let mut digest = Sha256::new();
    for name in ["via", "call-id", "cseq"] {
        digest.update(request.header(name).unwrap_or_default());
        digest.update([0]);
    }
    hex::encode(&digest.finalize()[..8])
}

/// The user part of a SIP or tel URI, such as `+12125551001`.
fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    let user = rest.split_once('@').map_or(rest, |(user, _)| user);
    user.split(';').next().unwrap_or_default()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_number_and_in_bytes() {
        let mut kept = KeptAnswers::default();
        let named = |n: usize| transaction(&n.to_string(), "proxy", "MESSAGE");
        for n in 0..MAX_KEPT + 10 {
            kept.keep(named(n), b"SIP/2.0 200 OK");
        }
        assert_eq!((kept.answers.len(), kept.order.len()), (MAX_KEPT, MAX_KEPT));
        let long = vec![b'a'; MAX_REQUEST];
        for n in 0..2 * MAX_KEPT {
            kept.keep(named(n), &long);
            assert!(kept.bytes <= MAX_KEPT_BYTES);
        }
        let bytes: usize = kept.answers.values().map(Vec::len).sum();
        assert_eq!((kept.bytes, kept.order.len()), (bytes, kept.answers.len()));
        assert!(kept.answers.contains_key(&named(2 * MAX_KEPT - 1)));
    }
}
