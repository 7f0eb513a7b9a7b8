//! What no client should send, over a real socket to a real service: it answers or hangs up, logs nothing raw, and goes on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::crash::kill::{Carrier, wait_for};
use crate::support::{Db, Kind, keep_text};

both!(
    slow_clients_are_cut_off,
    heads_that_are_too_large_are_refused,
    requests_that_could_be_read_in_two_ways_are_refused,
    unusual_requests_are_answered,
    whatever_is_sent_a_line_of_the_log_is_one_json_object,
);

/// How long a request may take to arrive, in seconds.
const TIMEOUT: u64 = 1;
/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// `serve`, until it is dropped.
struct Service {
    carrier: Carrier,
    process: Child,
    address: SocketAddr,
    dir: TempDir,
    /// Goes after the process.
    _db: Db,
}

impl From<Kind> for Service {
    fn from(kind: Kind) -> Self {
        let db = Db::from(kind);
        let (carrier, dir) = (Carrier::over(&db), TempDir::new().expect("a folder"));
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port");
        let log = fs::File::create(dir.path().join("log")).expect("a file");
        let mut process = carrier
            .command(&["serve"])
            .env("TN_AUTHORITY__SERVER__LISTEN", address.to_string())
            .env("TN_AUTHORITY__SERVER__REQUEST_TIMEOUT", TIMEOUT.to_string())
            .env("TN_AUTHORITY__LOG__FORMAT", "json")
            .env("RUST_LOG", "debug")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the service");
        wait_for(address, &mut process);
        Self {
            carrier,
            process,
            address,
            dir,
            _db: db,
        }
    }
}

impl Service {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// All that comes back until the service hangs up.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has seen enough may close before all is sent.
        let _ = stream.write_all(bytes);
        read(&mut stream)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("the log is UTF-8")
    }

    /// It still answers.
    fn goes_on(&self) {
        let answer = self.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&answer), 200, "{answer}");
    }

    fn post(&self, head: &str, body: &str) -> Vec<u8> {
        let key = &self.carrier.api_key;
        format!(
            "POST /at/account/acme/token HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\n{head}\r\n{body}"
        )
        .into_bytes()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        keep_text(&self.log());
    }
}

fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer; 0 if the service hung up without one.
fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).unwrap_or("0");
    status.parse().expect("a number")
}

fn slow_clients_are_cut_off(service: Service) {
    // A head that never ends, one byte at a time.
    let (mut slow, start) = (service.connect(), Instant::now());
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .expect("a start");
    while slow.write_all(b"a").is_ok() {
        assert!(start.elapsed() < PATIENCE, "it may go on for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    // One that sends nothing at all, and one that stops in its body.
    let mut silent = service.connect();
    assert!(matches!(status(&read(&mut silent)), 0 | 408));
    let answer = service.send(&service.post("content-length: 100\r\nconnection: close\r\n", "{"));
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(answer.contains("\"code\":\"body-too-slow\""), "{answer}");
    service.goes_on();
}

fn heads_that_are_too_large_are_refused(service: Service) {
    let many = "x-many: 1\r\n".repeat(100_000);
    let long = format!("x-long: {}\r\n", "a".repeat(1_048_576));
    let path = "a".repeat(1_048_576);
    for bytes in [
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{long}\r\n"),
        format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n"),
    ] {
        let answer = service.send(bytes.as_bytes());
        // The rest may still be on its way when it hangs up, and then the answer is lost.
        assert!(matches!(status(&answer), 0 | 400 | 431), "{answer}");
        service.goes_on();
    }
    // 97 fields are one too many, and small enough for an answer.
    let many = "x-many: 1\r\n".repeat(97);
    let answer = service.send(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes());
    assert_eq!(status(&answer), 431, "{answer}");
}

fn requests_that_could_be_read_in_two_ways_are_refused(service: Service) {
    let smuggled = "0\r\n\r\nGET /v1/accounts HTTP/1.1\r\nhost: x\r\n\r\n";
    for (head, body) in [
        (
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            smuggled,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            smuggled,
        ),
        ("content-length: 2\r\ncontent-length: 50\r\n", "{}"),
        ("content-length: 2, 50\r\n", "{}"),
        ("content-length: +2\r\n", "{}"),
        ("content-length: -1\r\n", "{}"),
        ("content-length: 99999999999999999999\r\n", "{}"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
        (
            "transfer-encoding: chunked\r\n",
            "ffffffffffffffffff\r\n{}\r\n",
        ),
        ("content-length : 2\r\n", "{}"),
        ("content-length: 2\r\n folded: yes\r\n", "{}"),
    ] {
        let answer = service.send(&service.post(head, body));
        assert!(
            matches!(status(&answer), 0 | 400 | 408),
            "{head:?}: {answer}"
        );
        // At most one answer: what stands behind is no request of its own.
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{head:?}: {answer}"
        );
    }
    service.goes_on();
}

fn unusual_requests_are_answered(service: Service) {
    let one_zero = service.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(status(&one_zero), 200, "{one_zero}");
    let close = "connection: close\r\n\r\n";
    let twice = "GET /healthz HTTP/1.1\r\nhost: x\r\n";
    let pipelined = service.send(format!("{twice}\r\n{twice}{close}").as_bytes());
    assert_eq!(pipelined.matches("HTTP/1.1 200 ").count(), 2, "{pipelined}");
    for (target, expected) in [
        ("http://elsewhere.example/healthz", 200),
        ("/%00", 404),
        ("/%0d%0aset-cookie:%20a=b", 404),
        ("/v1/accounts/%00", 401),
        ("/healthz?%0d%0a", 200),
        ("/../../etc/passwd", 404),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{close}");
        let answer = service.send(request.as_bytes());
        assert_eq!(status(&answer), expected, "{target}: {answer}");
        assert!(!answer.contains("set-cookie"), "{answer}");
    }
    // A chunk with an extension that does not end is a body that does not.
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1_048_576));
    let chunked = service.post(
        "transfer-encoding: chunked\r\nconnection: close\r\n",
        &extension,
    );
    let answer = service.send(&chunked);
    assert!(matches!(status(&answer), 0 | 400 | 408 | 413), "{answer}");
    service.goes_on();
}

fn whatever_is_sent_a_line_of_the_log_is_one_json_object(service: Service) {
    let close = "connection: close\r\n\r\n";
    let hostile = "\u{1b}[31mred\u{7}";
    for request in [
        format!("GET /{hostile} HTTP/1.1\r\nhost: x\r\n{close}"),
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-hostile: {hostile}\r\n{close}"),
        format!("GET /healthz HTTP/1.1\r\nhost: {hostile}\r\n{close}"),
        format!("GET /healthz HTTP/1.1\r\nhost: x\rx-a: b\r\n{close}"),
        format!("GET /%1b%5b31m%0a%7b%7d HTTP/1.1\r\nhost: x\r\n{close}"),
        format!("G\u{1b}T /healthz HTTP/1.1\r\nhost: x\r\n{close}"),
    ] {
        let answer = service.send(request.as_bytes());
        assert!(
            matches!(status(&answer), 200 | 400 | 404),
            "{request:?}: {answer}"
        );
        assert!(!answer.contains('\u{1b}'), "{answer:?}");
    }
    let body = "{\"tktype\":\"\\u001b[31m\\n{}\",\"\\r\\nx\":1}";
    let head = format!(
        "content-length: {}\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\nconnection: close\r\n",
        body.len()
    );
    let answer = service.send(&service.post(&head, body));
    assert_eq!(status(&answer), 400, "{answer}");
    let id = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "))
        .expect("an id")
        .to_owned();

    let log = service.log();
    assert!(
        !log.contains(|c: char| c.is_control() && c != '\n'),
        "{log:?}"
    );
    assert!(!log.contains(&service.carrier.api_key));
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for line in &lines {
        for member in ["ts", "level", "target", "msg"] {
            assert!(line[member].is_string(), "{line}");
        }
        if line["msg"] == "answered" {
            assert!(line["request_id"].is_string(), "{line}");
        }
    }
    let of_it = lines
        .iter()
        .filter(|line| line["request_id"] == id.as_str());
    assert!(of_it.clone().count() > 0);
    assert!(of_it.clone().all(|line| line["trace_id"] == TRACE), "{log}");
}
