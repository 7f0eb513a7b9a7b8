//! Keys in tokens as they are found in the field: without a public key, with a login for each
//! signature, under the URI that a tool printed.

use std::fs;

use tn_authority::signer::FileKey;

use super::softhsm_carrier::{Carrier, KEY, PIN};
use crate::support::{Db, write_private};

both!(a_key_without_a_public_key_signs_with_its_chain);

/// Imported by a ceremony: the token has the private key alone.
fn a_key_without_a_public_key_signs_with_its_chain(db: Db) {
    let carrier = Carrier::over_with(&db, |carrier| {
        let (_, pem) = FileKey::generate().expect("a key");
        write_private(&carrier.path("ceremony.key"), &pem);
        let file = carrier.path("ceremony.key").display().to_string();
        let request = carrier.run(&["certificate", "request", "--spc", "1234", "--key", &file]);
        fs::remove_file(file).expect("removed");
        carrier.imports(("carrier", PIN), &pem, &["--no-public-key"]);
        request
    });
    let check = carrier.run(&["check"]);
    assert!(
        check.contains("ok      signing key and chain: `CN=SHAKEN 1234`"),
        "{check}"
    );
    let serving = carrier.serves();
    let (status, body) = serving.ask(&carrier.api_key);
    assert_eq!(status, 200, "{body}");
    // Without the chain nothing says what the public key is.
    let alone = carrier.output(&["certificate", "request", "--spc", "1234", "--key", KEY]);
    let error = String::from_utf8_lossy(&alone.stderr);
    assert!(
        error.contains("has neither a public key nor a certificate for it"),
        "{error}"
    );
}

#[test]
fn a_key_that_wants_a_login_for_each_signature_is_refused_with_that_reason() {
    let mut carrier = Carrier::with_a_token(String::new()).in_a_file().watched();
    carrier
        .env
        .push(("SHIM_ALWAYS_AUTHENTICATE", "1".to_owned()));
    let made = carrier.output(&[
        "certificate",
        "request",
        "--spc",
        "1234",
        "--key",
        KEY,
        "--new",
    ]);
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(
        error.contains("wants a login for each signature (`CKA_ALWAYS_AUTHENTICATE`)"),
        "{error}"
    );
    fs::write(carrier.path("signers/hsm.uri"), KEY).expect("a file");
    let check = carrier.output(&["check"]);
    let out = String::from_utf8_lossy(&check.stdout);
    assert!(out.contains("CKA_ALWAYS_AUTHENTICATE"), "{out}");
    assert_eq!(check.status.code(), Some(1));
}

#[test]
fn a_uri_is_taken_as_a_tool_prints_it() {
    let carrier = Carrier::with_a_token(String::new()).in_a_file();
    let request = carrier.request("pkcs11:token=carrier;object=signing;id=%01");
    carrier.is_certified(&request);
    let serial = &carrier.serials()[0];
    let printed = format!(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial={serial};token=carrier;id=%01;\
         object=signing;type=private"
    );
    let library = "library-description=Implementation%20of%20PKCS11;library-manufacturer=SoftHSM";
    let slot = "slot-manufacturer=SoftHSM%20project";
    for (line, works) in [
        (
            format!(
                "Object 0:\n\tURL: {printed}\n\tType: Private key (EC/ECDSA)\n\tLabel: signing\n"
            ),
            true,
        ),
        (format!("{printed};{library};{slot}"), true),
        (format!("{printed};library-description=Another"), false),
        (format!("{printed};slot-description=Another"), false),
        (format!("{printed};library-version=250.1"), false),
        (format!("{printed}\n{printed}"), false),
    ] {
        fs::write(carrier.path("signers/1234.uri"), &line).expect("a file");
        let check = carrier.output(&["check"]);
        let out = String::from_utf8_lossy(&check.stdout);
        assert_eq!(check.status.success(), works, "{line}: {out}");
    }
}
