//! A gateway by HTTPS, with the secret of the carrier and a CA of its own.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway as _, HttpGateway, HttpSettings};

use super::asking::outgoing;
use super::bad_servers::ok;
use crate::support::tls::{TlsServer, whole_request};

struct SecureServer {
    port: u16,
    ca_pem: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl SecureServer {
    fn start() -> Self {
        let server = TlsServer::new();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (port, ca_pem) = (server.address.port(), server.root.clone());
        let seen = Arc::clone(&requests);
        server.serve(move |stream| {
            if let Some(request) = whole_request(stream) {
                seen.lock().push(request);
                let _ = stream.write_all(ok("queued").as_bytes());
            }
        });
        Self {
            port,
            ca_pem,
            requests,
        }
    }

    fn settings(&self) -> HttpSettings {
        let headers = [
            ("Authorization", "Bearer {secret}"),
            ("content-type", "application/json; charset=utf-8"),
        ];
        HttpSettings {
            target: format!("https://127.0.0.1:{}/send", self.port),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            body: Some(r#"{"to":"{number}","text":"{text}"}"#.to_owned()),
            secret: Some("open sesame\n".into()),
            ca_pem: Some(self.ca_pem.clone()),
            timeout: Duration::from_secs(20),
            ..HttpSettings::default()
        }
    }
}

#[test]
fn a_message_and_the_secret_go_to_the_server_with_the_right_certificate() {
    let server = SecureServer::start();
    let gateway = HttpGateway::new(&server.settings()).expect("a gateway");
    let text = "123456 is the code of \"A\"\\, é";
    assert_eq!(gateway.send(&outgoing(text)), SendOutcome::Accepted);
    let request = server.requests.lock()[0].clone();
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("POST /send HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Bearer open sesame\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({ "to": "+12125551001", "text": text })
    );
    assert!(
        !format!("{gateway:?}").contains("open sesame"),
        "{gateway:?}"
    );
}

/// Whoever is in the way has a certificate too, but not of this CA.
#[test]
fn nothing_is_sent_to_a_server_with_another_certificate() {
    let (server, other) = (SecureServer::start(), SecureServer::start());
    let settings = HttpSettings {
        ca_pem: Some(other.ca_pem.clone()),
        ..server.settings()
    };
    let gateway = HttpGateway::new(&settings).expect("a gateway");
    let later = SendOutcome::Later(SendFailure::Tls, None);
    assert_eq!(gateway.send(&outgoing("a")), later);
    let by_system = HttpSettings {
        ca_pem: None,
        ..server.settings()
    };
    let gateway = HttpGateway::new(&by_system).expect("a gateway");
    assert_eq!(gateway.send(&outgoing("a")), later);
    assert!(server.requests.lock().is_empty());
}
