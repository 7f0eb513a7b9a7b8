//! The commands that look at tokens, run as a user runs them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fixtures::{self, items};
use crate::support::tokens::{
    Made, URL, account_key, certificate, changed, payload, pem, stranger, token,
};

/// The day before the published tokens expire.
const AT: &str = "2021-12-31T00:00:00Z";

pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) fn run(args: &[&str], stdin: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tn-authority"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(stdin)
        .expect("stdin");
    let output = child.wait_with_output().expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub(super) fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Files that a user would have.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        let files = Self(TempDir::new().expect("a folder"));
        files.write("authority.pem", &pem(&[certificate()]));
        files.write(
            "stranger.pem",
            &pem(&[&Made::new("stranger", &stranger()).make()]),
        );
        let vectors = fixtures::json("vectors/authority_tokens.json");
        let keys = items(&vectors["account_keys"]);
        let key = keys
            .iter()
            .find(|key| key["source"] == "RFC 7517 A.1")
            .expect("A.1");
        files.write("account.jwk", &key["jwk"].to_string());
        files
    }

    pub(super) fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect(name);
    }
}

#[test]
fn verify_says_what_a_ca_would_say() {
    let files = Files::new();
    let pinned = format!("{URL}={}", files.path("authority.pem"));
    let jwk = files.path("account.jwk");
    let (trust, stranger) = (files.path("authority.pem"), files.path("stranger.pem"));
    let good = token(&payload());
    let base = ["verify", "--account-jwk", &jwk, "--at", AT];
    let verify = |more: &[&str], stdin: &str| run(&[&base[..], more].concat(), stdin.as_bytes());

    for more in [
        &["--x5u-file", &pinned, &good][..],
        &["--trust", &trust, &good],
        &["--trust", &trust, "--x5u-file", &pinned, &good],
        &["--trust", &stranger, "--trust", &trust, &good],
        &[
            "--x5u-file",
            &pinned,
            "--identifier",
            "MAigBhYEMTIzNA",
            "--ca",
            "false",
            &good,
        ],
    ] {
        let ran = verify(more, "");
        assert_eq!(ran.code, Some(0), "{more:?}: {}{}", ran.out, ran.err);
        assert_eq!(ran.out.lines().count(), 10, "{}", ran.out);
        assert!(
            ran.out.ends_with("\naccepted\n") && ran.err.is_empty(),
            "{}{}",
            ran.out,
            ran.err
        );
    }
    let ran = verify(&["--x5u-file", &pinned, "-"], &format!("{good}\n"));
    assert_eq!(ran.code, Some(0), "{}", ran.out);

    let wrong_ca = token(&changed("atc.ca", Some(json!(true))));
    for (more, step) in [
        (
            &[
                "--x5u-file",
                &pinned,
                "--identifier",
                "MAigBhYEODE4SA",
                &good,
            ][..],
            "step 6 failed",
        ),
        (
            &["--x5u-file", &pinned, "--ca", "false", &wrong_ca],
            "step 9 failed",
        ),
        (
            &["--x5u-file", &pinned, "--at", "2022-01-01T00:00:00Z", &good],
            "step 7 failed",
        ),
        (&["--trust", &stranger, &good], "step 2 failed"),
        (&[&good], "step 2 failed"),
        (&["--x5u-file", &pinned, ""], "step 0 failed"),
        (&["--x5u-file", &pinned, "-x"], "step 0 failed"),
    ] {
        // `--at` may be given once.
        let base: &[&str] = if more.contains(&"--at") {
            &base[..3]
        } else {
            &base
        };
        let ran = run(&[base, more].concat(), b"");
        assert_eq!(ran.code, Some(1), "{more:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.out.contains(step) && ran.out.ends_with("\nrefused\n"),
            "{}",
            ran.out
        );
    }
    let ran = run(&[&base[..], &["-"]].concat(), b"\xff\xfe");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
}

#[test]
fn verify_takes_the_fingerprint_and_answers_in_json() {
    let files = Files::new();
    let pinned = format!("{URL}={}", files.path("authority.pem"));
    let fingerprint = account_key().to_string();
    let good = token(&payload());
    let ran = run(
        &[
            "verify",
            "--x5u-file",
            &pinned,
            "--fingerprint",
            &fingerprint,
            "--at",
            AT,
            "--json",
            &good,
        ],
        b"",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let report = &lines(&ran.out)[0];
    assert_eq!(report["accepted"], true);
    assert_eq!(report["claims"], payload());
    assert_eq!(items(&report["steps"]).len(), 9);
    assert_eq!(report["steps"][3]["outcome"], "passed");

    let ran = run(
        &["verify", "--fingerprint", &fingerprint, "--json", "x"],
        b"",
    );
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let report = &lines(&ran.out)[0];
    assert_eq!(
        (&report["accepted"], &report["claims"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(report["steps"][0]["number"], 0);
}

#[test]
fn verify_that_cannot_be_run_says_so() {
    let files = Files::new();
    files.write("empty.pem", "");
    files.write("bad.jwk", "{}");
    let (jwk, bad_jwk) = (files.path("account.jwk"), files.path("bad.jwk"));
    let (none, empty) = (files.path("none.pem"), files.path("empty.pem"));
    let no_file = format!("{URL}={none}");
    let http = format!("http://a.example/={}", files.path("authority.pem"));
    for more in [
        &["--account-jwk", &jwk, "--trust", &none, "x"][..],
        &["--account-jwk", &jwk, "--trust", &empty, "x"],
        &["--account-jwk", &jwk, "--x5u-file", &no_file, "x"],
        &["--account-jwk", &jwk, "--x5u-file", &http, "x"],
        &["--account-jwk", &jwk, "--x5u-file", &none, "x"],
        &["--account-jwk", &none, "x"],
        &["--account-jwk", &bad_jwk, "x"],
        &[
            "--account-jwk",
            &jwk,
            "--fingerprint",
            &account_key().to_string(),
            "x",
        ],
        &["--account-jwk", &jwk, "--at", "yesterday", "x"],
        &["--account-jwk", &jwk, "--identifier", "MAA", "x"],
        &["--account-jwk", &jwk, "--ca", "maybe", "x"],
        &["--account-jwk", &jwk],
        &["--fingerprint", "sha256", "x"],
        &["x"],
    ] {
        let ran = run(&[&["verify"], more].concat(), b"");
        assert_eq!(ran.code, Some(2), "{more:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.out.is_empty() && ran.err.starts_with("error: "),
            "{more:?}: {}",
            ran.err
        );
    }
}

/// A device, or the name of a disk image, must not fill the memory.
#[test]
fn a_file_that_is_named_is_read_up_to_a_bound() {
    let files = Files::new();
    let key = std::fs::read_to_string(files.path("account.jwk")).expect("a key");
    // White space at the end changes neither a key nor a chain.
    let long = |name: &str, text: &str| {
        files.write(name, &format!("{text}{}", " ".repeat(4 << 20)));
        files.path(name)
    };
    let chain = std::fs::read_to_string(files.path("authority.pem")).expect("a chain");
    let (long_key, long_chain) = (long("long.jwk", &key), long("long.pem", &chain));
    let long_api_key = long("api.key", "tna_0123");
    let jwk = files.path("account.jwk");
    let pinned = format!("{URL}={long_chain}");
    let ca = files.path("certificate.pem");
    for (code, args) in [
        (1, &["fingerprint", &long_key][..]),
        (2, &["verify", "--account-jwk", &long_key, "x"]),
        (
            2,
            &["verify", "--account-jwk", &jwk, "--trust", &long_chain, "x"],
        ),
        (
            2,
            &["verify", "--account-jwk", &jwk, "--x5u-file", &pinned, "x"],
        ),
    ] {
        let ran = run(args, b"");
        assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.err.contains("more than 4194304 bytes"),
            "{args:?}: {}",
            ran.err
        );
    }
    let ran = run(&["certificate", "inspect", &long_chain], b"");
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("more than 4194304 bytes"), "{}", ran.out);
    let redeem = |account_key: &str, api_key: &str| {
        run(
            &[
                "redeem",
                "--directory",
                "https://ca.example/",
                "--token-url",
                "https://authority.example/at/account/acme/token",
                "--numbers",
                "+12125551001",
                "--account-key",
                account_key,
                "--api-key-file",
                api_key,
                "--out",
                &ca,
            ],
            b"",
        )
    };
    for ran in [
        redeem(&files.path("new.pem"), &long_api_key),
        redeem(&long_api_key, &long_api_key),
    ] {
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("more than 4194304 bytes"), "{}", ran.err);
    }
    // What stands in a pipe is read too.
    let ran = run(&["fingerprint", "/dev/stdin"], key.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = run(&["fingerprint", "/dev/zero"], b"");
    assert_eq!(ran.code, Some(1));
}
