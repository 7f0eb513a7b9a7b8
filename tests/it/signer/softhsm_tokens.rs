//! Which of several tokens a URI means: no PIN goes to a token that may be another one.

use std::fs;

use tn_authority::signer::FileKey;

use super::softhsm_carrier::{Carrier, KEY, PIN};
use crate::support::write_private;

/// A carrier with the token `other` before its own.
fn with_two_tokens(second: &str) -> Carrier {
    let carrier = Carrier::without_a_token().in_a_file().watched();
    carrier.initialise_token_of("other", "999999");
    carrier.initialise_token_of(second, PIN);
    carrier
}

fn error_of(carrier: &Carrier, uri: &str, more: &[&str]) -> String {
    let args = ["certificate", "request", "--spc", "1234", "--key", uri];
    let ran = carrier.output(&[&args, more].concat());
    assert!(!ran.status.success());
    String::from_utf8(ran.stderr).expect("text")
}

#[test]
fn the_pin_goes_to_the_token_that_shows_the_key() {
    let carrier = with_two_tokens("carrier");
    carrier.request(KEY);
    let before = carrier.logins();
    let request = carrier.run(&[
        "certificate",
        "request",
        "--spc",
        "1234",
        "--key",
        "pkcs11:object=signing",
    ]);
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    assert_eq!(carrier.logins() - before, 1, "and to no other one");
}

#[test]
fn a_uri_that_fits_two_tokens_logs_in_nowhere() {
    let carrier = with_two_tokens("carrier");
    let before = carrier.logins();
    for more in [&[][..], &["--new"]] {
        let error = error_of(&carrier, "pkcs11:object=signing", more);
        assert!(
            error.contains("`pkcs11:object=signing` fits 2 tokens: `"),
            "{error}"
        );
        for part in [
            "`other` (serial `",
            "`carrier` (serial `",
            "add `token=` or `serial=`",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    assert_eq!(carrier.logins(), before, "logged in somewhere");
}

/// As in a pair for high availability: tokens of one label.
#[test]
fn a_key_is_found_in_whichever_token_of_a_label_has_it() {
    let carrier = Carrier::without_a_token().in_a_file().watched();
    carrier.initialise_token_of("carrier", PIN);
    carrier.initialise_token_of("carrier", PIN);
    let serials = carrier.serials();
    assert_eq!(serials.len(), 2);
    for serial in &serials {
        carrier.request(&format!(
            "pkcs11:token=carrier;serial={serial};object=of-{serial}"
        ));
    }
    for serial in &serials {
        let before = carrier.logins();
        let uri = format!("pkcs11:token=carrier;object=of-{serial}");
        carrier.run(&["certificate", "request", "--spc", "1234", "--key", &uri]);
        assert_eq!(carrier.logins() - before, 1);
    }
    let error = error_of(&carrier, "pkcs11:token=carrier", &[]);
    assert!(error.contains("fits 2 tokens"), "different keys: {error}");
}

#[test]
fn replicas_of_a_key_are_equally_good() {
    let carrier = with_two_tokens("carrier");
    let (_, pem) = FileKey::generate().expect("a key");
    carrier.imports(("other", "999999"), &pem, &[]);
    carrier.imports(("carrier", PIN), &pem, &[]);
    write_private(&carrier.path("pin"), "999999");
    let uri = "pkcs11:object=signing";
    let first = carrier.output(&["certificate", "request", "--spc", "1234", "--key", uri]);
    write_private(&carrier.path("pin"), PIN);
    let second = carrier.output(&["certificate", "request", "--spc", "1234", "--key", uri]);
    let worked = [first, second]
        .iter()
        .filter(|ran| ran.status.success())
        .count();
    assert_eq!(
        worked, 1,
        "the first slot is used, whichever token is in it"
    );
    fs::remove_file(carrier.path("import.pem")).expect("removed");
}
