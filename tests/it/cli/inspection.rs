//! The commands that look at tokens, lists and certificates, run as a user runs them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fixtures::{self, items, member};
use crate::support::tokens::{
    Made, URL, account_key, authority, certificate, changed, payload, pem, stranger, token,
};

/// The day before the published tokens expire.
const AT: &str = "2021-12-31T00:00:00Z";

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(args: &[&str], stdin: &[u8]) -> Ran {
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

fn lines(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// Files that a user would have.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
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

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
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

#[test]
fn lists_are_decoded_and_encoded() {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    for vector in items(&vectors["positive"]) {
        let expected = json!({ "entries": vector["entries"] });
        for args in [
            &["decode", member(vector, "tkvalue")][..],
            &["decode", "--legacy", member(vector, "legacy_base64")],
            &["decode", member(vector, "legacy_base64"), "--legacy"],
        ] {
            let ran = run(&[&["tn-auth-list"], args].concat(), b"");
            assert_eq!(
                (ran.code, lines(&ran.out)),
                (Some(0), vec![expected.clone()]),
                "{}",
                ran.err
            );
        }
    }
    let entries = ["spc:1234", "range:12125551500+100", "one:12125551824"];
    let ran = run(&[&["tn-auth-list", "encode"], &entries[..]].concat(), b"");
    assert_eq!(
        ran.out,
        "MCugBhYEMTIzNKESMBAWCzEyMTI1NTUxNTAwAgFkog0WCzEyMTI1NTUxODI0\n"
    );
    for wrong in ["spc:", "one:", "range:1+1", "x", "-x", ""] {
        let ran = run(&["tn-auth-list", "encode", "spc:1234", wrong], b"");
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{wrong:?}: {}",
            ran.err
        );
    }
}

#[test]
fn malformed_lists_are_refused_one_by_one_and_in_bulk() {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    let bad = items(&vectors["negative"])
        .iter()
        .chain(items(&vectors["text_negative"]));
    let bad: Vec<&str> = bad.map(|vector| member(vector, "tkvalue")).collect();
    for tkvalue in bad.iter().chain(&["-MAA", "--", "%"]) {
        let ran = run(&["tn-auth-list", "decode", "--", tkvalue], b"");
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{tkvalue:?}: {}",
            ran.err
        );
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
    }
    let one_line: Vec<&str> = bad
        .into_iter()
        .filter(|tkvalue| !tkvalue.contains('\n'))
        .collect();
    let mut stdin = one_line.join("\n").into_bytes();
    stdin.extend(b"\nMAigBhYEMTIzNA\r\n\xff\nMAigBhYEMTIzNA");
    let ran = run(&["tn-auth-list", "decode", "-"], &stdin);
    let answers = lines(&ran.out);
    assert_eq!(
        (ran.code, answers.len()),
        (Some(0), one_line.len() + 3),
        "{}",
        ran.err
    );
    let good = json!({ "entries": [{ "spc": "1234" }] });
    for (place, answer) in answers.iter().enumerate() {
        let is_good = place == one_line.len() || place == one_line.len() + 2;
        assert_eq!(*answer == good, is_good, "{answer}");
        assert_eq!(answer["error"].is_string(), !is_good, "{answer}");
    }
    let ran = run(&["tn-auth-list", "encode", "-"], b"spc:1234\nspc:\n\n");
    let answers = lines(&ran.out);
    assert_eq!((ran.code, answers.len()), (Some(0), 3));
    assert_eq!(answers[0], json!({ "tkvalue": "MAigBhYEMTIzNA" }));
    assert!(answers[1]["error"].is_string() && answers[2]["error"].is_string());
}

#[test]
fn certificates_are_described() {
    let manifest = fixtures::json("certs/manifest.json");
    let paths: Vec<String> = items(&manifest)
        .iter()
        .map(|entry| {
            fixtures::path("certs")
                .join(member(entry, "file"))
                .to_str()
                .expect("UTF-8")
                .to_owned()
        })
        .collect();
    let args: Vec<&str> = ["certificate", "inspect"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    let ran = run(&args, b"");
    let answers = lines(&ran.out);
    assert_eq!(
        (ran.code, answers.len()),
        (Some(0), paths.len()),
        "{}",
        ran.err
    );
    for (entry, answer) in items(&manifest).iter().zip(&answers) {
        assert!(member(answer, "file").ends_with(member(entry, "file")));
        assert_eq!(
            member(answer, "not_after").get(..10),
            member(entry, "not_after").get(..10),
            "{answer}"
        );
        assert_eq!(
            answer["tn_auth_list"].is_null(),
            answer["tn_auth_list_error"].is_string(),
            "{answer}"
        );
        assert_eq!(
            answer["tn_auth_list"].is_null(),
            entry["tn"].is_null(),
            "{answer}"
        );
        assert_eq!(
            answer["usable_for_signing"] == true,
            items(&answer["reasons"]).is_empty(),
            "{answer}"
        );
    }
    let files = Files::new();
    files.write("none.pem", "x");
    let der = files.path("authority.der");
    std::fs::write(&der, authority_with_spc()).expect("DER");
    let ran = run(
        &["certificate", "inspect", &files.path("none.pem"), "/", &der],
        b"",
    );
    let answers = lines(&ran.out);
    assert_eq!((ran.code, answers.len()), (Some(1), 3), "{}", ran.err);
    assert!(answers[0]["error"].is_string() && answers[1]["error"].is_string());
    assert_eq!(answers[2]["tn_auth_list"], json!([{ "spc": "1234" }]));
    assert_eq!(
        (&answers[2]["key"], &answers[2]["usable_for_signing"]),
        (&json!("EC P-256"), &json!(true))
    );
}

/// A certificate that can sign now and for years.
fn authority_with_spc() -> Vec<u8> {
    let key = authority();
    let made = Made {
        days: (-10, 36_500),
        tn_auth_list: Some(&fixtures::hex("3008a006160431323334")),
        ..Made::new("authority", &key)
    };
    made.make().to_der().expect("DER")
}
