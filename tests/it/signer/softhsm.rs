//! A key in a real module of hardware, which is one of software: `serve` signs with it, over PKCS #11.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::softhsm_carrier::{Carrier, KEY, PIN};
use crate::support::{Db, Signal, fingerprint, send_signal, write_private};

both!(
    a_service_signs_with_a_key_in_softhsm,
    a_token_that_is_gone_comes_back,
    sighup_makes_the_service_look
);

fn a_service_signs_with_a_key_in_softhsm(db: Db) {
    let carrier = Carrier::over(&db);
    let again = carrier.output(&[
        "certificate",
        "request",
        "--spc",
        "1234",
        "--key",
        KEY,
        "--new",
    ]);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && error.contains("exists already"),
        "{error}"
    );
    let check = carrier.run(&["check"]);
    assert!(
        check.contains("ok      signing key and chain: `CN=SHAKEN 1234`"),
        "{check}"
    );
    for (uri, reason) in [
        ("pkcs11:token=other;object=signing", "no token matches"),
        (
            "pkcs11:token=carrier;object=other",
            "has no private key that matches",
        ),
        (
            "pkcs11:token=carrier;object=signing?module-path=/nonexistent.so",
            "cannot be used",
        ),
        (
            "pkcs11:token=carrier;object=signing?pin-source=/nonexistent",
            "cannot read the PIN of the HSM",
        ),
    ] {
        let output = carrier.output(&["certificate", "request", "--spc", "1234", "--key", uri]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(reason),
            "{uri}: {error}"
        );
    }
    // A wrong PIN is tried once a process, or the token would be locked.
    write_private(&carrier.path("pin"), "000000");
    let output = carrier.output(&["check"]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("the HSM refused the PIN"), "{out}");
    write_private(&carrier.path("pin"), PIN);

    let serving = carrier.serves();
    let tokens: Vec<String> = (0..20)
        .map(|_| {
            let (status, body) = serving.ask(&carrier.api_key);
            assert_eq!(status, 200, "{body}");
            body["token"].as_str().expect("a token").to_owned()
        })
        .collect();
    // Checked by the command line, with what x5u publishes.
    let x5u = {
        use base64::Engine as _;
        let header = tokens[0].split('.').next().expect("a header");
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header);
        let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
        header["x5u"].as_str().expect("x5u").to_owned()
    };
    let pinned = format!("{x5u}={}", carrier.path("signers/1234.pem").display());
    let account = fingerprint().to_string();
    for token in &tokens {
        let verified = carrier.run(&[
            "verify",
            "--x5u-file",
            &pinned,
            "--fingerprint",
            &account,
            token,
        ]);
        assert!(verified.ends_with("accepted"), "{verified}");
    }
}

fn a_token_that_is_gone_comes_back(db: Db) {
    let carrier = Carrier::over(&db);
    let serving = carrier.serves();
    assert_eq!(serving.ask(&carrier.api_key).0, 200);
    let (tokens, away) = (carrier.path("tokens"), carrier.path("away"));
    fs::rename(&tokens, &away).expect("unplugged");
    fs::create_dir(&tokens).expect("an empty slot");
    let refused = serving.until(&carrier.api_key, 503);
    assert_eq!(refused["code"], "unavailable");
    assert!(refused["detail"].is_null() && refused["token"].is_null());

    // Another token of the same name with another key is not the same.
    carrier.initialise_token();
    carrier.request(KEY);
    let patience = Instant::now() + Duration::from_secs(3);
    while Instant::now() < patience {
        assert_eq!(
            serving.ask(&carrier.api_key).0,
            503,
            "a signature of another key was released"
        );
        thread::sleep(Duration::from_millis(200));
    }
    fs::remove_dir_all(&tokens).expect("gone");
    fs::rename(&away, &tokens).expect("plugged in again");
    let answer = serving.until(&carrier.api_key, 200);
    assert!(answer["token"].is_string());
}

/// A thread may still be in the module when the command has said all.
#[test]
fn a_command_ends_in_order_whatever_the_module_is_doing() {
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let carrier = Carrier::with_a_token("sqlite::memory:".to_owned());
                for number in 0..5 {
                    carrier.request(&format!("pkcs11:token=carrier;object=key-{number}"));
                }
            });
        }
    });
}

fn sighup_makes_the_service_look(db: Db) {
    let carrier = Carrier::over(&db);
    let auditor = carrier.run(&["api-key", "create", "--role", "auditor"]);
    let serving = carrier.serves();
    let states = || -> Vec<String> {
        let (status, shown) = serving.send(&auditor, "GET", "/v1/signers", "");
        assert_eq!(status, 200, "{shown}");
        let items = shown["items"].as_array().expect("items").iter();
        items
            .map(|one| one["state"].as_str().expect("a state").to_owned())
            .collect()
    };
    assert_eq!(states(), ["active"]);
    fs::write(carrier.path("signers/bad.pem"), "hello").expect("a file");
    send_signal(&serving.service, Signal::HUP);
    // Long before two looks of its own, which a new file would take.
    let patience = Instant::now() + Duration::from_secs(8);
    while states() != ["active", "refused"] {
        assert!(Instant::now() < patience, "it did not look");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(serving.ask(&carrier.api_key).0, 200, "it goes on");
}
