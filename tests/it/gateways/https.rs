//! A gateway by HTTPS, with the secret of the carrier and a CA of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use parking_lot::Mutex;
use tn_authority::domain::Clock;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway as _, HttpGateway, HttpSettings};
use tn_authority::signer::development::DevelopmentCa;

use super::asking::outgoing;
use super::bad_servers::ok;

struct SecureServer {
    port: u16,
    ca_pem: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl SecureServer {
    fn start() -> Self {
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Gateway CA", validity.clone()).expect("a CA");
        let issued = ca.issue_tls_certificate(&["127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
        tls.set_private_key(&key).expect("a key");
        let leaf = X509::from_pem(issued.chain_pem.as_bytes()).expect("a certificate");
        tls.set_certificate(&leaf).expect("a certificate");
        let (tls, listener) = (
            tls.build(),
            TcpListener::bind("127.0.0.1:0").expect("a port"),
        );
        let port = listener.local_addr().expect("an address").port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let Ok(mut stream) = tls.accept(stream) else {
                    continue;
                };
                let (mut text, mut piece) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    match stream.read(&mut piece) {
                        Ok(read) if read > 0 => {
                            text.push_str(&String::from_utf8_lossy(&piece[..read]))
                        }
                        _ => break,
                    }
                }
                seen.lock().push(text);
                let _ = stream.write_all(ok("queued").as_bytes());
                let _ = stream.shutdown();
            }
        });
        Self {
            port,
            ca_pem: ca.certificate_pem().expect("a certificate"),
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
