//! An issuer's HTTPS endpoint, which can also do what no endpoint should.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use serde_json::Value;

use crate::support::World;

/// What the endpoint does with a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    Publish(Value),
    /// These bytes, as the whole answer.
    Say(Vec<u8>),
    /// Takes the request, and says nothing until the endpoint goes.
    Hang,
    /// An answer of so many bytes.
    Long(usize),
    /// A byte now and then.
    Drip,
}

pub struct Endpoint {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: AtomicUsize,
    sent: AtomicUsize,
    gone: AtomicBool,
}

impl Endpoint {
    /// Vouched for by the world's CA.
    pub fn of(world: &World, behaviour: Behaviour) -> Self {
        let validity = world.in_seconds(-3600)..=world.in_seconds(3600 * 24 * 3650);
        let issued = world
            .ca
            .issue_tls_certificate(&["localhost", "127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let mut acceptor =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
        acceptor.set_private_key(&key).expect("a key");
        let chain = X509::stack_from_pem(issued.chain_pem.as_bytes()).expect("a chain");
        acceptor.set_certificate(&chain[0]).expect("a certificate");
        let acceptor = Arc::new(acceptor.build());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            requests: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.gone.load(Ordering::SeqCst) {
                    return;
                }
                let (acceptor, shared) = (Arc::clone(&acceptor), Arc::clone(&serving));
                std::thread::spawn(move || answer(&acceptor, stream, &shared));
            }
        });
        Self {
            url: format!("https://localhost:{port}/keys"),
            shared,
        }
    }

    pub fn now(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("a lock") = behaviour;
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many bytes of long answers it got rid of.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        let address = self
            .url
            .strip_prefix("https://")
            .and_then(|rest| rest.split('/').next());
        let _ = TcpStream::connect(address.expect("an address"));
    }
}

fn answer(acceptor: &SslAcceptor, stream: TcpStream, shared: &Shared) {
    let socket = stream.try_clone().expect("a socket");
    let Ok(mut tls) = acceptor.accept(stream) else {
        return;
    };
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match tls.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().expect("a lock").clone();
    let start = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    match behaviour {
        Behaviour::Publish(keys) => {
            let body = keys.to_string();
            let _ = tls.write_all(format!("{}{body}", start(body.len())).as_bytes());
        }
        Behaviour::Say(bytes) => {
            let _ = tls.write_all(&bytes);
        }
        Behaviour::Hang => wait(shared),
        Behaviour::Long(length) => {
            let _ = tls.write_all(start(length).as_bytes());
            let piece = vec![b' '; 65_536];
            let mut left = length;
            while left > 0 {
                let next = left.min(piece.len());
                if tls.write_all(&piece[..next]).is_err() {
                    return;
                }
                shared.sent.fetch_add(next, Ordering::SeqCst);
                left -= next;
            }
        }
        Behaviour::Drip => {
            let _ = tls.write_all(start(1_000).as_bytes());
            while !shared.gone.load(Ordering::SeqCst) && tls.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    let _ = tls.shutdown();
    let _ = socket.shutdown(Shutdown::Both);
}

fn wait(shared: &Shared) {
    while !shared.gone.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
}
