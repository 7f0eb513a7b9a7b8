//! Clients that send and do not read, or do neither: each costs little, and none stays for long.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use tn_authority::domain::TnAuthList;

use super::serving::{Client, PATIENCE, Serving, exchange, head, held, read_all, read_answer};
use crate::support::{at_once, fingerprint};

/// The timeouts of the service in these tests, in seconds.
const SECONDS: usize = 2;
const TIMEOUTS: [(&str, usize); 2] = [("REQUEST_TIMEOUT", SECONDS), ("WRITE_TIMEOUT", SECONDS)];
/// The timeouts, a second because they are counted in seconds, and a second for a slow machine;
/// a connection without a request may also wait as long as an idle one.
const MOST: Duration = Duration::from_secs(20);
const PIPELINED: usize = 1_500;
/// Kilobytes of memory for all clients that do not read.
const MOST_MEMORY: usize = 64 * 1024;

/// Sends as much as fits, and reads nothing.
fn send_and_do_not_read(client: &mut Client, bytes: &[u8]) {
    client.tcp().set_nonblocking(true).expect("a socket");
    let _ = client.write_all(bytes);
    client.tcp().set_nonblocking(false).expect("a socket");
}

/// So many clients pipeline requests for a path and read nothing.
fn flood(service: &Serving, clients: usize, path: &str, fields: &str) -> Vec<Client> {
    let requests = head("GET", path, fields).repeat(PIPELINED);
    let connect = |n: usize| {
        let mut client = service.connect_from(&format!("127.0.1.{}", 1 + n % 8));
        send_and_do_not_read(&mut client, requests.as_bytes());
        client
    };
    (0..clients).map(connect).collect()
}

fn little_memory_is_used(has_tls: bool, clients: usize, most: usize, paths: &[&str]) {
    // The service has much to do in this test, so a client may have to wait.
    let timeouts = [("REQUEST_TIMEOUT", 10), ("WRITE_TIMEOUT", SECONDS)];
    let service = Serving::start(has_tls, &timeouts);
    let key = service
        .carrier
        .run(&["api-key", "create", "--role", "admin"]);
    let fields = format!("authorization: Bearer {key}\r\n");
    make_grants(&service, &fields);
    // The memory of a service in normal use: some clients read the same at the same time.
    for path in paths {
        at_once(8, |_| {
            let mut client = service.connect();
            let fields = format!("{fields}connection: close\r\n");
            let answer = exchange(&mut client, "GET", path, &fields);
            assert!(answer.len() > 200, "{path}: {answer}");
        });
    }
    let before = service.memory();
    let grown = || service.memory().saturating_sub(before);
    for path in paths {
        let flood = flood(&service, clients, path, &fields);
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let grown = grown();
            assert!(grown < most, "{path}: {grown} kB for {clients} clients");
            sleep(Duration::from_millis(50));
        }
        let delay = service.answers_others();
        assert!(delay < MOST, "{path}: {delay:?}");
        drop(flood);
    }
    let open = "tn_authority_open_connections{listener=\"api\"}";
    service.until(open, |open| open == 0);
    let grown = grown();
    assert!(grown < most, "{grown} kB after all have gone");
}

/// Grants whose list is as long as one answer can be.
fn make_grants(service: &Serving, fields: &str) {
    let entry = "one:12125551001".parse().expect("an entry");
    let list = TnAuthList::from_entries(vec![entry]).expect("a list");
    let request = json!({
        "account": "acme", "tktype": "TNAuthList", "tkvalue": list.to_tkvalue(), "fingerprint": fingerprint(),
    });
    let body = json!({ "requests": vec![request; 1_000] }).to_string();
    let length = body.len();
    let fields = format!("{fields}content-type: application/json\r\ncontent-length: {length}\r\n");
    let mut client = service.connect();
    let whole = head("POST", "/v1/tokens", &fields) + &body;
    client.write_all(whole.as_bytes()).expect("a bulk");
    let (answer, _) = read_answer(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn clients_that_do_not_read_take_little_memory() {
    let paths = [
        "/openapi.json",
        "/docs/swagger-ui-bundle.js",
        "/none",
        "/v1/numbers/+12125551001",
    ];
    little_memory_is_used(false, 100, MOST_MEMORY, &paths);
}

#[test]
fn long_lists_that_are_not_read_take_little_memory() {
    little_memory_is_used(false, 100, MOST_MEMORY, &["/v1/grants?limit=1000"]);
}

#[test]
fn exports_that_are_not_read_take_little_memory() {
    little_memory_is_used(false, 100, MOST_MEMORY, &["/v1/audit-events/export"]);
}

#[test]
fn clients_that_do_not_read_take_little_memory_with_tls() {
    little_memory_is_used(true, 200, MOST_MEMORY, &["/openapi.json"]);
}

#[test]
fn clients_that_do_not_read_are_cut_off() {
    for has_tls in [false, true] {
        let service = Serving::start(has_tls, &TIMEOUTS);
        let mut clients = flood(&service, 10, "/openapi.json", "");
        let cut = "tn_authority_cut_connections_total{cause=\"slow-reader\",listener=\"api\"}";
        service.until(cut, |cut| cut >= 10);
        for client in &mut clients {
            let received = read_all(client).matches("\"openapi\": ").count();
            assert!(received < 20, "{received} of {PIPELINED} answers");
        }
        assert_eq!(
            service.metric("tn_authority_open_connections{listener=\"api\"}"),
            0
        );
        service.answers_others();
    }
}

#[test]
fn the_operations_listener_has_its_bounds_too() {
    let service = Serving::start(false, &TIMEOUTS);
    let before = service.memory();
    let requests = head("GET", "/metrics", "").repeat(PIPELINED);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let tcp = TcpStream::connect(service.operations).expect("a connection");
        let mut client: Client = Box::new(tcp);
        send_and_do_not_read(&mut client, requests.as_bytes());
        clients.push(client);
    }
    let grown = service.memory().saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} kB");
    let cut = "tn_authority_cut_connections_total{cause=\"slow-reader\",listener=\"operations\"}";
    service.until(cut, |cut| cut >= 20);
}

#[test]
fn slow_requests_are_cut_off_wherever_they_stop() {
    for has_tls in [false, true] {
        let service = Serving::start(has_tls, &TIMEOUTS);
        let after_one = |fields: &str| {
            let mut client = service.connect();
            let request = head("GET", "/none", fields);
            client.write_all(request.as_bytes()).expect("a request");
            let (answer, _) = read_answer(&mut client);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            client
        };
        // The second head of a connection never ends.
        let mut second = after_one("");
        second
            .write_all(b"GET / HTTP/1.1\r\nx-slow: ")
            .expect("a start");
        let seconds = held(&mut second, b"a", MOST);
        assert!(seconds >= Duration::from_secs(1), "{seconds:?}");
        // Part of a head has arrived together with the request before it.
        let mut together = service.connect();
        let request = head("GET", "/healthz", "") + "GET / HTT";
        together.write_all(request.as_bytes()).expect("a request");
        read_answer(&mut together);
        held(&mut together, b"", MOST);
        // A body that no handler reads never ends.
        let mut endless = after_one("transfer-encoding: chunked\r\n");
        held(&mut endless, b"1\r\na\r\n", MOST);
        // Empty lines are no requests.
        held(&mut service.connect(), b"\r\n", MOST);
        service.answers_others();
    }
}

#[test]
fn a_handshake_that_stalls_ends() {
    let service = Serving::start(true, &TIMEOUTS);
    let mut tcp: Client = Box::new(TcpStream::connect(service.address).expect("a connection"));
    // The start of a record that says it has 16 KiB.
    tcp.write_all(b"\x16\x03\x01\x40\x00\x01").expect("a start");
    held(&mut tcp, b"", MOST);
    service.answers_others();
}

#[test]
fn an_address_has_its_share_of_the_connections() {
    for has_tls in [false, true] {
        let bounds = [
            ("MAX_CONNECTIONS", 200),
            ("MAX_CONNECTIONS_PER_ADDRESS", 50),
            ("REQUEST_TIMEOUT", 600),
        ];
        let service = Serving::start(has_tls, &bounds);
        // The connections that waited for the service to start have to be gone first. They are
        // accepted before this one.
        service.answers_others();
        let open = "tn_authority_open_connections{listener=\"api\"}";
        service.until(open, |open| open == 0);
        let mut all: Vec<Client> = (0..50).map(|_| service.connect()).collect();
        service.until(open, |open| open == 50);
        let mut one_more = TcpStream::connect(service.address).expect("a connection");
        one_more
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        assert_eq!(exchange(&mut one_more, "GET", "/healthz", ""), "");
        let cut = "tn_authority_cut_connections_total{cause=\"share\",listener=\"api\"}";
        assert_eq!(service.metric(cut), 1);
        service.answers_others();
        // One that goes makes room for another.
        let answer = exchange(&mut all[0], "GET", "/healthz", "connection: close\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        service.until(open, |open| open == 49);
        let answer = exchange(
            &mut service.connect(),
            "GET",
            "/healthz",
            "connection: close\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn others_get_in_when_stalled_clients_have_taken_all_connections() {
    let bounds = [
        ("MAX_CONNECTIONS", 50),
        ("MAX_CONNECTIONS_PER_ADDRESS", 0),
        ("REQUEST_TIMEOUT", 600),
        ("WRITE_TIMEOUT", 600),
        ("WORKERS", 2),
    ];
    let service = Serving::start(false, &bounds);
    let openapi = head("GET", "/openapi.json", "").repeat(PIPELINED);
    let post = head("POST", "/v1/explain", "content-length: 9\r\n");
    for stall in ["", "GET / HT", &openapi, &post] {
        let mut stalled: Vec<Client> = (0..60).map(|_| service.connect()).collect();
        for client in &mut stalled {
            send_and_do_not_read(client, stall.as_bytes());
        }
        let delay = service.answers_others();
        assert!(delay < MOST, "{stall:.20}: {delay:?}");
    }
}
