//! What clients may rely on, whatever bounds their connections have.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::serving::{Serving, exchange, head, read_all, read_answer};

const TIMEOUTS: [(&str, usize); 2] = [("REQUEST_TIMEOUT", 2), ("WRITE_TIMEOUT", 3)];

/// Both with and without TLS.
fn both_ways(scenario: impl Fn(&Serving)) {
    for has_tls in [false, true] {
        scenario(&Serving::start(has_tls, &TIMEOUTS));
    }
}

#[test]
fn a_slow_client_that_makes_progress_gets_its_whole_answers() {
    both_ways(|service| {
        let mut client = service.connect();
        let requests = head("GET", "/openapi.json", "").repeat(3);
        client.write_all(requests.as_bytes()).expect("requests");
        let last = head("GET", "/healthz", "connection: close\r\n");
        client.write_all(last.as_bytes()).expect("a request");
        let (start, mut received) = (Instant::now(), Vec::new());
        loop {
            let mut piece = Read::take(&mut client, 65_536);
            if piece.read_to_end(&mut received).expect("it is cut off") == 0 {
                break;
            }
            sleep(Duration::from_millis(300));
        }
        let received = String::from_utf8(received).expect("text");
        assert_eq!(received.matches("\n}\n").count(), 3);
        assert!(received.ends_with("alive\n"));
        let taken = start.elapsed();
        assert!(
            taken > Duration::from_secs(5),
            "too fast to be a test: {taken:?}"
        );
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    both_ways(|service| {
        let mut client = service.connect();
        let path = |n: usize| if n % 3 == 0 { "/healthz" } else { "/none" };
        let mut requests: String = (0..16).map(|n| head("GET", path(n), "")).collect();
        requests += &head("GET", "/openapi.json", "");
        // In pieces that end anywhere.
        for piece in requests.as_bytes().chunks(37) {
            client.write_all(piece).expect("a request");
        }
        for n in 0..16 {
            let (answer, _) = read_answer(&mut client);
            let status = if n % 3 == 0 { 200 } else { 404 };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{n}: {answer}"
            );
        }
        let (_, body) = read_answer(&mut client);
        serde_json::from_slice::<serde_json::Value>(&body).expect("a document");
    });
}

#[test]
fn a_large_table_is_received_whole() {
    both_ways(|service| {
        let key = service
            .carrier
            .run(&["api-key", "create", "--role", "admin"]);
        let table = "# a comment of some length, as tables have them\n".repeat(600_000);
        let fields = format!(
            "authorization: Bearer {key}\r\ncontent-type: text/csv\r\ncontent-length: {}\r\n",
            table.len()
        );
        let mut client = service.connect();
        let post = head(
            "POST",
            "/v1/imports?format=delegations&dry_run=true",
            &fields,
        );
        client.write_all(post.as_bytes()).expect("a head");
        client.write_all(table.as_bytes()).expect("a table");
        let (answer, body) = read_answer(&mut client);
        let body = String::from_utf8_lossy(&body);
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}{body}");
        // The next request on the connection is not a part of the table.
        client
            .write_all(head("GET", "/healthz", "").as_bytes())
            .expect("a request");
        assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_body_may_follow_its_head_at_once_later_or_in_chunks() {
    both_ways(|service| {
        let fields = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n",
            service.carrier.api_key
        );
        let mut client = service.connect();
        let body = "{\"tktype\":\"none\"\r\n\r\n}";
        let length = format!("{fields}content-length: {}\r\n", body.len());
        let chunked = format!("{fields}transfer-encoding: chunked\r\n");
        let pieces: Vec<String> = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
        for (fields, body) in [
            (&length, body.to_owned()),
            (&chunked, pieces.concat() + "0\r\n\r\n"),
        ] {
            let post = head("POST", "/at/account/acme/token", fields);
            // Followed by another request, which must wait for its turn.
            let whole = post.clone() + &body + &head("GET", "/healthz", "");
            client.write_all(whole.as_bytes()).expect("a request");
            assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 400 "));
            assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 200 "));
            client.write_all(post.as_bytes()).expect("a head");
            sleep(Duration::from_millis(200));
            client.write_all(body.as_bytes()).expect("a body");
            assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 400 "));
        }
        // A client that asks first is told to go on (RFC 9110 §10.1.1).
        let expecting = format!("{length}expect: 100-continue\r\n");
        let post = head("POST", "/at/account/acme/token", &expecting);
        client.write_all(post.as_bytes()).expect("a head");
        assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 100 "));
        client.write_all(body.as_bytes()).expect("a body");
        assert!(read_answer(&mut client).0.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn a_half_closed_connection_still_gets_its_answer() {
    both_ways(|service| {
        let mut client = service.connect();
        let request = head("GET", "/openapi.json", "");
        client.write_all(request.as_bytes()).expect("a request");
        client
            .tcp()
            .shutdown(Shutdown::Write)
            .expect("half a connection");
        let (_, body) = read_answer(&mut client);
        serde_json::from_slice::<serde_json::Value>(&body).expect("a document");
        assert_eq!(read_all(&mut client), "");
    });
}

#[test]
fn head_has_no_body_and_the_connection_goes_on() {
    both_ways(|service| {
        let mut client = service.connect();
        let request = head("HEAD", "/openapi.json", "").repeat(50);
        client.write_all(request.as_bytes()).expect("requests");
        let last = head("GET", "/healthz", "connection: close\r\n");
        client.write_all(last.as_bytes()).expect("a request");
        let answers = read_all(&mut client);
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 51);
        assert!(answers.len() < 51 * 1_000 && answers.ends_with("alive\n"));
    });
}

#[test]
fn http_2_is_not_offered() {
    let service = Serving::start(true, &TIMEOUTS);
    let connect = |protocols: &[u8]| {
        let tcp = TcpStream::connect(service.address).expect("a connection");
        service.handshake(tcp, protocols)
    };
    let either = connect(b"\x02h2\x08http/1.1");
    assert_eq!(
        either.ssl().selected_alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
    let mut only = connect(b"\x02h2");
    assert_eq!(only.ssl().selected_alpn_protocol(), None);
    only.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .expect("a preface");
    let answer = read_all(&mut only);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    let secure = exchange(
        &mut service.connect(),
        "GET",
        "/healthz",
        "connection: close\r\n",
    );
    assert!(
        secure.contains("\r\nstrict-transport-security: "),
        "{secure}"
    );
}
