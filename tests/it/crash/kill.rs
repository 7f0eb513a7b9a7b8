//! Whatever crashes: a token that any client has received is in the ledger. `serve` is killed under load, again and again.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::tokens::grant::Jti;
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};
use tn_authority::store::{PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use crate::support::{Db, Logged as _, fingerprint};

const KILLS: usize = 50;
const CLIENTS: usize = 4;
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

both!(every_token_that_was_received_is_in_the_ledger);

fn every_token_that_was_received_is_in_the_ledger(db: Db) {
    let carrier = Carrier::over(&db);
    let mut received = Vec::new();
    for kill in 1..=KILLS {
        received.extend(carrier.serve_until_killed(1 + kill * 7 % 40));
    }
    assert!(
        received.len() >= KILLS,
        "only {} tokens were received",
        received.len()
    );

    let settings = Settings {
        url: db.url(),
        purpose: Purpose::Command,
        pool_size: 1,
        migrate: false,
        queue: 1,
        batch: 1,
        postgres: PostgresSettings::default(),
    };
    let store =
        Store::open(&settings, Arc::new(Metrics::new().expect("metrics"))).expect("a store");
    for jti in &received {
        let grant = store
            .read(|tx| tx.grant(&Jti::from_text(jti)))
            .expect("the ledger");
        assert!(
            grant.is_some(),
            "a client has the token {jti}, and the ledger does not"
        );
    }
}

/// A carrier with its files, an account and its key.
pub struct Carrier {
    pub dir: TempDir,
    database: String,
    pub api_key: String,
}

impl Carrier {
    pub fn over(db: &Db) -> Self {
        let dir = TempDir::new().expect("a folder");
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
        let wanted =
            SpcCertificate::new("1234".parse().expect("a code"), validity).expect("a certificate");
        let issued = ca.issue_spc_certificate(&wanted).expect("a certificate");
        fs::write(dir.path().join("key.pem"), issued.key_pem).expect("a file");
        fs::write(dir.path().join("chain.pem"), issued.chain_pem).expect("a file");
        let mut carrier = Self {
            dir,
            database: db.text_url(),
            api_key: String::new(),
        };
        carrier.run(&["account", "create", "acme"]);
        carrier.run(&["allocation", "add", "1.212.555.1XXX", "--spc", "1234"]);
        carrier.run(&["delegation", "add", "acme", "1.212.555.1XXX"]);
        carrier.api_key = carrier.run(&[
            "api-key",
            "create",
            "--role",
            "account",
            "--account",
            "acme",
        ]);
        carrier
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(EXECUTABLE);
        let file = |name: &str| -> PathBuf { self.dir.path().join(name) };
        command
            .args(args)
            .env("TN_AUTHORITY__DATABASE__URL", &self.database)
            .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
            .env("TN_AUTHORITY__SIGNER__KEY_FILE", file("key.pem"))
            .env("TN_AUTHORITY__SIGNER__CHAIN_FILE", file("chain.pem"))
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", "127.0.0.1:0")
            .env("TN_AUTHORITY__IDEMPOTENCY__LEASE", "1")
            .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32));
        command
    }

    pub fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).logged_output();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    /// Starts the service, and waits until it listens.
    pub fn serve(&self, at: SocketAddr) -> Child {
        let mut command = self.command(&["serve"]);
        command.env("TN_AUTHORITY__SERVER__LISTEN", at.to_string());
        let mut service = command
            .stdout(Stdio::null())
            .logging()
            .spawn()
            .expect("the service");
        wait_for(at, &mut service);
        service
    }

    /// Serves until the clients have so many tokens, kills the service in the middle of it, and says which were received.
    fn serve_until_killed(&self, tokens: usize) -> Vec<String> {
        let free = free_port();
        let mut service = self.serve(free);
        let (tell, told) = mpsc::channel();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (tell, key) = (tell.clone(), self.api_key.clone());
                thread::spawn(move || ask_until_nobody_answers(free, &key, &tell))
            })
            .collect();
        drop(tell);
        let mut received: Vec<String> = told.iter().take(tokens).collect();
        service.kill().expect("SIGKILL");
        service.wait().expect("the end of the service");
        // What was on its way to a client when the service died counts as well.
        received.extend(told.iter());
        for client in clients {
            client.join().expect("a client");
        }
        received
    }
}

pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}

pub fn wait_for(address: SocketAddr, service: &mut Child) {
    let patience = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        let ended = service.try_wait().expect("the state of the service");
        assert!(
            ended.is_none() && Instant::now() < patience,
            "the service does not listen: {ended:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks for one token after the other on one connection, and tells the jti of each.
fn ask_until_nobody_answers(address: SocketAddr, key: &str, tell: &Sender<String>) {
    let entry = "one:12125551001".parse().expect("an entry");
    let list = TnAuthList::from_entries(vec![entry])
        .expect("a list")
        .to_tkvalue();
    let body = json!({ "tktype": "TNAuthList", "tkvalue": list, "fingerprint": fingerprint() })
        .to_string();
    let request = format!(
        "POST /at/account/acme/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut connection) = TcpStream::connect(address) else {
        return;
    };
    let Ok(mut answers) = connection.try_clone().map(BufReader::new) else {
        return;
    };
    let mut refused = 0;
    while connection.write_all(request.as_bytes()).is_ok() {
        let Some(answer) = read_answer(&mut answers) else {
            return;
        };
        // The database of a busy machine may be late; such a request is repeated.
        if answer["status"] == 503 && refused < 100 {
            refused += 1;
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        let jti = answer["jti"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {answer}"));
        // A whole answer came: whoever has it can redeem the token.
        assert!(answer["token"].is_string());
        if tell.send(jti.to_owned()).is_err() {
            return;
        }
    }
}

/// The body of the next answer, if all of it comes.
pub fn read_answer(answers: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
