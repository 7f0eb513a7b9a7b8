//! A module that hangs, as one does whose HSM is behind a network that drops packets.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::softhsm_carrier::{Carrier, KEY};
use super::softhsm_pin::with_a_file_key;
use crate::support::{Db, Kind};

/// On a machine that does much else.
const MOST: Duration = Duration::from_secs(60);
const CALLS: [&str; 4] = ["load", "initialize", "login", "sign"];

/// A carrier whose module hangs in this call.
fn hanging_in(carrier: Carrier, call: &str) -> Carrier {
    let mut carrier = carrier;
    carrier.env.extend([
        ("SHIM_HANGS_IN", call.to_owned()),
        ("TN_AUTHORITY__SIGNER__PKCS11__OPEN_TIMEOUT", "1".to_owned()),
        ("TN_AUTHORITY__SERVER__LISTEN", "127.0.0.1:0".to_owned()),
    ]);
    carrier
}

/// The exit code of a command and all that it says; a panic if it hangs too.
fn ends(carrier: Carrier, args: &'static [&'static str]) -> (Option<i32>, String, Carrier) {
    let (sender, ended) = channel();
    thread::spawn(move || {
        let ran = carrier.output(args);
        let _ = sender.send((ran, carrier));
    });
    let (ran, carrier) = ended.recv_timeout(MOST).expect("the command hangs");
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (ran.status.code(), said, carrier)
}

#[test]
fn a_module_that_hangs_keeps_no_command_waiting() {
    let db = Db::from(Kind::Sqlite);
    let mut carrier = Carrier::over(&db).watched();
    for call in CALLS {
        carrier = hanging_in(carrier, call);
        for args in [
            &["check"][..],
            &["serve"],
            &["certificate", "request", "--spc", "1234", "--key", KEY],
        ] {
            let (code, said, back) = ends(carrier, args);
            carrier = back;
            assert_eq!(code, Some(1), "{call} {args:?}: {said}");
            assert!(
                said.contains("has not answered for 1 seconds")
                    && said.contains("`signer.pkcs11.open_timeout`"),
                "{call} {args:?}: {said}"
            );
        }
    }
}

#[test]
fn a_service_with_another_key_serves_beside_a_module_that_hangs() {
    let db = Db::from(Kind::Sqlite);
    let carrier = Carrier::over(&db).watched();
    with_a_file_key(&carrier);
    let mut carrier = hanging_in(carrier, "login");
    carrier.env.extend([
        ("TN_AUTHORITY__SIGNER__POLL_INTERVAL", "1".to_owned()),
        ("TN_AUTHORITY__SIGNER__PUBLICATION_DELAY", "0".to_owned()),
    ]);
    let admin = carrier.run(&["api-key", "create", "--role", "admin"]);
    let serving = carrier.serves();
    for _ in 0..3 {
        let (status, shown) = serving.send(&admin, "POST", "/v1/signers/reload", "");
        assert_eq!(status, 200, "{shown}");
        let shown = shown.to_string();
        assert!(shown.contains("has not answered"), "{shown}");
    }
    assert_eq!(serving.ask(&carrier.api_key).0, 200);
}
