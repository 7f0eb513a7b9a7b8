//! HTTPS servers that are told, and the names that lead to them.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use tempfile::TempDir;
use tn_authority::domain::Clock;
use tn_authority::signer::development::DevelopmentCa;
use tn_authority::webhooks::{NameLookup, Sender, SenderSettings, SystemNames};

/// What a target was sent.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// An HTTPS server of somebody's, on loopback, for the name `hooks.example`.
pub struct Target {
    pub port: u16,
    pub received: Arc<Mutex<Vec<Received>>>,
    pub ca_file: PathBuf,
    _dir: TempDir,
}

/// What a target answers to its n-th request, from 0: status and header lines; `None` is nothing, for a long time.
pub type Script = fn(usize) -> Option<(u16, String)>;

impl Target {
    pub fn answering(script: Script) -> Self {
        let (dir, now) = (TempDir::new().expect("a folder"), Clock::system().now());
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Hooks CA", validity.clone()).expect("a CA");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, ca.certificate_pem().expect("a certificate")).expect("a file");
        let issued = ca
            .issue_tls_certificate(&["hooks.example", "127.0.0.1"], &validity)
            .expect("a certificate");
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
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), tls, seen) = (stream, tls.clone(), Arc::clone(&seen)) else {
                    return;
                };
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    let Ok(mut stream) = tls.accept(stream) else {
                        return;
                    };
                    let Some(request) = read(&mut stream) else {
                        return;
                    };
                    let answer = script(count.fetch_add(1, Ordering::SeqCst));
                    seen.lock().expect("a list").push(request);
                    let Some((status, head)) = answer else {
                        return thread::sleep(Duration::from_secs(60));
                    };
                    let text = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n{head}\r\n"
                    );
                    let _ = stream.write_all(text.as_bytes());
                });
            }
        });
        Self {
            port,
            received,
            ca_file,
            _dir: dir,
        }
    }

    pub fn taking() -> Self {
        Self::answering(|_| Some((204, String::new())))
    }

    pub fn url(&self) -> String {
        format!("https://hooks.example:{}/told?by=us", self.port)
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("a list").clone()
    }

    /// A sender that believes this target and knows its name, and that may tell loopback.
    pub fn sender(&self) -> Arc<Sender> {
        self.sender_with(Fixed::of(&["127.0.0.1"]), &["127.0.0.0/8"])
    }

    pub fn sender_with(&self, names: Fixed, allowed: &[&str]) -> Arc<Sender> {
        let allowed = allowed.iter().map(|text| text.parse().expect("a network"));
        let settings = SenderSettings {
            allow_private: allowed.collect(),
            nat64_prefixes: Vec::new(),
            ca_file: Some(self.ca_file.clone()),
            key: vec![7; 32],
            previous_key: None,
            names: Arc::new(names),
        };
        Arc::new(Sender::new(settings).expect("a sender"))
    }
}

pub fn read(stream: &mut impl std::io::Read) -> Option<Received> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let taken = stream.read(&mut piece).ok().filter(|taken| *taken > 0)?;
        text.extend_from_slice(&piece[..taken]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("POST /told?by=us HTTP/1.1"));
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: HashMap<_, _> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length")?.parse().ok()?;
        if body.len() >= length {
            return Some(Received {
                headers,
                body: body.to_owned(),
            });
        }
    }
}

/// Names as a DNS of somebody's answers them: each answer in its turn, the last one for ever.
#[derive(Debug)]
pub struct Fixed {
    pub answers: Vec<Vec<IpAddr>>,
    pub asked: Arc<AtomicUsize>,
}

impl Fixed {
    pub fn of(addresses: &[&str]) -> Self {
        Self::in_turn(&[addresses])
    }

    pub fn in_turn(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| {
            answer
                .iter()
                .map(|a| a.parse().expect("an address"))
                .collect()
        };
        Self {
            answers: answers.iter().map(parse).collect(),
            asked: Arc::default(),
        }
    }
}

impl NameLookup for Fixed {
    fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        assert_eq!(name, "hooks.example");
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
    }
}

/// What services of other scenarios have, which tell nobody.
pub fn sender_to_nowhere() -> Arc<Sender> {
    let settings = SenderSettings {
        allow_private: Vec::new(),
        nat64_prefixes: Vec::new(),
        ca_file: None,
        key: vec![7; 32],
        previous_key: None,
        names: Arc::new(SystemNames),
    };
    Arc::new(Sender::new(settings).expect("a sender"))
}
