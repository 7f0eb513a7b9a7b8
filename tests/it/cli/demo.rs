//! The main job as a stranger sees it: `demo`, and its token checked with nothing but the openssl command.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Logged as _, Signal, send_signal};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
const CHECK_TOKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check-token");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn demo_shows_a_token_its_check_and_a_refusal() {
    let dir = TempDir::new().expect("a folder");
    let output = Command::new(EXECUTABLE)
        .arg("demo")
        .arg("--dir")
        .arg(dir.path())
        .logged_output();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    for part in [
        "\"token\":\"ey",
        "\"alg\": \"ES256\"",
        "\"tktype\": \"TNAuthList\"",
        "\"ca\": false",
        "accepted",
        "403",
        "\"start\": \"+12125552001\"",
        "not-delegated",
    ] {
        assert!(shown.contains(part), "no `{part}` in:\n{shown}");
    }
    // A folder with something in it is somebody's.
    let again = Command::new(EXECUTABLE)
        .arg("demo")
        .arg("--dir")
        .arg(dir.path())
        .logged_output();
    assert!(!again.status.success() && text(&again.stderr).contains("is not empty"));
}

/// Variables for a service of the reader's own, in the same terminal.
#[test]
fn a_demo_has_its_own_settings_whatever_the_environment_says() {
    let (dir, own) = (
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    );
    let own_database = format!("sqlite:{}", own.path().join("own.sqlite").display());
    let ignored = [
        ("TN_AUTHORITY__API_KEYS__SECRET", "5e5e5e5e5e5e5e5e"),
        ("TN_AUTHORITY__CARRIER__SPCS", "Z9Z9Z"),
        ("TN_AUTHORITY__CLIENT_CERTIFICATES__REQUIRE", "true"),
        ("TN_AUTHORITY__DATABASE__MIGRATE", "false"),
        ("TN_AUTHORITY__DATABASE__URL", &own_database),
        ("TN_AUTHORITY__OPERATIONS__LISTEN", "192.0.2.1:9090"),
        ("TN_AUTHORITY__POLICY__DIR", "/nonexistent"),
        ("TN_AUTHORITY__SERVER__LISTEN", "127.0.0.1:1"),
        (
            "TN_AUTHORITY__SERVER__PUBLIC_URL",
            "https://authority.example",
        ),
        ("TN_AUTHORITY__SIGNER__DIR", "/nonexistent"),
        ("tn_authority__server__tls_key", "/nonexistent"),
    ];
    let output = Command::new(EXECUTABLE)
        .args(["demo", "--dir"])
        .arg(dir.path())
        .envs(ignored)
        .env("TN_AUTHORITY__TOKENS__DEFAULT_LIFETIME", "1800")
        .logged_output();
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{errors}");
    let line = shown
        .lines()
        .find(|line| line.contains("ignored variables"));
    let line = line.expect("a line that names them");
    for (name, value) in ignored {
        assert!(line.contains(name), "{name}: {line}");
        assert!(
            !shown.contains(value) || value == "true" || value == "false",
            "{value}"
        );
    }
    assert!(!line.contains("TOKENS"), "{line}");
    assert_eq!(own.path().read_dir().expect("a folder").count(), 0);
}

#[test]
fn a_demo_logs_what_it_is_asked_to() {
    for (level, logs) in [("", false), ("info", true)] {
        let mut command = Command::new(EXECUTABLE);
        let output = command.arg("demo").env("RUST_LOG", level).output();
        let output = output.expect("the command");
        assert!(output.status.success());
        assert_eq!(!output.stderr.is_empty(), logs, "{}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_said_is_an_error() {
    for args in [&["demo"][..], &["check"], &["policy", "check"]] {
        let full = std::fs::File::create("/dev/full").expect("a device");
        let mut command = Command::new(EXECUTABLE);
        let output = command
            .args(args)
            .env("TN_AUTHORITY__DATABASE__URL", "sqlite::memory:")
            .stdout(full)
            .output()
            .expect("the command");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.contains("error: No space left on device"),
            "{args:?}: {said}"
        );
    }
}

/// `demo --keep`, until it is dropped.
struct Kept {
    dir: TempDir,
    demo: Child,
    /// What it printed until it began to wait.
    shown: Vec<String>,
}

impl Kept {
    fn start() -> Self {
        let dir = TempDir::new().expect("a folder");
        let mut command = Command::new(EXECUTABLE);
        command.args(["demo", "--keep", "--dir"]).arg(dir.path());
        let mut demo = command.stdout(Stdio::piped()).spawn().expect("demo");
        let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines();
        let mut shown: Vec<String> = Vec::new();
        while !shown
            .last()
            .is_some_and(|line| line.contains("shell variables"))
        {
            shown.push(
                lines
                    .next()
                    .expect("more lines")
                    .expect("a line")
                    .trim()
                    .to_owned(),
            );
        }
        Self { dir, demo, shown }
    }

    /// The JSON behind the first line that starts so.
    fn json(&self, start: &str) -> Value {
        let found = self.shown.iter().find_map(|line| line.strip_prefix(start));
        serde_json::from_str(found.expect(start)).expect("JSON")
    }

    fn ends_well_by(mut self, signal: Signal) {
        send_signal(&self.demo, signal);
        let ended = self.demo.wait().expect("the end of the demo");
        assert!(ended.success(), "{signal:?} ends it well, not with {ended}");
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

#[test]
fn a_demo_ends_with_its_terminal() {
    Kept::start().ends_well_by(Signal::HUP);
}

#[test]
fn a_token_of_the_demo_passes_an_independent_check() {
    let kept = Kept::start();
    let request = kept.json("POST /at/account/acme/token ");
    let member = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
    let (tkvalue, fingerprint) = (member(&request, "tkvalue"), member(&request, "fingerprint"));
    let token = member(&kept.json("200 "), "token");
    let check = |token: &str, fingerprint: &str, tkvalue: &str| -> Output {
        let mut check = Command::new(CHECK_TOKEN);
        check.arg("--ca").arg(kept.dir.path().join("ca.pem"));
        check.args(["--fingerprint", fingerprint, "--identifier", tkvalue, token]);
        check.output().expect("the check")
    };

    let accepted = check(&token, &fingerprint, &tkvalue);
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}{}",
        text(&accepted.stdout),
        text(&accepted.stderr)
    );
    let other_key = fingerprint.replace(
        &fingerprint[7..9],
        if fingerprint[7..9] == *"00" {
            "01"
        } else {
            "00"
        },
    );
    let (head, tail) = token.rsplit_once('.').expect("three parts");
    let other_signature = format!(
        "{head}.{}{}",
        if tail.starts_with('A') { 'B' } else { 'A' },
        &tail[1..]
    );
    for refused in [
        check(&token, &other_key, &tkvalue),
        check(&token, &fingerprint, "MAigBhYEMTIzNA"),
        check(&other_signature, &fingerprint, &tkvalue),
    ] {
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{}{}",
            text(&refused.stdout),
            text(&refused.stderr)
        );
    }
    kept.ends_well_by(Signal::TERM);
}
