//! Rotation under load: a new key and certificate every two seconds, put into the folder and left to the service, while
//! clients ask for tokens. No request may fail, every token has to verify against the chain at its `x5u`, and none may
//! outlive its certificate.
//!
//! `cargo bench --bench rotation -- [SECONDS]`; 60 seconds without it. Exit 1 if anything is wrong.

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tn_authority::app;
use tn_authority::callers::NewApiKey;
use tn_authority::config::Config;
use tn_authority::domain::signing::certificate::Certificate;
use tn_authority::domain::{Caller, Clock, Dialect, Fingerprint, Role, TkType, TnAuthList, new_id};
use tn_authority::signer::development::DevelopmentCa;
use tn_authority::verifier::{self, Expectations, TrustList};

const CLIENTS: usize = 3;
const EVERY: Duration = Duration::from_secs(2);
/// Shorter than the tokens that are asked for, so that it is the certificate that ends them.
const CERTIFICATE_SECONDS: i64 = 900;

/// What one client saw.
#[derive(Default)]
struct Seen {
    tokens: usize,
    chains: HashMap<String, usize>,
    faults: Vec<String>,
    slowest: Duration,
}

fn main() -> ExitCode {
    let seconds = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(60));
    let dir = tempfile::tempdir().expect("a folder");
    let ca = support::development_ca();
    let signers = dir.path().join("signers");
    std::fs::create_dir(&signers).expect("a folder");
    certificate_comes(&ca, &signers, 0);

    let address = free_port();
    let mut config = Config::default();
    config.carrier.spcs = vec![support::spc()];
    config.server.listen = address;
    config.server.workers = Some(2);
    config.operations.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.database.url = support::sqlite(dir.path(), "bench.sqlite").as_str().into();
    config.signer.dir = Some(signers.clone());
    config.signer.poll_interval = 1;
    config.signer.publication_delay = 3;
    let (started, start) = mpsc::channel();
    let service = thread::spawn(move || {
        let service = app::open_with_signer(&config, &Clock::system()).expect("a service");
        app::block_on(async {
            let key = furnish(&service).await;
            let running = app::start(Arc::new(service), &config).expect("a listener");
            started.send((running.stopper(), key)).expect("a bench");
            running.wait().await.expect("the end");
        });
    });
    let (stopper, key) = start.recv().expect("a service");

    let over = AtomicBool::new(false);
    let root = ca.certificate_pem().expect("a certificate");
    let begun = Instant::now();
    let seen: Vec<Seen> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask(address, &key, &root, &over)))
            .collect();
        let mut number = 0;
        while begun.elapsed() < length {
            thread::sleep(EVERY.min(length.saturating_sub(begun.elapsed())));
            number += 1;
            certificate_comes(&ca, &signers, number);
        }
        over.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().expect("a client"))
            .collect()
    });
    let elapsed = begun.elapsed();
    app::block_on(stopper.stop());
    service.join().expect("the service");
    report(&seen, elapsed)
}

fn report(seen: &[Seen], elapsed: Duration) -> ExitCode {
    let tokens: usize = seen.iter().map(|one| one.tokens).sum();
    let mut chains: Vec<&String> = seen.iter().flat_map(|one| one.chains.keys()).collect();
    chains.sort_unstable();
    chains.dedup();
    let faults: Vec<&String> = seen.iter().flat_map(|one| &one.faults).collect();
    let slowest = seen.iter().map(|one| one.slowest).max().unwrap_or_default();
    println!(
        "{:.0} s, {CLIENTS} clients: {tokens} tokens, each verified; {} chains signed; slowest answer {slowest:?}; faults: {}",
        elapsed.as_secs_f64(),
        chains.len(),
        faults.len()
    );
    for fault in faults.iter().take(10) {
        println!("  {fault}");
    }
    if faults.is_empty() && tokens > 0 && chains.len() > 1 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// An account with a block, and a key for it.
async fn furnish(service: &tn_authority::api::Service) -> String {
    let authority = &service.authority;
    let caller = Caller::at_the_command_line(new_id(authority.now()));
    let account = support::lend_block(authority, &caller).await;
    let key = NewApiKey::new(Role::Account, vec![account]);
    let made = service.callers.api_keys().create(&caller, key).await;
    made.expect("a key").key
}

fn certificate_comes(ca: &DevelopmentCa, folder: &Path, number: usize) {
    let now = Clock::system().now();
    let validity = now - TimeDelta::seconds(60)..=now + TimeDelta::seconds(CERTIFICATE_SECONDS);
    let issued = support::certificate(ca, validity);
    std::fs::write(folder.join(format!("{number}.key")), issued.key_pem).expect("a file");
    std::fs::write(folder.join(format!("{number}.pem")), issued.chain_pem).expect("a file");
}

/// Asks until it is over; checks each token as a CA does.
fn ask(address: SocketAddr, key: &str, root: &str, over: &AtomicBool) -> Seen {
    let list = TnAuthList::from_tkvalue(support::LENT_NUMBER).expect("a list");
    let fingerprint = Fingerprint::from([7; 32]);
    let body =
        json!({ "tktype": "TNAuthList", "tkvalue": list.to_tkvalue(), "fingerprint": fingerprint });
    let body = body.to_string();
    let request = format!(
        "POST /at/account/acme/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = TcpStream::connect(address).expect("a connection");
    let mut connection = BufReader::new(stream);
    let mut seen = Seen::default();
    let mut known: HashMap<String, (Expectations, i64)> = HashMap::new();
    while !over.load(Ordering::SeqCst) {
        let sent = Instant::now();
        let (status, answer) = exchange(&mut connection, &request);
        seen.slowest = seen.slowest.max(sent.elapsed());
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let Some(token) = answer["token"].as_str().filter(|_| status == 200) else {
            seen.faults.push(format!("{status}: {answer}"));
            continue;
        };
        seen.tokens += 1;
        let part = |index| {
            let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).expect("a part"));
            serde_json::from_slice::<Value>(&part.expect("base64url")).expect("JSON")
        };
        let x5u = part(0)["x5u"].as_str().expect("x5u").to_owned();
        *seen.chains.entry(x5u.clone()).or_default() += 1;
        let (expected, ends) = known.entry(x5u.clone()).or_insert_with(|| {
            let path = x5u.strip_prefix("https://localhost:8443").expect("ours");
            let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let (status, pem) = exchange(&mut connection, &get);
            assert_eq!(status, 200, "{x5u} is not published");
            let pem = String::from_utf8(pem).expect("ASCII");
            let mut trust = TrustList::default();
            trust.trust_pem(root).expect("a root");
            trust.publish_pem(&x5u, &pem).expect("a chain");
            let leaf = Certificate::chain_from_pem(&pem)
                .expect("a chain")
                .remove(0);
            let expected = Expectations {
                trust,
                fingerprint,
                tktype: TkType::TnAuthList,
                dialect: Dialect::Strict,
                identifier: Some(list.clone().into()),
                ca: Some(false),
                audience: None,
            };
            (expected, leaf.not_after().timestamp())
        });
        let report = verifier::verify(token, expected, Clock::system().now());
        if !report.accepted() {
            seen.faults.push(report.to_string());
        }
        if part(1)["exp"].as_i64().is_none_or(|exp| exp > *ends) {
            seen.faults.push(format!("a token outlives {x5u}"));
        }
    }
    // Whatever signed in this run has tokens that can be redeemed, so it has to be there still.
    for x5u in known.keys() {
        let path = x5u.strip_prefix("https://localhost:8443").expect("ours");
        let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (status, _) = exchange(&mut connection, &get);
        if status != 200 {
            seen.faults.push(format!("{x5u} is gone"));
        }
    }
    seen
}

/// One request, and the status and body of its answer.
fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> (u16, Vec<u8>) {
    connection
        .get_mut()
        .write_all(request.as_bytes())
        .expect("sent");
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        assert_ne!(
            connection.read_line(&mut line).expect("an answer"),
            0,
            "closed"
        );
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().expect("a status");
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    (status, body)
}

fn free_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}
