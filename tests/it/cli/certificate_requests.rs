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

struct FileKeyPem<'a>(&'a Path);

impl FileKeyPem<'_> {
    fn public(&self) -> Vec<u8> {
        let pem = fs::read(self.0).expect("a key");
        let key = PKey::private_key_from_pem(&pem).expect("a key");
        key.public_key_to_der().expect("DER")
    }
}
