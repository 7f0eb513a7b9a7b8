//! The service with TLS, and real handshakes with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;
use tn_authority::app::{self, Stopper};
use tn_authority::config::Config;

use super::READ;
use super::client::Client;
use crate::support::service::{Answer, Api};
use crate::support::{wait, write_private};

/// The service as it serves, with TLS.
pub struct Tls {
    pub address: SocketAddr,
    pub stopper: Stopper,
    pub thread: Option<JoinHandle<()>>,
    pub root: X509,
    pub root_file: PathBuf,
}

impl Tls {
    pub fn of(api: &Api, require: bool) -> Self {
        let world = &api.world;
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let issued = world
            .ca
            .issue_tls_certificate(&["localhost", "127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let (key, chain) = (
            world.dir.path().join("tls.key"),
            world.dir.path().join("tls.pem"),
        );
        write_private(&key, &issued.key_pem);
        std::fs::write(&chain, &issued.chain_pem).expect("a file");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.operations.listen = config.server.listen;
        config.server.tls_certificate = Some(chain);
        config.server.tls_key = Some(key);
        config.server.workers = Some(1);
        config.server.tls_poll_interval = 1;
        config.server.shutdown_timeout = 1;
        config.client_certificates.require = require;
        let service = api.service.clone().into_inner();
        let (started, running) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            app::block_on(async move {
                let running = app::start(service, &config).expect("a listener");
                started
                    .send((running.address, running.stopper()))
                    .expect("a test");
                running.wait().await.expect("a server");
            });
        });
        let (address, stopper) = running.recv().expect("a server");
        let root = world.ca.certificate_pem().expect("a root");
        Self {
            address,
            stopper,
            thread: Some(thread),
            root: X509::from_pem(root.as_bytes()).expect("a root"),
            root_file: world.dir.path().join("root.pem"),
        }
    }

    /// A connection, if the handshake gets that far. A server's refusal may come only when something is read.
    pub fn connect(&self, client: Option<&Client>) -> Option<SslStream<TcpStream>> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector
            .cert_store_mut()
            .add_cert(self.root.clone())
            .expect("a root");
        connector.set_verify(SslVerifyMode::PEER);
        if let Some(client) = client {
            connector
                .set_certificate(&client.certificate)
                .expect("a certificate");
            connector.set_private_key(&client.key).expect("a key");
            for one in &client.chain {
                connector
                    .add_extra_chain_cert(one.clone())
                    .expect("a chain");
            }
        }
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        connector.build().connect("localhost", stream).ok()
    }

    /// The answer to one request of a connection, which stays open. None if there is no answer.
    pub fn ask(stream: &mut SslStream<TcpStream>, head: &str, body: &str) -> Option<Answer> {
        let length = body.len();
        let request = format!("{head}host: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
            bytes.extend_from_slice(&piece[..n]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let mut lengths = head
                    .lines()
                    .filter_map(|line| line.strip_prefix("content-length: "));
                let length: usize = lengths.next_back()?.parse().ok()?;
                if body.len() >= length {
                    return Some(Answer::read(&bytes));
                }
            }
        }
    }

    /// One request of a client, with these header lines.
    pub fn get(&self, client: Option<&Client>, path: &str, head: &str) -> Option<Answer> {
        let mut stream = self.connect(client)?;
        Self::ask(&mut stream, &format!("GET {path} HTTP/1.1\r\n{head}"), "")
    }

    pub fn post(
        &self,
        client: Option<&Client>,
        path: &str,
        head: &str,
        body: &str,
    ) -> Option<Answer> {
        let mut stream = self.connect(client)?;
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n{head}");
        Self::ask(&mut stream, &head, body)
    }

    #[track_caller]
    pub fn refused(&self, client: &Client, head: &str, api: &Api, reason: &str) {
        refused(api, reason, || {
            self.get(Some(client), READ, head).expect("an answer")
        });
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        wait(self.stopper.stop());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[track_caller]
pub fn refused(api: &Api, reason: &str, ask: impl FnOnce() -> Answer) {
    let all = |reason: &str| {
        let count = |proof| format!("unproven_total{{proof=\"{proof}\",reason=\"{reason}\"}}");
        api.world.count(&count("certificate")) + api.world.count(&count("authorization"))
    };
    let before = all(reason);
    ask().problem(403, "forbidden");
    let text = api.world.metrics.render().expect("metrics");
    assert_eq!(all(reason), before + 1, "not {reason}:\n{text}");
}
