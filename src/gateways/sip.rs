//! Return routability by SIP: a `MESSAGE` outside of a dialog (RFC 3428) brings a nonce to a
//! number, through the carrier's proxy. No person is needed: an agent returns it.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;

use super::error::GatewayError;
use super::gateway::{Gateway, OutgoingCode};
use crate::domain::control::message::CONTROL_NONCE;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::sip::client::{SipError, send};
use crate::sip::message::SipMessage;
use crate::sip::target::SipTarget;

/// How many proxies may pass a message on (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";

/// The settings of a [`SipGateway`].
#[derive(Debug, Clone)]
pub struct SipSettings {
    /// The carrier's proxy.
    pub target: SipTarget,
    /// Who the messages are from: `sip:control@carrier.example`. Numbers are at the same host.
    pub from: String,
    pub timeout: Duration,
}

/// Sends nonces through a proxy, which trusts the address of this service.
#[derive(Debug)]
pub struct SipGateway {
    settings: SipSettings,
    /// The domain of the numbers.
    domain: String,
}

impl SipGateway {
    /// # Errors
    /// If `from` is no SIP URI.
    pub fn new(settings: SipSettings) -> Result<Self, GatewayError> {
        let domain = domain_of(&settings.from);
        let wrong = || {
            GatewayError::wrong(
                "from",
                &"must be a SIP URI, such as `sip:control@carrier.example`",
            )
        };
        let domain = domain.ok_or_else(wrong)?.to_owned();
        Ok(Self { settings, domain })
    }

    fn request(&self, code: &OutgoingCode, random: &str) -> SipMessage {
        let (tag, call) = random.split_at(random.len() / 2);
        let to = format!("sip:{}@{};user=phone", code.number, self.domain);
        let mut request = SipMessage::request("MESSAGE", &to)
            .with("Max-Forwards", MAX_FORWARDS)
            .with("From", &format!("<{}>;tag={tag}", self.settings.from))
            .with("To", &format!("<{to}>"))
            .with("Call-ID", &format!("{call}@{}", self.domain))
            .with("CSeq", "1 MESSAGE")
            .with("Content-Type", CONTROL_NONCE);
        let body = json!({ "proof": code.proof, "nonce": code.code.expose() });
        request.body = body.to_string().into_bytes();
        request
    }
}

impl Gateway for SipGateway {
    fn send(&self, code: &OutgoingCode) -> SendOutcome {
        let mut bits = [0; 24];
        if getrandom::fill(&mut bits).is_err() {
            return SendOutcome::Later(SendFailure::Unsendable, None);
        }
        let (random, branch) = bits.split_at(16);
        let request = self.request(code, &hex::encode(random));
        let (target, timeout) = (&self.settings.target, self.settings.timeout);
        match send(target, &request, timeout, &hex::encode(branch)) {
            Ok(status) => outcome(status),
            Err(error) => without_answer(&error),
        }
    }
}

/// What a final response means (RFC 3261 §21, RFC 3428 §7).
fn outcome(status: u16) -> SendOutcome {
    match status {
        200..=299 => SendOutcome::Accepted,
        // The proxy wants a password, which it should not of this address.
        401 | 407 => SendOutcome::Refused(SendFailure::Login),
        429 | 503 => SendOutcome::Unclear(SendFailure::Throttled, None),
        // Not now, or not there: a phone that is off, a server that fails. The message may have
        // arrived on one of several ways, and its answer been lost.
        408 | 480 | 486 | 491 | 500 | 504 | 600 => SendOutcome::Unclear(SendFailure::Refused, None),
        // A redirect could lead anywhere; the proxy follows it, not this service.
        _ => SendOutcome::Refused(SendFailure::Refused),
    }
}

/// What it means that there is no final response. The repetitions of the client are those of the
/// protocol, which a server recognizes; another attempt is another message.
fn without_answer(error: &SipError) -> SendOutcome {
    match error {
        SipError::Timeout(_) => SendOutcome::Unclear(SendFailure::Timeout, None),
        SipError::Malformed => SendOutcome::Unclear(SendFailure::Answer, None),
        SipError::Connection(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                SendOutcome::Unclear(SendFailure::Interrupted, None)
            }
            _ => SendOutcome::Later(SendFailure::Unreachable, None),
        },
    }
}

/// The host of `sip:user@host`.
fn domain_of(from: &str) -> Option<&str> {
    let (user, host) = from.strip_prefix("sip:")?.split_once('@')?;
    let is_user = |b: u8| b.is_ascii_alphanumeric() || b"+-_.".contains(&b);
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    let is_plain = !user.is_empty()
        && user.bytes().all(is_user)
        && !host.is_empty()
        && host.bytes().all(is_host);
    is_plain.then_some(host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::from_unix;
    use crate::domain::control::codes::ControlCode;
    use crate::sip::server::{IncomingMessage, SipServer};

    const LOOPBACK: [std::net::IpAddr; 1] = [std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

    fn code() -> OutgoingCode {
        OutgoingCode {
            proof: Uuid::nil(),
            account: "acme".parse().expect("an id"),
            account_name: "Acme".to_owned(),
            number: "+12125551001".parse().expect("a number"),
            code: ControlCode::new("nonce"),
            text: String::new(),
            minutes: 10,
            expires_at: from_unix(600),
        }
    }

    fn gateway(target: &str, from: &str) -> Result<SipGateway, GatewayError> {
        SipGateway::new(SipSettings {
            target: target.parse().expect("a target"),
            from: from.to_owned(),
            timeout: Duration::from_secs(10),
        })
    }

    #[test]
    fn a_nonce_reaches_the_number_it_is_for() {
        for transport in ["udp", "tcp"] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let recorder = Arc::clone(&seen);
            let handler = move |message: &IncomingMessage<'_>| {
                let body = String::from_utf8_lossy(message.body).into_owned();
                recorder.lock().push((
                    message.user.to_owned(),
                    message.content_type.to_owned(),
                    body,
                ));
                200
            };
            let listen = format!("{transport}:127.0.0.1:0")
                .parse()
                .expect("a target");
            let server = SipServer::start(&listen, LOOPBACK.into(), Arc::new(handler));
            let server = server.expect("a server");
            let target = format!("{transport}:{}", server.local());
            let gateway = gateway(&target, "sip:control@carrier.example").expect("a gateway");
            assert_eq!(gateway.send(&code()), SendOutcome::Accepted);
            let body = format!(r#"{{"proof":"{}","nonce":"nonce"}}"#, Uuid::nil());
            let expected = ("+12125551001".to_owned(), CONTROL_NONCE.to_owned(), body);
            assert_eq!(*seen.lock(), [expected]);
        }
    }

    #[test]
    fn a_closed_port_is_tried_again_later() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = format!("tcp:{}", port.local_addr().expect("an address"));
        drop(port);
        let gateway = gateway(&target, "sip:control@carrier.example").expect("a gateway");
        let later = SendOutcome::Later(SendFailure::Unreachable, None);
        assert_eq!(gateway.send(&code()), later);
    }

    #[test]
    fn only_a_plain_sip_uri_can_be_the_sender() {
        for wrong in [
            "control@carrier.example",
            "sips:a@b",
            "sip:carrier.example",
            "sip:a@b;x=y",
            "sip:a@b\r\nX: y",
            "sip:@b",
        ] {
            assert!(gateway("udp:127.0.0.1:5060", wrong).is_err(), "{wrong}");
        }
    }
}
