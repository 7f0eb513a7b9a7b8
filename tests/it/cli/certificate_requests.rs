//! `certificate request` and `certificate inspect`, run as an operator runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use openssl::pkey::PKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Logged as _;
use crate::support::fixtures::{self, items, member};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

#[test]
fn inspect_says_of_each_real_certificate_what_it_holds() {
    let manifest = fixtures::json("certs/manifest.json");
    let path = |entry: &Value| fixtures::path("certs").join(member(entry, "file"));
    let ran = Command::new(EXECUTABLE)
        .args(["certificate", "inspect", "--spc", "073H"])
        .args(items(&manifest).iter().map(path))
        .logged_output();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let out = String::from_utf8(ran.stdout).expect("UTF-8");
    assert_eq!(out.lines().count(), items(&manifest).len());
    for (entry, line) in items(&manifest).iter().zip(out.lines()) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let reasons = line["reasons"].to_string();
        if !entry["tn_raw"].is_null() && entry["tn"].is_null() {
            assert_eq!(line["tn_auth_list_der"], entry["tn_raw"], "{line}");
        }
        if let Some(list) = line["tn_auth_list"].as_array() {
            let ours = list.iter().any(|one| one["spc"] == "073H");
            let told = reasons.contains("none of which is one of the carrier's: `073H`");
            assert_eq!(told, !ours, "{line}");
        }
        assert_eq!(
            line["usable_for_signing"], false,
            "all of them are over: {line}"
        );
    }
}

#[test]
fn a_request_names_the_code_and_is_signed_by_its_key() {
    let dir = TempDir::new().expect("a folder");
    let key = dir.path().join("new.key");
    let ask = |more: &[&str]| {
        let output = Command::new(EXECUTABLE)
            .args(["certificate", "request", "--spc", "073H", "--key"])
            .arg(&key)
            .args(more)
            .logged_output();
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    assert!(!ask(&[]).0, "there is no key yet");
    let (_, first, _) = ask(&["--new"]);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&key).expect("a key"));
    assert_eq!(mode & 0o777, 0o600);
    let (done, _, why) = ask(&["--new"]);
    assert!(
        !done && why.contains("File exists"),
        "a key is never overwritten: {why}"
    );
    let (done, named, why) = ask(&["--subject", "CN=SHAKEN 073H,O=Acme,C=US"]);
    assert!(done, "{why}");
    assert!(!ask(&["--subject", "Acme"]).0);

    let file = FileKeyPem(&key).public();
    for (pem, subject) in [(first, "SHAKEN 073H"), (named, "Acme")] {
        let request = openssl::x509::X509Req::from_pem(pem.as_bytes()).expect("a request");
        let public = request.public_key().expect("a key");
        assert!(request.verify(&public).expect("checked"));
        assert_eq!(public.public_key_to_der().expect("DER"), file);
        let subjects: Vec<String> = request
            .subject_name()
            .entries()
            .map(|entry| String::from_utf8_lossy(entry.data().as_slice()).into_owned())
            .collect();
        assert!(subjects.contains(&subject.to_owned()), "{subjects:?}");
        // RFC 8226 §9: a SEQUENCE with `spc` [0], EXPLICIT, in the extension 1.3.6.1.5.5.7.1.26.
        let der = request.to_der().expect("DER");
        let wanted = [
            &[
                0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1a, 0x04, 0x0a,
            ][..],
            &[0x30, 0x08, 0xa0, 0x06, 0x16, 0x04],
            b"073H",
        ]
        .concat();
        assert!(der.windows(wanted.len()).any(|window| window == wanted));
    }
}

/// Some CAs accept no signing certificate without a subject alternative name.
#[test]
fn a_request_asks_for_names_an_organization_and_policies() {
    let dir = TempDir::new().expect("a folder");
    let key = dir.path().join("new.key");
    let ask = |more: &[&str]| {
        Command::new(EXECUTABLE)
            .args(["certificate", "request", "--spc", "073H", "--new", "--key"])
            .arg(&key)
            .args(more)
            .logged_output()
    };
    for (wrong, reason) in [
        (
            ["--san", "authority.example"],
            "is not a subject alternative name",
        ),
        (["--san", "DNS:"], "is not a subject alternative name"),
        (
            ["--san", "DNS:two names"],
            "is not a subject alternative name",
        ),
        (["--san", "IP:999"], "is not a subject alternative name"),
        (
            ["--san", "URI:nothing"],
            "is not a subject alternative name",
        ),
        (["--san", "serial:1"], "is not a subject alternative name"),
        (
            ["--policy", "2.16.x"],
            "is not the OID of a certificate policy",
        ),
        (["--organization", " Acme"], "is not a distinguished name"),
    ] {
        let refused = ask(&wrong);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && error.contains(reason),
            "{wrong:?}: {error}"
        );
        assert!(!key.exists(), "a key for nothing");
    }
    let made = ask(&[
        "--organization",
        "Acme, Inc. + Sons",
        "--san",
        "DNS:authority.example",
        "--san",
        "URI:https://authority.example/",
        "--san",
        "email:pki@authority.example",
        "--san",
        "IP:192.0.2.1",
        "--policy",
        "2.16.840.1.114569.1.1.3",
    ]);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let file = dir.path().join("request.pem");
    fs::write(&file, &made.stdout).expect("a file");
    let shown = Command::new("openssl")
        .args([
            "req", "-noout", "-verify", "-text", "-nameopt", "RFC2253", "-in",
        ])
        .arg(file)
        .logged_output();
    let shown = String::from_utf8_lossy(&shown.stdout);
    for part in [
        "CN=SHAKEN 073H,O=Acme\\, Inc. \\+ Sons",
        "DNS:authority.example, URI:https://authority.example/, email:pki@authority.example, IP Address:192.0.2.1",
        "Policy: 2.16.840.1.114569.1.1.3",
        "1.3.6.1.5.5.7.1.26",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

struct FileKeyPem<'a>(&'a Path);

impl FileKeyPem<'_> {
    fn public(&self) -> Vec<u8> {
        let pem = fs::read(self.0).expect("a key");
        let key = PKey::private_key_from_pem(&pem).expect("a key");
        key.public_key_to_der().expect("DER")
    }
}
