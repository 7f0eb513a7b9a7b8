//! A TLS server on loopback, with a certificate of a CA of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use chrono::TimeDelta;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::X509;
use tn_authority::domain::Clock;
use tn_authority::signer::development::DevelopmentCa;

/// It listens from the start, and serves as long as the test runs.
pub struct TlsServer {
    pub address: SocketAddr,
    /// The certificate of its CA.
    pub root: String,
    listener: TcpListener,
    tls: SslAcceptor,
}

impl TlsServer {
    pub fn new() -> Self {
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Test CA", validity.clone()).expect("a CA");
        let issued = ca.issue_tls_certificate(&["127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
        tls.set_private_key(&key).expect("a key");
        let leaf = X509::from_pem(issued.chain_pem.as_bytes()).expect("a certificate");
        tls.set_certificate(&leaf).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            address: listener.local_addr().expect("an address"),
            root: ca.certificate_pem().expect("a certificate"),
            listener,
            tls: tls.build(),
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Hands each connection over, in a thread of its own, and closes it afterwards.
    pub fn serve(self, each: impl Fn(&mut SslStream<TcpStream>) + Send + Sync + 'static) {
        let each = Arc::new(each);
        thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                let (tls, each) = (self.tls.clone(), Arc::clone(&each));
                thread::spawn(move || {
                    let Ok(mut stream) = tls.accept(stream) else {
                        return;
                    };
                    each(&mut stream);
                    let _ = stream.shutdown();
                });
            }
        });
    }
}

/// A request with its body; `None` if the client breaks off.
pub fn whole_request(stream: &mut impl std::io::Read) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let taken = stream.read(&mut piece).ok().filter(|taken| *taken > 0)?;
        bytes.extend_from_slice(&piece[..taken]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or_default() {
            return Some(text);
        }
    }
}
