//! A carrier's service as a process of its own, over TLS, on a real clock.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::Value;
use tempfile::TempDir;
use tn_authority::acme::{AcmeError, TokenEndpoint, TokenWanted};
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::outgoing::{HttpRequest, HttpsUrl, Outgoing, ReplyLimits, Way};
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};

use crate::support::{Db, Logged as _, keep_text};

pub const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
pub const LIMITS: ReplyLimits = ReplyLimits {
    body: 256 * 1024,
    time: Duration::from_secs(30),
};

/// How long a machine with much to do may take for what takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// What the service says.
const LOG: &str = "serve.log";

/// A carrier that holds 1.212.555.1XXX and lends all of it to `acme`, with the right to CA certificates.
pub struct Carrier {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub api_key: String,
    service: Child,
    // After the service, which uses it.
    db: Db,
}

impl Carrier {
    pub fn over(db: Db) -> Self {
        Self::with(db, &[])
    }

    /// With more settings of the service, such as `TN_AUTHORITY__POLICY__DIR`.
    pub fn with(db: Db, settings: &[(&str, String)]) -> Self {
        let dir = TempDir::new().expect("a folder");
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Carrier CA", validity.clone()).expect("a CA");
        let tls = ca.issue_tls_certificate(&["127.0.0.1", "localhost"], &validity);
        let tls = tls.expect("a certificate");
        let wanted = SpcCertificate::new("1234".parse().expect("a code"), validity);
        let wanted = wanted.expect("a certificate");
        let issued = ca.issue_spc_certificate(&wanted).expect("a certificate");
        for (name, text) in [
            ("root.pem", ca.certificate_pem().expect("a certificate")),
            ("tls.pem", tls.chain_pem),
            ("tls.key", tls.key_pem),
            ("key.pem", issued.key_pem),
            ("chain.pem", issued.chain_pem),
        ] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        // None of these listens.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let run = |args: &[&str]| run(&mut command(&dir, &db, nowhere, args));
        run(&["account", "create", "acme"]);
        run(&["allocation", "add", "1.212.555.1XXX", "--spc", "1234"]);
        run(&["delegation", "add", "acme", "1.212.555.1XXX", "--ca"]);
        let api_key = run(&[
            "api-key",
            "create",
            "--role",
            "account",
            "--account",
            "acme",
        ]);
        fs::write(dir.path().join("api.key"), format!("{api_key}\n")).expect("a file");
        // Its port stands in its public URL, so it is chosen here; somebody else may take it meanwhile.
        let (address, service) = (0..5)
            .find_map(|_| serve(&dir, &db, settings))
            .expect("the service starts on one of five ports");
        Self {
            dir,
            address,
            api_key,
            service,
            db,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command on the machine of the service.
    pub fn run(&self, args: &[&str]) -> String {
        run(&mut command(&self.dir, &self.db, self.address, args))
    }

    pub fn token_url(&self) -> String {
        format!("https://{}/at/account/acme/token", self.address)
    }

    /// A token of the running service.
    pub fn token(
        &self,
        wanted: &TokenWanted<'_>,
        lifetime: Option<u32>,
    ) -> Result<String, AcmeError> {
        let roots = fs::read_to_string(self.file("root.pem")).expect("a file");
        let endpoint = TokenEndpoint {
            http: Outgoing::new(Some(&roots), LIMITS, Way::Direct).expect("a client"),
            url: self.token_url().parse().expect("a URL"),
            api_key: self.api_key.as_str().into(),
            lifetime,
            clock: Clock::system(),
        };
        endpoint.token(wanted)
    }

    /// What the service answers to a caller with this key; `POST` if there is a body.
    pub fn call(&self, key: &str, path: &str, body: Option<&Value>) -> Value {
        let roots = fs::read_to_string(self.file("root.pem")).expect("a file");
        let http = Outgoing::new(Some(&roots), LIMITS, Way::Direct).expect("a client");
        let url = format!("https://{}{path}", self.address);
        let body = body.map(Value::to_string);
        let ask = body
            .as_deref()
            .map_or(HttpRequest::Get, |body| HttpRequest::Post {
                media_type: "application/json",
                body: body.as_bytes(),
            });
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str())];
        let reply = http.send(&url.parse().expect("a URL"), ask, &headers, PATIENCE);
        let reply = reply.expect("an answer");
        let text = String::from_utf8_lossy(&reply.body);
        assert!(reply.status < 300, "{path}: {} {text}", reply.status);
        serde_json::from_str(&text).expect("JSON")
    }

    /// The service is down from now on.
    pub fn stop(&mut self) {
        self.service.kill().expect("it runs");
        self.service.wait().expect("its end");
    }

    /// The number is ported out: from now on there is no token for it.
    pub fn ports_out(&self, number: &str) {
        self.run(&["exclusion", "add", number, "--reason", "ported-out"]);
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
        keep_text(&fs::read_to_string(self.file(LOG)).unwrap_or_default());
    }
}

/// The service, once it answers; nothing if it could not have its port.
fn serve(dir: &TempDir, db: &Db, settings: &[(&str, String)]) -> Option<(SocketAddr, Child)> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = address.expect("a port");
    let log = dir.path().join(LOG);
    let mut service = command(dir, db, address, &["serve"])
        .envs(settings.iter().cloned())
        .env("RUST_LOG", "debug")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the service");
    let root = fs::read_to_string(dir.path().join("root.pem")).expect("a file");
    let http = Outgoing::new(Some(&root), LIMITS, Way::Direct).expect("a client");
    let url: HttpsUrl = format!("https://{address}/healthz").parse().expect("a URL");
    let started = Instant::now();
    // Nobody else has a certificate of this root.
    while !matches!(http.send(&url, HttpRequest::Get, &[], PATIENCE), Ok(reply) if reply.status == 200)
    {
        if let Some(status) = service.try_wait().expect("a state") {
            let said = fs::read_to_string(&log).expect("a file");
            assert!(
                said.contains("in use"),
                "the service ended with {status}: {said}"
            );
            return None;
        }
        assert!(started.elapsed() < PATIENCE, "the service does not answer");
        thread::sleep(Duration::from_millis(20));
    }
    Some((address, service))
}

fn command(dir: &TempDir, db: &Db, address: SocketAddr, args: &[&str]) -> Command {
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let mut command = Command::new(EXECUTABLE);
    command
        .args(args)
        .env("TN_AUTHORITY__DATABASE__URL", db.text_url())
        .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
        .env("TN_AUTHORITY__SIGNER__KEY_FILE", file("key.pem"))
        .env("TN_AUTHORITY__SIGNER__CHAIN_FILE", file("chain.pem"))
        .env("TN_AUTHORITY__OPERATIONS__LISTEN", "127.0.0.1:0")
        .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32))
        .env("TN_AUTHORITY__TOKENS__MIN_LIFETIME", "1")
        .env("TN_AUTHORITY__SERVER__LISTEN", address.to_string())
        .env("TN_AUTHORITY__SERVER__WORKERS", "1")
        .env(
            "TN_AUTHORITY__SERVER__PUBLIC_URL",
            format!("https://{address}"),
        )
        .env("TN_AUTHORITY__SERVER__TLS_CERTIFICATE", file("tls.pem"))
        .env("TN_AUTHORITY__SERVER__TLS_KEY", file("tls.key"));
    command
}

pub fn run(command: &mut Command) -> String {
    let output = command.logged_output();
    let error = String::from_utf8_lossy(&output.stderr);
    // Without the environment, which has keys in it.
    let args: Vec<_> = command.get_args().collect();
    assert!(output.status.success(), "{args:?}: {error}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().to_owned()
}

/// The list of entries such as `one:12125551001`.
pub fn list(entries: &[&str]) -> TnAuthList {
    let entries = entries.iter().map(|text| text.parse().expect("an entry"));
    TnAuthList::from_entries(entries.collect()).expect("a list")
}
