//! Servers in the place of a gateway by HTTP that are slow, confused or hostile.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway as _, HttpGateway, HttpSettings};

use super::asking::outgoing;
use crate::support::peers::free_port;

/// What a server does with a request.
#[derive(Clone)]
pub enum Does {
    Answers(String),
    /// Accepts the connection and says nothing.
    Nothing,
    /// Breaks the connection off after the request.
    Resets,
    /// Sends the head of an answer, and then its body without end.
    Floods,
}

/// A server on loopback. It ends with the test.
pub struct Server {
    pub port: u16,
    /// The requests, each as a text.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// What was sent of a flood.
    pub flooded: Arc<AtomicUsize>,
}

impl Server {
    pub fn that(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (requests, flooded) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let server = Self {
            port,
            requests: Arc::clone(&requests),
            flooded: Arc::clone(&flooded),
        };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (does, requests) = (does.clone(), Arc::clone(&requests));
                let flooded = Arc::clone(&flooded);
                thread::spawn(move || serve(stream, does, &requests, &flooded));
            }
        });
        server
    }

    pub fn answering(answer: &str) -> Self {
        Self::that(Does::Answers(answer.to_owned()))
    }
}

fn serve(mut stream: TcpStream, does: Does, requests: &Mutex<Vec<String>>, flooded: &AtomicUsize) {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let Ok(read) = stream.read(&mut piece) else {
            return;
        };
        text.extend_from_slice(&piece[..read]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let length = all.to_lowercase();
        let length = length.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        let has_all = all
            .split_once("\r\n\r\n")
            .is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
        if read == 0 || has_all {
            break;
        }
    }
    requests
        .lock()
        .push(String::from_utf8_lossy(&text).into_owned());
    match does {
        Does::Answers(answer) => {
            let _ = stream.write_all(answer.as_bytes());
        }
        Does::Nothing => thread::sleep(Duration::from_secs(60)),
        Does::Resets => {}
        Does::Floods => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            let mebibyte = vec![b'x'; 1 << 20];
            for _ in 0..10 {
                if stream.write_all(&mebibyte).is_err() {
                    return;
                }
                flooded.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

pub fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

pub fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

pub fn settings(port: u16) -> HttpSettings {
    HttpSettings {
        target: format!("http://127.0.0.1:{port}/send?to={{digits}}&text={{text}}"),
        expected_text: Some("\"status\":\"queued\"".to_owned()),
        timeout: Duration::from_secs(5),
        ..HttpSettings::default()
    }
}

fn sends(server: &Server, timeout: Duration) -> SendOutcome {
    let settings = HttpSettings {
        timeout,
        ..settings(server.port)
    };
    let gateway = HttpGateway::new(&settings).expect("a gateway");
    gateway.send(&outgoing("123456 for you"))
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_gateway_that_queues_a_message_has_accepted_it() {
    let server = Server::answering(&ok("{\"status\":\"queued\"}"));
    assert_eq!(sends(&server, LONG), SendOutcome::Accepted);
    let request = server.requests.lock()[0].clone();
    let line = "GET /send?to=12125551001&text=123456%20for%20you HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
}

#[test]
fn an_error_in_a_body_with_status_200_is_an_error() {
    let server = Server::answering(&ok("{\"status\":\"error\",\"why\":\"no credit\"}"));
    let unclear = SendOutcome::Unclear(SendFailure::Answer, None);
    assert_eq!(sends(&server, LONG), unclear);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::answering(&ok("{\"status\":\"queued\"}"));
    for code in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let server = Server::answering(&format!(
            "HTTP/1.1 {code}\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
            elsewhere.port
        ));
        let unclear = SendOutcome::Unclear(SendFailure::Answer, None);
        assert_eq!(sends(&server, LONG), unclear, "{code}");
    }
    assert!(elsewhere.requests.lock().is_empty());
}

/// Ten megabytes: only the beginning is read, so nothing is found in the rest, and no memory is filled.
#[test]
fn an_endless_answer_is_read_in_part() {
    let server = Server::that(Does::Floods);
    assert_eq!(
        sends(&server, LONG),
        SendOutcome::Unclear(SendFailure::Answer, None)
    );
    thread::sleep(Duration::from_millis(50));
    assert!(
        server.flooded.load(Ordering::SeqCst) < 10,
        "all of it was read"
    );
}

#[test]
fn a_slow_gateway_is_waited_for_no_longer_than_configured() {
    let server = Server::that(Does::Nothing);
    let started = Instant::now();
    let unclear = SendOutcome::Unclear(SendFailure::Timeout, None);
    assert_eq!(sends(&server, SHORT), unclear);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_broken_connection_leaves_open_whether_it_was_sent() {
    let server = Server::that(Does::Resets);
    let outcome = sends(&server, LONG);
    assert!(matches!(outcome, SendOutcome::Unclear(..)), "{outcome:?}");
    let garbage = Server::answering("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let outcome = sends(&garbage, LONG);
    assert!(matches!(outcome, SendOutcome::Unclear(..)), "{outcome:?}");
}

#[test]
fn a_gateway_that_is_down_has_sent_nothing() {
    let gateway = HttpGateway::new(&settings(free_port())).expect("a gateway");
    let later = SendOutcome::Later(SendFailure::Unreachable, None);
    assert_eq!(gateway.send(&outgoing("a")), later);
    let nowhere = HttpSettings {
        target: "http://nowhere.invalid/?to={digits}&text={text}".to_owned(),
        allow_plain: true,
        ..settings(1)
    };
    let gateway = HttpGateway::new(&nowhere).expect("a gateway");
    assert_eq!(gateway.send(&outgoing("a")), later);
}

#[test]
fn statuses_say_whether_to_retry() {
    let seconds = |seconds| Some(chrono::TimeDelta::seconds(seconds));
    let throttled = |wait| SendOutcome::Unclear(SendFailure::Throttled, wait);
    for (line, outcome) in [
        (
            "400 Bad Request",
            SendOutcome::Refused(SendFailure::Refused),
        ),
        ("422 No", SendOutcome::Refused(SendFailure::Refused)),
        (
            "401 Unauthorized",
            SendOutcome::Unclear(SendFailure::Login, None),
        ),
        (
            "403 Forbidden",
            SendOutcome::Unclear(SendFailure::Login, None),
        ),
        (
            "404 Not Found",
            SendOutcome::Unclear(SendFailure::Answer, None),
        ),
        // Only such an answer says that nothing was sent.
        (
            "429 Too Many\r\nretry-after: 90",
            SendOutcome::Later(SendFailure::Throttled, seconds(90)),
        ),
        ("429 Too Many", throttled(None)),
        ("503 Unavailable\r\nretry-after: 60", throttled(seconds(60))),
        ("503 Unavailable\r\nretry-after: soon", throttled(None)),
        ("500 Error", SendOutcome::Unclear(SendFailure::Answer, None)),
        (
            "504 Timeout",
            SendOutcome::Unclear(SendFailure::Answer, None),
        ),
        (
            "204 No Content",
            SendOutcome::Unclear(SendFailure::Answer, None),
        ),
    ] {
        let server = Server::answering(&status(line));
        assert_eq!(sends(&server, LONG), outcome, "{line}");
    }
}
