//! SMSCs that end sessions, say nothing, or are none.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway as _, SmppSettings};
use tn_authority::telemetry::Metrics;

use super::asking::{asks, carrier, outgoing, proof, sends_over, until, waiting};
use super::smpp::{Smsc, gateway, settings};
use crate::support::Kind;
use crate::support::peers::free_port;

both!(
    a_session_that_breaks_off_is_opened_again,
    nothing_is_leased_without_a_session,
    codes_of_one_gateway_wait_while_another_one_sends,
);

fn errors(world: &crate::support::World, kind: &str) -> bool {
    let text = world.metrics.render().expect("text");
    let line = format!(
        "tn_authority_control_gateway_errors_total{{gateway=\"sms-gateway\",kind=\"{kind}\"}}"
    );
    text.contains(&line)
}

fn a_session_that_breaks_off_is_opened_again(kind: Kind) {
    let mut smsc = Smsc::that(&["close", "unbind", "ok"]);
    let world = carrier(kind);
    let _threads = sends_over(&world, gateway(&smsc.settings()));
    let first = asks(&world, 1)[0].id;
    // Whether it was sent is not known, so there is a longer wait.
    until("broken off", || {
        proof(&world, first).failure.as_deref() == Some("interrupted")
    });
    smsc.happened("bind", 2);
    world.seconds_pass(30);
    until("sent", || proof(&world, first).sent_at.is_some());
    // The SMSC ended that session after its answer, and the next one is used.
    smsc.happened("bind", 3);
    world.lends("acme", "1.212.555.11XX");
    world.seconds_pass(600);
    let second = asks(&world, 1)[0].id;
    until("sent", || proof(&world, second).sent_at.is_some());
    assert_eq!(waiting(&world), 0);
}

/// An SMSC that is down costs no attempts; when it comes, everything goes out.
fn nothing_is_leased_without_a_session(kind: Kind) {
    let world = carrier(kind);
    let port = free_port();
    let _threads = sends_over(&world, gateway(&settings(port)));
    let ids = asks(&world, 6);
    until("no connection", || errors(&world, "unreachable"));
    assert_eq!(waiting(&world), 6);
    assert!(
        ids.iter()
            .all(|one| proof(&world, one.id).failure.is_none())
    );
    let mut smsc = Smsc::on(port, &["ok"]);
    smsc.happened("submit", 6);
    until("all are sent", || waiting(&world) == 0);
}

fn codes_of_one_gateway_wait_while_another_one_sends(kind: Kind) {
    let mut smsc = Smsc::that(&["silent", "silent", "ok"]);
    let world = carrier(kind);
    let settings = SmppSettings {
        timeout: Duration::from_millis(500),
        ..smsc.settings()
    };
    let _threads = sends_over(&world, gateway(&settings));
    // Two have no answer; the other two are sent beside them.
    asks(&world, 4);
    smsc.happened("submit", 4);
    until("two are sent", || waiting(&world) == 2);
    until("two are late", || errors(&world, "timeout"));
    assert_eq!(smsc.so_far("bind").len(), 1, "the session goes on");
}

/// A gateway whose session is open.
fn opened(settings: &SmppSettings) -> (Box<tn_authority::gateways::SmppGateway>, Metrics) {
    let (gateway, metrics) = (gateway(settings), Metrics::new().expect("metrics"));
    let reports = tn_authority::gateways::Reports::unheard();
    gateway
        .start(reports, &metrics.background)
        .expect("a session");
    (gateway, metrics)
}

#[test]
fn a_wrong_password_opens_no_session() {
    let mut smsc = Smsc::that(&["ok"]);
    let wrong = SmppSettings {
        password: "wrong".into(),
        ..smsc.settings()
    };
    let (gateway, _metrics) = opened(&wrong);
    assert_eq!(smsc.happened("bind", 1)[0]["known"], json!(false));
    assert!(!gateway.is_ready());
    let later = SendOutcome::Later(SendFailure::Unreachable, None);
    assert_eq!(gateway.send(&outgoing("a")), later);
    gateway.stop();
}

#[test]
fn texts_are_submitted_in_their_alphabet_and_long_ones_as_a_whole() {
    let mut smsc = Smsc::that(&["ok", "ok", "ok", "refused", "silent"]);
    let settings = SmppSettings {
        timeout: Duration::from_secs(2),
        ..smsc.settings()
    };
    let (gateway, _metrics) = opened(&settings);
    until("bound", || gateway.is_ready());
    let long = "123456 é ".repeat(20);
    for text in ["123456 @ é €", "123456 жук", &long] {
        assert_eq!(
            gateway.send(&outgoing(text)),
            SendOutcome::Accepted,
            "{text}"
        );
    }
    let refused = SendOutcome::Refused(SendFailure::Refused);
    assert_eq!(gateway.send(&outgoing("a")), refused);
    let unclear = SendOutcome::Unclear(SendFailure::Timeout, None);
    assert_eq!(gateway.send(&outgoing("b")), unclear);
    let submitted = smsc.happened("submit", 5);
    assert_eq!(
        (&submitted[0]["coding"], &submitted[0]["text"]),
        (&json!(0), &json!("123456 @ é €"))
    );
    assert_eq!(
        (&submitted[1]["coding"], &submitted[1]["text"]),
        (&json!(8), &json!("123456 жук"))
    );
    assert_eq!(submitted[2]["is_payload"], json!(true));
    assert_eq!(submitted[0]["is_payload"], json!(false));
    gateway.stop();
    smsc.happened("unbind", 1);
}

#[test]
fn an_idle_session_is_checked() {
    let mut smsc = Smsc::that(&["ok"]);
    let settings = SmppSettings {
        enquire_interval: Duration::from_millis(200),
        ..smsc.settings()
    };
    let (gateway, _metrics) = opened(&settings);
    smsc.happened("enquire", 3);
    assert_eq!(smsc.so_far("bind").len(), 1);
    gateway.stop();
}

/// What answers a bind with these bytes, and then nothing; it counts connections.
fn impostor(answer: Vec<u8>) -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let answer = answer.clone();
            thread::spawn(move || {
                let mut bind = [0; 16];
                let _ = stream.read(&mut bind);
                let _ = stream.write_all(&answer);
                thread::sleep(Duration::from_secs(60));
            });
        }
    });
    (port, count)
}

fn bind_answer() -> Vec<u8> {
    hex::decode("00000011800000090000000000000001").map_or_else(
        |_| Vec::new(),
        |mut bytes| {
            bytes.push(0);
            bytes
        },
    )
}

#[test]
fn what_is_no_smsc_ends_the_session_and_nothing_else() {
    for answer in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0; 64],
        // A length beyond all bounds, after a good bind.
        [bind_answer(), vec![0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 5]].concat(),
        Vec::new(),
    ] {
        let (port, connections) = impostor(answer);
        let settings = SmppSettings {
            timeout: Duration::from_millis(300),
            ..settings(port)
        };
        let (gateway, metrics) = opened(&settings);
        // It is tried again, after a wait.
        let tried = || connections.load(std::sync::atomic::Ordering::SeqCst);
        until("a second try", || tried() >= 2);
        assert_eq!(metrics.background.ended(), [""; 0]);
        let started = Instant::now();
        gateway.stop();
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

/// It accepts everything, and never answers again.
#[test]
fn a_silent_smsc_is_left() {
    let (port, connections) = impostor(bind_answer());
    let settings = SmppSettings {
        timeout: Duration::from_millis(300),
        enquire_interval: Duration::from_millis(300),
        ..settings(port)
    };
    let (gateway, _metrics) = opened(&settings);
    until("bound", || gateway.is_ready());
    let outcome = gateway.send(&outgoing("a"));
    assert!(matches!(outcome, SendOutcome::Unclear(..)), "{outcome:?}");
    until("another session", || {
        connections.load(std::sync::atomic::Ordering::SeqCst) >= 2
    });
    gateway.stop();
}
