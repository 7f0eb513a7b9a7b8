//! `serve` as a process of its own, with or without TLS, and connections to it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpSocket;
use chrono::TimeDelta;
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use tempfile::TempDir;
use tn_authority::app::block_on;
use tn_authority::domain::Clock;
use tn_authority::signer::development::DevelopmentCa;

use crate::crash::kill::{Carrier, free_port, wait_for};
use crate::support::{Db, Kind, Signal, keep_text, send_signal, write_private};

/// Long enough for a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The service as a process, until it is dropped.
pub struct Serving {
    pub carrier: Carrier,
    process: Child,
    pub address: SocketAddr,
    pub operations: SocketAddr,
    has_tls: bool,
    dir: TempDir,
    /// Goes after the process.
    _db: Db,
}

pub trait Stream: Read + Write {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for SslStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

pub type Client = Box<dyn Stream>;

impl Serving {
    /// Settings are keys of `[server]`, in upper case, or `SECTION__KEY`.
    pub fn start(has_tls: bool, settings: &[(&str, usize)]) -> Self {
        let db = Db::from(Kind::Sqlite);
        let (carrier, dir) = (Carrier::over(&db), TempDir::new().expect("a folder"));
        let (address, operations) = (free_port(), free_port());
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let mut command = carrier.command(&["serve"]);
        command
            .env("TN_AUTHORITY__SERVER__LISTEN", address.to_string())
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", operations.to_string())
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log);
        command.envs(allocator_settings());
        for (key, value) in settings {
            let section = if key.contains("__") { "" } else { "SERVER__" };
            command.env(format!("TN_AUTHORITY__{section}{key}"), value.to_string());
        }
        if has_tls {
            write_certificate(dir.path());
            command
                .env("TN_AUTHORITY__SERVER__TLS_KEY", dir.path().join(KEY))
                .env(
                    "TN_AUTHORITY__SERVER__TLS_CERTIFICATE",
                    dir.path().join(CHAIN),
                );
        }
        let mut process = command.spawn().expect("the service");
        wait_for(address, &mut process);
        wait_for(operations, &mut process);
        Self {
            carrier,
            process,
            address,
            operations,
            has_tls,
            dir,
            _db: db,
        }
    }

    /// Puts another certificate and key in place of those of TLS, as a client of an ACME CA does.
    pub fn renew_certificate(&self) {
        write_certificate(self.dir.path());
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(&self.process, signal);
    }

    pub fn connect(&self) -> Client {
        self.over(TcpStream::connect(self.address).expect("a connection"))
    }

    /// A connection from another address of this host.
    pub fn connect_from(&self, ip: &str) -> Client {
        let source = SocketAddr::new(ip.parse().expect("an address"), 0);
        let connected = block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(source)?;
            socket.connect(self.address).await?.into_std()
        });
        let stream = connected.expect("a connection");
        stream.set_nonblocking(false).expect("a blocking socket");
        self.over(stream)
    }

    fn over(&self, tcp: TcpStream) -> Client {
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        if self.has_tls {
            Box::new(self.handshake(tcp, b"\x08http/1.1"))
        } else {
            Box::new(tcp)
        }
    }

    pub fn handshake(&self, tcp: TcpStream, protocols: &[u8]) -> SslStream<TcpStream> {
        assert!(self.has_tls);
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_alpn_protos(protocols).expect("protocols");
        let connected = connector.build().connect("localhost", tcp);
        connected.expect("a handshake")
    }

    /// A client at another address is answered, and how long it took.
    pub fn answers_others(&self) -> Duration {
        let start = Instant::now();
        let mut other = self.connect_from("127.0.0.9");
        let answer = exchange(&mut other, "GET", "/healthz", "connection: close\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        start.elapsed()
    }

    /// Kilobytes of memory that the process has now.
    pub fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).expect("the status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next());
        kilobytes.expect("a size").parse().expect("a size")
    }

    /// The value of a metric of the service.
    pub fn metric(&self, name: &str) -> u64 {
        let mut operations = TcpStream::connect(self.operations).expect("a connection");
        let text = exchange(&mut operations, "GET", "/metrics", "connection: close\r\n");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.trim().parse().expect("a number")
    }

    /// Waits until a metric is as it should be.
    pub fn until(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        let start = Instant::now();
        loop {
            let value = self.metric(name);
            if is_so(value) {
                return;
            }
            assert!(start.elapsed() < 2 * PATIENCE, "{name} stays {value}");
            sleep(Duration::from_millis(20));
        }
    }
}

const KEY: &str = "tls.key";
const CHAIN: &str = "tls.pem";

fn write_certificate(dir: &Path) {
    let now = Clock::system().now();
    let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
    let ca = DevelopmentCa::new("TLS", validity.clone()).expect("a CA");
    let issued = ca.issue_tls_certificate(&["127.0.0.1"], &validity);
    let issued = issued.expect("a certificate");
    write_private(&dir.join(KEY), &issued.key_pem);
    fs::write(dir.join(CHAIN), &issued.chain_pem).expect("a file");
}

/// The variables for the allocator, from the unit that the service is run by.
fn allocator_settings() -> Vec<(&'static str, &'static str)> {
    let unit = include_str!("../../../deploy/tn-authority.service");
    let mut lines = unit.lines();
    let line = lines.find_map(|line| line.strip_prefix("Environment="));
    let variables = line.expect("the variables").split(' ');
    variables
        .map(|one| one.split_once('=').expect("a value"))
        .collect()
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        keep_text(&String::from_utf8_lossy(&log));
    }
}

pub fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n")
}

/// Sends a request, and returns all that comes back until the service hangs up.
pub fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    fields: &str,
) -> String {
    let request = head(method, path, fields);
    // A server that has seen enough may close before all is sent.
    let _ = stream.write_all(request.as_bytes());
    read_all(stream)
}

/// All that comes until the service hangs up, in whichever way.
pub fn read_all(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// One answer with a `Content-Length`: its head and body.
pub fn read_answer(stream: &mut impl Read) -> (String, Vec<u8>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{head:?}");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head");
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    (head, body)
}

/// How long it takes until the service hangs up on a client that only sends `piece` periodically.
pub fn held(stream: &mut Client, piece: &[u8], most: Duration) -> Duration {
    let start = Instant::now();
    let interval = Duration::from_millis(100);
    stream
        .tcp()
        .set_read_timeout(Some(interval))
        .expect("a timeout");
    let mut bytes = [0; 4096];
    while start.elapsed() < most {
        let sent = stream.write_all(piece);
        match stream.read(&mut bytes) {
            Ok(0) => return start.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return start.elapsed(),
        }
        if sent.is_err() {
            return start.elapsed();
        }
    }
    panic!("after {most:?} it is still connected");
}
