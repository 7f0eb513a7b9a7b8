use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::client::{SipError, send};
use super::message::{MalformedSip, SipMessage, StartLine};
use super::server::{IncomingMessage, SipServer};
use super::target::{SipTarget, SipTransport};

/// RFC 3428 §10, with a folded header field and compact names.
const MESSAGE: &str = "MESSAGE sip:user2@domain.com SIP/2.0\r\n\
    v: SIP/2.0/TCP user1pc.domain.com;branch=z9hG4bK776sgdkse\r\n\
    Max-Forwards: 70\r\n\
    f: sip:user1@domain.com;tag=49583\r\n\
    To: sip:user2@domain.com\r\n\
    i: asd88asd77a@1.2.3.4\r\n\
    CSeq: 1 MESSAGE\r\n\
    Subject: one\r\n  two\r\n\
    c: text/plain\r\n\
    l: 18\r\n\r\nWatson, come here.";

fn request() -> SipMessage {
    SipMessage::request("MESSAGE", "sip:+12125551001@carrier.example;user=phone")
        .with("From", "<sip:control@carrier.example>;tag=1")
        .with("To", "<sip:+12125551001@carrier.example;user=phone>")
        .with("Call-ID", "a@carrier.example")
        .with("CSeq", "1 MESSAGE")
        .with("Max-Forwards", "70")
        .with("Content-Type", "text/plain")
}

#[test]
fn the_message_of_the_rfc_is_read() {
    let message = SipMessage::from_datagram(MESSAGE.as_bytes()).expect("a message");
    let StartLine::Request { method, uri } = &message.start else {
        panic!("{message:?}");
    };
    assert_eq!(
        (method.as_str(), uri.as_str()),
        ("MESSAGE", "sip:user2@domain.com")
    );
    assert_eq!(message.header("call-id"), Some("asd88asd77a@1.2.3.4"));
    assert_eq!(message.header("subject"), Some("one two"));
    assert_eq!(message.branch(), Some("z9hG4bK776sgdkse"));
    assert_eq!(message.body, b"Watson, come here.");
    let again = SipMessage::from_datagram(&message.to_bytes()).expect("a message");
    assert_eq!(again.header("via"), message.header("via"));
    assert_eq!(again.body, message.body);
}

#[test]
fn a_stream_is_cut_into_messages() {
    let two = [MESSAGE.as_bytes(), MESSAGE.as_bytes()].concat();
    for end in 0..MESSAGE.len() {
        assert_eq!(SipMessage::from_stream(&two[..end]), Ok(None), "{end}");
    }
    let (_, length) = SipMessage::from_stream(&two)
        .expect("well-formed")
        .expect("whole");
    assert_eq!(length, MESSAGE.len());
}

#[test]
fn malformed_messages_are_refused() {
    let with =
        |from: &str, to: &str| SipMessage::from_datagram(MESSAGE.replace(from, to).as_bytes());
    assert_eq!(with("l: 18", "l: 19"), Err(MalformedSip::Length));
    assert_eq!(
        with("l: 18", "l: 18\r\nContent-Length: 17"),
        Err(MalformedSip::Length)
    );
    assert_eq!(with("l: 18", "l: -1"), Err(MalformedSip::Length));
    assert_eq!(
        with(" SIP/2.0\r\nv", " SIP/3.0\r\nv"),
        Err(MalformedSip::StartLine)
    );
    assert_eq!(
        with("MESSAGE sip", "MES SAGE sip"),
        Err(MalformedSip::StartLine)
    );
    assert_eq!(with("CSeq: 1", "CSeq 1"), Err(MalformedSip::Header));
    assert_eq!(with("CSeq: 1", "CSeq: \u{0}1"), Err(MalformedSip::Header));
    assert_eq!(with("\r\n\r\n", "\r\n"), Err(MalformedSip::NoEnd));
    assert_eq!(
        with("f: sip", &("x: y\r\n".repeat(200) + "f: sip")),
        Err(MalformedSip::TooLong)
    );
    assert_eq!(
        SipMessage::from_stream(&vec![b'a'; 70_000]),
        Err(MalformedSip::TooLong)
    );
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..MESSAGE.len()) {
        let _ = SipMessage::from_datagram(&bytes);
        let _ = SipMessage::from_stream(&bytes);
        let mut changed = MESSAGE.as_bytes().to_vec();
        changed.splice(at..at, bytes);
        if let Ok(message) = SipMessage::from_datagram(&changed) {
            let mut answer = message.response(200, "t");
            answer.mark_top_via(";received=192.0.2.1");
            let _ = (message.branch(), answer.to_bytes());
        }
    }
}

#[test]
fn targets_are_read_strictly() {
    for right in [
        "udp:proxy.example:5060",
        "tcp:[2001:db8::1]:5060",
        "udp:192.0.2.1:5060",
    ] {
        assert_eq!(
            right.parse::<SipTarget>().map(|target| target.to_string()),
            Ok(right.to_owned())
        );
    }
    for wrong in [
        "proxy.example:5060",
        "tls:proxy.example:5061",
        "udp:proxy.example",
        "udp::5060",
        "udp:a b:1",
        "udp:a:+1",
    ] {
        assert!(wrong.parse::<SipTarget>().is_err(), "{wrong}");
    }
}

const LOOPBACK: [std::net::IpAddr; 1] = [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

fn server(transport: SipTransport, status: u16) -> (SipServer, SipTarget) {
    let transport = transport.as_str().to_ascii_lowercase();
    let listen: SipTarget = format!("{transport}:127.0.0.1:0")
        .parse()
        .expect("a target");
    let handler = move |message: &IncomingMessage<'_>| {
        if message.user == "+12125551001" && message.body == b"hello" {
            status
        } else {
            404
        }
    };
    let server = SipServer::start(&listen, LOOPBACK.into(), Arc::new(handler)).expect("a server");
    let target = format!("{transport}:{}", server.local())
        .parse()
        .expect("a target");
    (server, target)
}

#[test]
fn client_and_server_understand_each_other() {
    for transport in [SipTransport::Udp, SipTransport::Tcp] {
        let (_server, target) = server(transport, 202);
        let mut hello = request();
        hello.body = b"hello".to_vec();
        let timeout = Duration::from_secs(10);
        assert_eq!(
            send(&target, &hello, timeout, "one").expect("an answer"),
            202
        );
        assert_eq!(
            send(&target, &request(), timeout, "two").expect("an answer"),
            404
        );
    }
}

#[test]
fn a_silent_peer_is_waited_for_no_longer_than_said() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = format!("udp:{}", silent.local_addr().expect("an address"));
    let target: SipTarget = target.parse().expect("a target");
    let answer = send(&target, &request(), Duration::from_millis(700), "one");
    assert!(matches!(answer, Err(SipError::Timeout(_))), "{answer:?}");
    // It was repeated once, after T1.
    let mut buffer = [0; 2048];
    silent.set_nonblocking(true).expect("non-blocking");
    let received = std::iter::from_fn(|| silent.recv(&mut buffer).ok()).count();
    assert_eq!(received, 2);
}

#[test]
fn responses_to_other_requests_do_not_count() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target: SipTarget = format!("udp:{}", peer.local_addr().expect("an address"))
        .parse()
        .expect("a target");
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (length, from) = peer.recv_from(&mut buffer).expect("a request");
        let request = SipMessage::from_datagram(&buffer[..length]).expect("a message");
        let right = request.response(480, "t");
        let text = String::from_utf8(right.to_bytes()).expect("text");
        let other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let wrong = text.replace("480", "200");
        other
            .send_to(wrong.as_bytes(), from)
            .expect("sent from another host");
        for (from_text, to) in [
            ("z9hG4bKone", "z9hG4bKtwo"),
            ("a@carrier", "b@carrier"),
            ("CSeq: 1", "CSeq: 2"),
            ("SIP/2.0 200", "SIP/2.0 2000"),
        ] {
            peer.send_to(wrong.replace(from_text, to).as_bytes(), from)
                .expect("sent");
        }
        peer.send_to(text.replace("480", "100").as_bytes(), from)
            .expect("sent");
        peer.send_to(text.as_bytes(), from).expect("sent");
    });
    assert_eq!(
        send(&target, &request(), Duration::from_secs(10), "one").expect("an answer"),
        480
    );
    answering.join().expect("answered");
}

#[test]
fn a_repetition_gets_the_same_answer_and_is_handled_once() {
    let listen: SipTarget = "udp:127.0.0.1:0".parse().expect("a target");
    let (count, counted) = std::sync::mpsc::channel();
    let count = parking_lot::Mutex::new(count);
    let handler = move |_: &IncomingMessage<'_>| {
        let _ = count.lock().send(());
        200
    };
    let server = SipServer::start(&listen, LOOPBACK.into(), Arc::new(handler)).expect("a server");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let mut whole = request();
    whole.put_via("SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKsame");
    let mut answers = Vec::new();
    for _ in 0..3 {
        socket
            .send_to(&whole.to_bytes(), server.local())
            .expect("sent");
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer).expect("an answer");
        answers.push(buffer[..length].to_vec());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let text = String::from_utf8_lossy(&answers[0]).into_owned();
    let port = socket.local_addr().expect("an address").port();
    assert!(
        text.contains(&format!(";received=127.0.0.1;rport={port}")),
        "{text}"
    );
    drop(server);
    assert_eq!(counted.iter().count(), 1);
}

#[test]
fn a_server_that_has_ended_says_so() {
    let listen: SipTarget = "udp:127.0.0.1:0".parse().expect("a target");
    let handler = |_: &IncomingMessage<'_>| -> u16 { panic!("a fault of the handler") };
    let server = SipServer::start(&listen, LOOPBACK.into(), Arc::new(handler)).expect("a server");
    assert!(server.is_running());
    let target = format!("udp:{}", server.local()).parse().expect("a target");
    let answer = send(&target, &request(), Duration::from_millis(300), "one");
    assert!(answer.is_err(), "{answer:?}");
    // The panic is still being reported.
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while server.is_running() {
        assert!(std::time::Instant::now() < patience, "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}
