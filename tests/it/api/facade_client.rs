//! A client that is not ours: the unmodified `stir-shaken-toolkit` from `PyPI`, a process of its own, gets a token for the
//! carrier's own code from the facade of a running service, over TLS, and accepts it.
//!
//! The toolkit knows no other STI-PA than that of the United States. So the service has that name here, with a certificate
//! of a development CA that the toolkit is told to trust, and a proxy on loopback leads to it: no name is looked up, and
//! nothing leaves the machine.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::Value;
use tempfile::TempDir;
use tn_authority::domain::{Clock, Dialect};
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};
use tn_authority::verifier::lint;

use crate::support::fixtures::member;
use crate::support::{Db, Logged as _, write_private};

both!(the_toolkit_of_others_gets_and_accepts_a_token);

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
/// The only STI-PA that the toolkit knows.
const HOST: &str = "authenticate-api.iconectiv.com";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn the_toolkit_of_others_gets_and_accepts_a_token(db: Db) {
    let carrier = Carrier::over(&db);
    let key = carrier.run(&[
        "api-key",
        "create",
        "--role",
        "account",
        "--account",
        "carrier",
    ]);
    let (user, password) = key["tna_".len()..].split_once('_').expect("two parts");
    let account_key = carrier.file("account-key.pem");
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ])
        .arg(&account_key)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");

    let service = carrier.serve();
    let toolkit = Toolkit::new(&carrier, service.address);
    let fingerprint = toolkit.run(&["fingerprint", "--private-key", &shown(&account_key)]);
    let fingerprint = printed(&fingerprint);
    let fetch = |spc: &str, password: &str, encoding: &str| {
        toolkit.run(&[
            "spc-token",
            "--user-id",
            user,
            // With `=`, since a password may start with a hyphen.
            &format!("--password={password}"),
            "--sp-id",
            "carrier",
            "--spc",
            spc,
            "--fingerprint",
            &fingerprint,
            "--encoding",
            encoding,
        ])
    };

    // A strict account is refused what these clients write; their other spelling it gets.
    refused(&fetch("1234", password, "base64"), "malformed-tkvalue");
    printed(&fetch("1234", password, "base64url"));

    carrier.run(&["account", "create", "carrier", "--dialect", "legacy"]);
    let answer: Value =
        serde_json::from_str(&printed(&fetch("1234", password, "base64"))).expect("JSON");
    assert_eq!(member(&answer, "tn_auth_list_value"), "MAigBhYEMTIzNA==");
    assert_eq!(member(&answer, "fingerprint"), fingerprint);
    assert_eq!(member(&answer, "crl_url"), toolkit.crl_url);
    let token = member(&answer, "token");
    let claims = lint(token, Dialect::Legacy).expect("a token");
    assert_eq!(claims.tkvalue.text(), "MAigBhYEMTIzNA==");
    assert_eq!(claims.fingerprint.to_string(), fingerprint);

    // A CA of that kind takes it, and one that is strict does not.
    let verify = |more: &[&str]| {
        let mut verify = carrier.command(&["verify", "--trust"]);
        verify.arg(carrier.file("chain.pem"));
        verify.args([
            "--fingerprint",
            &fingerprint,
            "--identifier",
            "MAigBhYEMTIzNA==",
        ]);
        verify.args(more).arg(token).output().expect("verify")
    };
    let accepted = verify(&["--legacy"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    assert_eq!(
        verify(&[]).status.code(),
        Some(2),
        "the identifier is not strict"
    );

    refused(&fetch("9999", password, "base64"), "not-authorized");
    refused(&fetch("1234", &"A".repeat(43), "base64"), "forbidden");
    carrier.run(&["api-key", "revoke", user]);
    refused(&fetch("1234", password, "base64"), "forbidden");
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone())
        .expect("text")
        .trim()
        .to_owned()
}

#[track_caller]
fn refused(output: &Output, code: &str) {
    let said = said(output);
    assert!(!output.status.success() && said.contains(code), "{said}");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A carrier with its files.
struct Carrier {
    dir: TempDir,
    database: String,
    crl: TcpListener,
}

impl Carrier {
    fn over(db: &Db) -> Self {
        let carrier = Self {
            dir: TempDir::new().expect("a folder"),
            database: db.text_url(),
            crl: TcpListener::bind("127.0.0.1:0").expect("a port"),
        };
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
        let wanted = SpcCertificate::new("1234".parse().expect("a code"), validity.clone());
        let signing = ca.issue_spc_certificate(&wanted.expect("a certificate"));
        let signing = signing.expect("a certificate");
        let tls = ca
            .issue_tls_certificate(&[HOST], &validity)
            .expect("a certificate");
        let write = |name: &str, text: &str| write_private(&carrier.file(name), text);
        write("ca.pem", &ca.certificate_pem().expect("a certificate"));
        write("key.pem", &signing.key_pem);
        write("chain.pem", &signing.chain_pem);
        write("tls-key.pem", &tls.key_pem);
        write("tls-chain.pem", &tls.chain_pem);
        carrier.run(&["account", "create", "carrier"]);
        carrier
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn crl_url(&self) -> String {
        format!(
            "http://{}/spc.crl",
            self.crl.local_addr().expect("an address")
        )
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(EXECUTABLE);
        command
            .args(args)
            .env("TN_AUTHORITY__DATABASE__URL", &self.database)
            .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
            .env("TN_AUTHORITY__CARRIER__ACCOUNT", "carrier")
            .env("TN_AUTHORITY__SIGNER__KEY_FILE", self.file("key.pem"))
            .env("TN_AUTHORITY__SIGNER__CHAIN_FILE", self.file("chain.pem"))
            .env(
                "TN_AUTHORITY__SERVER__PUBLIC_URL",
                format!("https://{HOST}"),
            )
            .env(
                "TN_AUTHORITY__SERVER__TLS_CERTIFICATE",
                self.file("tls-chain.pem"),
            )
            .env("TN_AUTHORITY__SERVER__TLS_KEY", self.file("tls-key.pem"))
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", "127.0.0.1:0")
            .env("TN_AUTHORITY__FACADE__ENABLED", "true")
            .env("TN_AUTHORITY__FACADE__CRL_URL", self.crl_url())
            .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32));
        command
    }

    fn run(&self, args: &[&str]) -> String {
        printed(&self.command(args).output().expect("the command"))
    }

    fn serve(&self) -> Service {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let address = free.expect("a port");
        let mut command = self.command(&["serve"]);
        command.env("TN_AUTHORITY__SERVER__LISTEN", address.to_string());
        let process = command.stdout(Stdio::null()).logging().spawn();
        let mut service = Service {
            address,
            process: process.expect("the service"),
        };
        let patience = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let ended = service.process.try_wait().expect("its state");
            assert!(
                ended.is_none() && Instant::now() < patience,
                "it does not listen: {ended:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        service
    }
}

/// `serve`, until it is dropped.
struct Service {
    address: SocketAddr,
    process: Child,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The toolkit, and the way to the service.
struct Toolkit {
    executable: PathBuf,
    home: TempDir,
    ca: PathBuf,
    proxy: String,
    crl_url: String,
}

impl Toolkit {
    fn new(carrier: &Carrier, service: SocketAddr) -> Self {
        let mut install = Command::new(format!("{ROOT}/tests/venv"));
        install.arg(format!("{ROOT}/tests/facade/requirements.txt"));
        let target = Path::new(EXECUTABLE).ancestors().nth(2).expect("target");
        let python = install.env("CARGO_TARGET_DIR", target).output();
        let python = printed(&python.expect("tests/venv"));
        let executable = Path::new(&python).with_file_name("stir-shaken-toolkit");
        let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = proxy.local_addr().expect("an address");
        let crl = carrier.crl.try_clone().expect("a listener");
        // Both end with the process of the tests.
        thread::spawn(move || {
            proxy
                .incoming()
                .flatten()
                .for_each(|client| forward(client, service))
        });
        thread::spawn(move || crl.incoming().flatten().for_each(serve_crl));
        Self {
            executable,
            home: TempDir::new().expect("a folder"),
            ca: carrier.file("ca.pem"),
            proxy: format!("http://{address}"),
            crl_url: carrier.crl_url(),
        }
    }

    /// Runs the toolkit with nothing of our environment.
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.executable);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("HTTPS_PROXY", &self.proxy)
            .env("REQUESTS_CA_BUNDLE", &self.ca);
        command.output().expect("the toolkit")
    }
}

/// Reads the head of a request; its first line.
fn request_line(client: &TcpStream) -> Option<String> {
    // One byte at a time, so that nothing of what follows is taken.
    let (mut head, mut byte) = (Vec::new(), [0]);
    let mut client = client;
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    BufReader::new(&head[..]).lines().next()?.ok()
}

/// Answers CONNECT to the one host there is, and hands the bytes on.
fn forward(mut client: TcpStream, service: SocketAddr) {
    let line = request_line(&client).unwrap_or_default();
    if line != format!("CONNECT {HOST}:443 HTTP/1.1")
        && line != format!("CONNECT {HOST}:443 HTTP/1.0")
    {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
        return;
    }
    let Ok(server) = TcpStream::connect(service) else {
        return;
    };
    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
        return;
    }
    for (mut from, mut to) in [
        (
            client.try_clone().expect("a socket"),
            server.try_clone().expect("a socket"),
        ),
        (server, client),
    ] {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// A CRL, of which the toolkit looks at nothing.
fn serve_crl(mut client: TcpStream) {
    if request_line(&client).is_some_and(|line| line.starts_with("GET /spc.crl ")) {
        let _ = client.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\x30\x00",
        );
    }
}
