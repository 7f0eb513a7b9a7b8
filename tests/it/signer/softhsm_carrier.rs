//! A carrier whose key is in a token of a module in software, and its service.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::signer::development::DevelopmentCa;

use crate::support::{Db, Logged as _, fingerprint, write_private};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
pub(super) const KEY: &str = "pkcs11:token=carrier;object=signing";
pub(super) const PIN: &str = "987654";

/// Where Debian and others put it.
fn module() -> &'static str {
    const KNOWN: [&str; 4] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    KNOWN
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("SoftHSM is missing; use tests/run, which installs it")
}

/// The shim of `softhsm_shim.c`, compiled once.
fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/signer/softhsm_shim.c"
        );
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("softhsm_shim.so");
        // Another process may be using the file, so it is replaced as a whole.
        let new = built.with_extension(std::process::id().to_string());
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-o"])
            .arg(&new)
            .arg(source)
            .arg("-ldl")
            .logged_output();
        let error = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{error}");
        fs::rename(&new, &built).expect("renamed");
        built
    })
}

/// A carrier whose key is in a token.
pub(super) struct Carrier {
    dir: TempDir,
    database: String,
    /// What else its commands find in their environment.
    pub(super) env: Vec<(&'static str, String)>,
    pub(super) api_key: String,
}

impl Carrier {
    /// Makes a key in a token, and gets a certificate for it.
    pub(super) fn over(db: &Db) -> Self {
        Self::over_with(db, |carrier| carrier.request(KEY))
    }

    /// The same with another way to get a key and a request for its certificate.
    pub(super) fn over_with(db: &Db, request: impl FnOnce(&Self) -> String) -> Self {
        let mut carrier = Self::with_a_token(db.text_url());
        let request = request(&carrier);
        carrier.is_certified(&request);
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

    /// Initialises a token.
    pub(super) fn with_a_token(database: String) -> Self {
        let carrier = Self {
            database,
            ..Self::without_a_token()
        };
        carrier.initialise_token();
        carrier
    }

    pub(super) fn without_a_token() -> Self {
        let dir = TempDir::new().expect("a folder");
        fs::create_dir(dir.path().join("tokens")).expect("a folder");
        fs::create_dir(dir.path().join("signers")).expect("a folder");
        let tokens = dir.path().join("tokens");
        let conf = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(dir.path().join("softhsm2.conf"), conf).expect("a file");
        write_private(&dir.path().join("pin"), &format!("{PIN}\n"));
        Self {
            dir,
            database: String::new(),
            env: Vec::new(),
            api_key: String::new(),
        }
    }

    /// The serial numbers of the tokens.
    pub(super) fn serials(&self) -> Vec<String> {
        let shown = Command::new("softhsm2-util")
            .arg("--show-slots")
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .logged_output();
        let shown = String::from_utf8(shown.stdout).expect("text");
        let serials = shown.lines().filter_map(|line| {
            let serial = line.trim().strip_prefix("Serial number:")?.trim();
            (!serial.is_empty()).then(|| serial.to_owned())
        });
        serials.collect()
    }

    /// Keeps its data in a file of its own.
    pub(super) fn in_a_file(mut self) -> Self {
        self.database = format!("sqlite:{}", self.path("data.sqlite").display());
        self.run(&["migrate"]);
        self
    }

    /// Puts the shim before the module; it counts logins.
    pub(super) fn watched(mut self) -> Self {
        let log = self.path("logins");
        fs::write(&log, "").expect("a file");
        self.env.extend([
            ("SHIM_MODULE", module().to_owned()),
            ("SHIM_LOG", log.display().to_string()),
            (
                "TN_AUTHORITY__SIGNER__PKCS11__MODULE",
                shim().display().to_string(),
            ),
        ]);
        self
    }

    /// Imports a private key in PEM (PKCS #8) into a token, under the label `signing`.
    pub(super) fn imports(&self, (token, pin): (&str, &str), key_pem: &str, how: &[&str]) {
        let file = self.path("import.pem");
        write_private(&file, key_pem);
        let done = Command::new("softhsm2-util")
            .arg("--import")
            .arg(file)
            .args([
                "--token", token, "--pin", pin, "--label", "signing", "--id", "01",
            ])
            .args(how)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .logged_output();
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{error}");
    }

    /// How often the PIN was tried, by [`Carrier::watched`].
    pub(super) fn logins(&self) -> usize {
        let log = fs::read_to_string(self.path("logins")).expect("a log");
        log.lines().count()
    }

    /// A request for a certificate, with a new key.
    pub(super) fn request(&self, key: &str) -> String {
        self.run(&[
            "certificate",
            "request",
            "--spc",
            "1234",
            "--key",
            key,
            "--new",
        ])
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn initialise_token(&self) {
        self.initialise_token_of("carrier", PIN);
    }

    pub(super) fn initialise_token_of(&self, label: &str, pin: &str) {
        let done = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--so-pin",
                "123456",
                "--pin",
                pin,
            ])
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .output()
            .expect("SoftHSM is missing; use tests/run, which installs it");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    pub(super) fn is_certified(&self, request: &str) {
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
        let chain = ca.sign_request(request, &validity).expect("a certificate");
        fs::write(self.path("signers/1234.pem"), chain).expect("a file");
        fs::write(self.path("signers/1234.uri"), format!("{KEY}\n")).expect("a file");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(EXECUTABLE);
        command
            .args(args)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .env("TN_AUTHORITY__DATABASE__URL", &self.database)
            .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
            .env("TN_AUTHORITY__SIGNER__DIR", self.path("signers"))
            .env("TN_AUTHORITY__SIGNER__PKCS11__MODULE", module())
            .env("TN_AUTHORITY__SIGNER__PKCS11__PIN_FILE", self.path("pin"))
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", "127.0.0.1:0")
            .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32))
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn output(&self, args: &[&str]) -> Output {
        self.command(args).logged_output()
    }

    pub(super) fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{args:?}: {}: {error}",
            output.status
        );
        let out = String::from_utf8(output.stdout).expect("text");
        out.trim().to_owned()
    }

    pub(super) fn serves(&self) -> Serving {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port");
        let service = self
            .command(&["serve"])
            .env("TN_AUTHORITY__SERVER__LISTEN", address.to_string())
            .stdout(Stdio::null())
            .logging()
            .spawn()
            .expect("the service");
        let mut serving = Serving { service, address };
        serving.wait();
        serving
    }
}

/// A running service, which is stopped at the end.
pub(super) struct Serving {
    pub(super) service: Child,
    address: SocketAddr,
}

impl Serving {
    fn wait(&mut self) {
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.service.try_wait().expect("the state of the service");
            let late = Instant::now() >= patience;
            assert!(
                ended.is_none() && !late,
                "the service does not listen: {ended:?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn ask(&self, key: &str) -> (u16, Value) {
        let entry = "one:12125551001".parse().expect("an entry");
        let list = TnAuthList::from_entries(vec![entry])
            .expect("a list")
            .to_tkvalue();
        let body = json!({ "tktype": "TNAuthList", "tkvalue": list, "fingerprint": fingerprint() });
        self.send(key, "POST", "/at/account/acme/token", &body.to_string())
    }

    pub(super) fn send(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        (
            status.expect("a status"),
            serde_json::from_str(body).expect("JSON"),
        )
    }

    /// Until the answer has this status.
    pub(super) fn until(&self, key: &str, wanted: u16) -> Value {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let (status, body) = self.ask(key);
            if status == wanted {
                return body;
            }
            assert!([200, 503].contains(&status), "{status} {body}");
            assert!(Instant::now() < patience, "still {status}: {body}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
