//! An agent that gets more than it can return: messages of strangers, repetitions, and an authority that is busy.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tn_authority::sip::client::send;
use tn_authority::sip::message::SipMessage;
use tn_authority::sip::target::SipTarget;
use uuid::Uuid;

use super::agent::{RunningAgent, new_key_pem};
use crate::support::tls::{TlsServer, whole_request};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONG: Duration = Duration::from_secs(30);

/// An authority that is too busy for some nonces, and accepts all others. Says which nonces it gets.
fn authority() -> (String, String, Receiver<String>) {
    let server = TlsServer::new();
    let (url, root) = (server.url(), server.root.clone());
    let (heard, nonces) = channel();
    let heard = Mutex::new(heard);
    server.serve(move |stream| {
        let Some(request) = whole_request(stream) else {
            return;
        };
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        let payload = body["payload"].as_str().expect("a payload");
        let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        let nonce = payload["nonce"].as_str().expect("a nonce").to_owned();
        let status = if nonce.starts_with("busy") {
            "429 Too Many Requests"
        } else {
            "200 OK"
        };
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
        let _ = stream.write_all(answer.as_bytes());
        let _ = heard.lock().send(nonce);
    });
    (url, root, nonces)
}

/// An agent that serves this machine, and the nonces that it returns to its authority.
fn agent_and_authority() -> (RunningAgent, Receiver<String>) {
    let (url, root, nonces) = authority();
    let key = new_key_pem();
    let agent = RunningAgent::start("udp:127.0.0.1:0", &key, (&url, &root), vec![LOOPBACK]);
    (agent, nonces)
}

fn message(nonce: &str) -> SipMessage {
    let to = "sip:+12125551001@carrier.example";
    let mut message = SipMessage::request("MESSAGE", to)
        .with("Max-Forwards", "70")
        .with("From", "<sip:control@carrier.example>;tag=a")
        .with("To", &format!("<{to}>"))
        .with("Call-ID", &format!("{}@carrier.example", Uuid::now_v7()))
        .with("CSeq", "1 MESSAGE")
        .with(
            "Content-Type",
            "application/vnd.tn-authority.control-nonce+json",
        );
    let body = json!({ "proof": Uuid::from_u128(7), "nonce": nonce });
    message.body = body.to_string().into_bytes();
    message
}

fn sends(agent: &RunningAgent, nonce: &str) -> u16 {
    sends_to(&format!("udp:{}", agent.address()), nonce)
}

/// Sends a nonce to an agent, and returns its answer.
pub fn sends_to(agent: &str, nonce: &str) -> u16 {
    let target: SipTarget = agent.parse().expect("a target");
    let branch = Uuid::now_v7().simple().to_string();
    send(&target, &message(nonce), LONG, &branch).expect("an answer")
}

/// Four threads return nonces. That many wait for a busy authority, and none of them keeps another nonce waiting.
#[test]
fn nonces_that_wait_for_a_busy_authority_delay_no_other() {
    let (agent, nonces) = agent_and_authority();
    for number in 0..8 {
        assert_eq!(sends(&agent, &format!("busy-{number}")), 200);
    }
    for _ in 0..8 {
        let nonce = nonces.recv_timeout(LONG).expect("each is tried");
        assert!(nonce.starts_with("busy"), "{nonce}");
    }
    assert_eq!(sends(&agent, "good"), 200);
    let good = || nonces.recv_timeout(LONG).expect("an answer");
    while good() != "good" {}
}

#[test]
fn a_nonce_is_returned_once_however_often_it_is_sent() {
    let (agent, nonces) = agent_and_authority();
    for _ in 0..5 {
        assert_eq!(sends(&agent, "same"), 200);
    }
    assert_eq!(sends(&agent, "last"), 200);
    let mut returned: Vec<String> = Vec::new();
    while !returned.contains(&"last".to_owned()) {
        returned.push(nonces.recv_timeout(LONG).expect("an answer"));
    }
    drop(agent);
    returned.extend(nonces.try_iter());
    returned.sort();
    assert_eq!(returned, ["last", "same"]);
}

/// Only the proxy is served. Others get no answer, and nothing of theirs is returned.
#[test]
fn what_does_not_come_from_the_proxy_is_dropped() {
    let (url, root, nonces) = authority();
    let elsewhere = "192.0.2.1".parse().expect("an address");
    for sources in [vec![elsewhere], Vec::new()] {
        let agent = RunningAgent::start("udp:127.0.0.1:0", &new_key_pem(), (&url, &root), sources);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut whole = message("foreign");
        whole.put_via("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKforeign");
        socket
            .send_to(&whole.to_bytes(), agent.address())
            .expect("sent");
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        assert!(socket.recv(&mut [0; 2048]).is_err(), "it answers");
        drop(agent);
    }
    assert!(nonces.try_recv().is_err(), "it returned a nonce");
}
