//! A PIN that a token refuses: it is tried once, whatever asks for it, and how often.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::Value;
use tn_authority::domain::Clock;
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};

use super::softhsm_carrier::{Carrier, KEY, PIN, Serving};
use crate::support::{Db, Signal, send_signal, write_private};

both!(
    a_refused_pin_is_tried_once_by_a_process,
    a_pin_that_was_reset_is_tried_when_its_file_is_written_again
);

/// Flags of a token (PKCS #11 v3.0 §3.2).
const USER_PIN_FINAL_TRY: &str = "20000";
const USER_PIN_LOCKED: &str = "40000";

/// Beside the key in the token, a key in a file, so that the service starts.
pub(super) fn with_a_file_key(carrier: &Carrier) {
    let now = Clock::system().now();
    let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
    let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
    let wanted = SpcCertificate::new("1234".parse().expect("a code"), validity);
    let issued = ca.issue_spc_certificate(&wanted.expect("a list"));
    let issued = issued.expect("a certificate");
    write_private(&carrier.path("signers/file.key"), &issued.key_pem);
    write_private(&carrier.path("signers/file.pem"), &issued.chain_pem);
}

/// The reasons of the refused files after another scan.
fn reload(carrier: &Carrier, serving: &Serving, admin: &str) -> Vec<String> {
    let (status, shown) = serving.send(admin, "POST", "/v1/signers/reload", "");
    assert_eq!(status, 200, "{shown}");
    assert!(carrier.path("signers").is_dir());
    let items = shown["items"].as_array().expect("items").iter();
    items
        .filter_map(|item: &Value| Some(item["reason"].as_str()?.to_owned()))
        .collect()
}

fn a_refused_pin_is_tried_once_by_a_process(db: Db) {
    let mut carrier = Carrier::over(&db).watched();
    with_a_file_key(&carrier);
    // Three URIs of keys in one token, and a look each second.
    let pin_source = carrier.path("pin").display().to_string();
    for (name, uri) in [
        (
            "one",
            "pkcs11:token=carrier;object=signing;type=private".to_owned(),
        ),
        ("two", format!("{KEY}?pin-source=file:{pin_source}")),
    ] {
        fs::write(carrier.path(&format!("signers/{name}.uri")), uri).expect("a file");
    }
    carrier.env.extend([
        ("TN_AUTHORITY__SIGNER__POLL_INTERVAL", "1".to_owned()),
        ("TN_AUTHORITY__SIGNER__PUBLICATION_DELAY", "0".to_owned()),
    ]);
    let admin = carrier.run(&["api-key", "create", "--role", "admin"]);
    write_private(&carrier.path("pin"), "000000");
    let serving = carrier.serves();
    for _ in 0..4 {
        let reasons = reload(&carrier, &serving, &admin);
        assert_eq!(
            reasons.len(),
            4,
            "three keys, and the chain of them: {reasons:?}"
        );
        let refused = reasons
            .iter()
            .filter(|why| why.contains("the HSM refused the PIN"));
        assert_eq!(refused.count(), 3, "{reasons:?}");
    }
    hang_up(&serving);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(carrier.logins(), 1, "tried again");
    // Written again, it is no other PIN: the token says that it still counts wrong ones.
    write_private(&carrier.path("pin"), "000000\n");
    reload(&carrier, &serving, &admin);
    assert_eq!(carrier.logins(), 1, "the same PIN was tried again");

    write_private(&carrier.path("pin"), PIN);
    assert!(reload(&carrier, &serving, &admin).is_empty());
    assert!(carrier.logins() > 1);
}

fn hang_up(serving: &Serving) {
    send_signal(&serving.service, Signal::HUP);
}

/// The security officer has made the configured PIN the right one, and the operator writes its file
/// again.
fn a_pin_that_was_reset_is_tried_when_its_file_is_written_again(db: Db) {
    let mut carrier = Carrier::over(&db).watched();
    with_a_file_key(&carrier);
    let reset = carrier.path("reset");
    carrier
        .env
        .push(("SHIM_WAS_RESET", reset.display().to_string()));
    let admin = carrier.run(&["api-key", "create", "--role", "admin"]);
    write_private(&carrier.path("pin"), "555555");
    let serving = carrier.serves();
    reload(&carrier, &serving, &admin);
    assert_eq!(carrier.logins(), 1);
    fs::write(reset, "").expect("a file");
    reload(&carrier, &serving, &admin);
    assert_eq!(carrier.logins(), 1, "nothing has changed here");
    write_private(&carrier.path("pin"), "555555\n");
    for _ in 0..3 {
        reload(&carrier, &serving, &admin);
    }
    // This token has not really been reset, so that was one more refusal, and is the last.
    assert_eq!(carrier.logins(), 2);
}

/// Each start under the unit is a try, so the unit must not start it again.
#[test]
fn a_start_that_fails_for_a_pin_is_not_repeated_by_the_unit() {
    let carrier = Carrier::with_a_token(String::new()).in_a_file().watched();
    let request = carrier.request(KEY);
    carrier.is_certified(&request);
    let before = carrier.logins();
    write_private(&carrier.path("pin"), "000000");
    let ended = carrier.output(&["serve"]);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(error.contains("the HSM refused the PIN"), "{error}");
    assert_eq!(ended.status.code(), Some(77), "{error}");
    assert_eq!(carrier.logins() - before, 1);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/tn-authority.service");
    let unit = fs::read_to_string(unit).expect("the unit");
    assert!(
        unit.lines()
            .any(|line| line == "RestartPreventExitStatus=77 78")
    );
    // Another reason is worth another start.
    fs::remove_file(carrier.path("pin")).expect("removed");
    assert_eq!(carrier.output(&["serve"]).status.code(), Some(1));
}

#[test]
fn the_last_try_and_a_locked_pin_are_left_to_a_person() {
    let mut carrier = Carrier::with_a_token(String::new()).in_a_file().watched();
    let request = carrier.request(KEY);
    carrier.is_certified(&request);
    let before = carrier.logins();
    for (flags, reason) in [
        (
            USER_PIN_FINAL_TRY,
            "allows only one more try of the PIN, so it is not tried",
        ),
        (
            USER_PIN_LOCKED,
            "has locked the PIN; its security officer has to reset it",
        ),
    ] {
        carrier.env.retain(|(name, _)| *name != "SHIM_TOKEN_FLAGS");
        carrier.env.push(("SHIM_TOKEN_FLAGS", flags.to_owned()));
        let out = carrier.output(&["check"]).stdout;
        let out = String::from_utf8_lossy(&out);
        assert!(out.contains(reason), "{out}");
        assert_eq!(carrier.output(&["serve"]).status.code(), Some(77));
    }
    assert_eq!(carrier.logins(), before, "tried all the same");
    carrier.env.retain(|(name, _)| *name != "SHIM_TOKEN_FLAGS");
    let patience = Instant::now();
    assert!(
        carrier
            .run(&["check"])
            .contains("ok      signing key and chain")
    );
    assert!(patience.elapsed() < Duration::from_secs(30));
}
