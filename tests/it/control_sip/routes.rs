//! Where a nonce goes, and what its sender learns.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tn_authority::domain::clock::from_unix;
use tn_authority::domain::control::codes::ControlCode;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway, OutgoingCode, SipGateway, SipSettings};
use tn_authority::sip::server::{IncomingMessage, SipServer};
use uuid::Uuid;

use super::carrier::{Proxy, SilentPhone};

const LOOPBACK: [std::net::IpAddr; 1] = [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

fn code(number: &str) -> OutgoingCode {
    OutgoingCode {
        proof: Uuid::nil(),
        account: "acme".parse().expect("an id"),
        account_name: "Acme".to_owned(),
        number: number.parse().expect("a number"),
        code: ControlCode::new("a-nonce"),
        text: String::new(),
        minutes: 10,
        expires_at: from_unix(600),
    }
}

#[test]
fn a_nonce_crosses_the_proxy_and_silence_is_no_acceptance() {
    let dir = tempfile::tempdir().expect("a folder");
    let (heard, received) = channel();
    let heard = parking_lot::Mutex::new(heard);
    let handler = move |message: &IncomingMessage<'_>| {
        let _ = heard.lock().send(message.body.to_vec());
        200
    };
    let listen = "udp:127.0.0.1:0".parse().expect("a target");
    let agent = SipServer::start(&listen, LOOPBACK.into(), Arc::new(handler)).expect("an agent");
    let mut phone = SilentPhone::start(dir.path());
    let proxy = Proxy::start(
        dir.path(),
        &[
            ("+12125551001", agent.local()),
            ("+12125551002", phone.address),
        ],
    );
    for transport in ["udp", "tcp"] {
        let gateway = SipGateway::new(SipSettings {
            target: format!("{transport}:{}", proxy.address)
                .parse()
                .expect("a target"),
            from: "sip:control@carrier.example".to_owned(),
            timeout: Duration::from_secs(20),
        });
        let gateway = gateway.expect("a gateway");
        assert_eq!(gateway.send(&code("+12125551001")), SendOutcome::Accepted);
        let body = received
            .recv_timeout(Duration::from_secs(10))
            .expect("a message");
        assert!(String::from_utf8_lossy(&body).contains("a-nonce"));
        // The phone received it and says nothing, so the proxy answers 408 in the end.
        let unclear = SendOutcome::Unclear(SendFailure::Refused, None);
        assert_eq!(gateway.send(&code("+12125551002")), unclear);
        phone.hears(dir.path(), "+12125551002");
        // A number that the carrier's proxy does not know.
        let refused = SendOutcome::Refused(SendFailure::Refused);
        assert_eq!(gateway.send(&code("+12125551003")), refused);
    }
}
