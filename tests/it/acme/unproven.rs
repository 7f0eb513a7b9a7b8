//! `redeem` at an authority that wants control of the numbers to be proven.

use super::carrier::Carrier;
use super::command::{Enterprise, ends};
use super::little_ca::Faults;
use crate::control_sip::whole::policies;
use crate::support::Db;

both!(without_proof_of_control_it_ends_with_3_and_says_what_is_missing);

fn without_proof_of_control_it_ends_with_3_and_says_what_is_missing(db: Db) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("TN_AUTHORITY__POLICY__DIR", policies(folder.path()))];
    let enterprise = Enterprise::at(Carrier::with(db, &settings), Faults::default());
    for numbers in ["+12125551001", "1.212.555.10XX"] {
        let said = ends(&mut enterprise.redeem(&["--numbers", numbers]), 3);
        for part in [
            "control-not-proven",
            "+12125551001",
            "no proof of control counts for it",
            "/v1/accounts/acme/control-proofs",
            "tn-authority control-agent",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert!(!enterprise.file("cert.pem").exists());
    assert!(enterprise.ca.tokens().is_empty());
}
