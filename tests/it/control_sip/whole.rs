//! From the start of a proof to a token, without a person: the service, Kamailio, and the agent.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tn_authority::acme::{AccountKey, AcmeError, TokenWanted};
use tn_authority::domain::Fingerprint;
use tn_authority::signer::FileKey;

use super::carrier::{Proxy, SilentPhone, free_udp_port};
use crate::acme::carrier::{Carrier, EXECUTABLE, PATIENCE, list};
use crate::support::Kind;
use crate::support::peers::Peer;

both!(an_agent_proves_a_number_for_its_own_key_alone);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const ANSWERED: &str = "+12125551001";
const SILENT: &str = "+12125551002";

/// The built-in policies, and the example that asks for control.
pub fn policies(dir: &Path) -> String {
    let folder = dir.join("policies");
    std::fs::create_dir(&folder).expect("a folder");
    for name in ["mint", "inventory", "claim-constraints", "examples/control"] {
        let from = format!("{ROOT}/policies/{name}.cedar");
        let file = name.rsplit('/').next().expect("a name");
        std::fs::copy(from, folder.join(format!("{file}.cedar"))).expect("a copy");
    }
    folder.display().to_string()
}

fn new_key(dir: &Path, name: &str) -> Fingerprint {
    let file = dir.join(name);
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ])
        .arg(&file)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    let key = FileKey::from_pem(&std::fs::read(&file).expect("a file")).expect("a key");
    AccountKey::new(key).expect("an account key").fingerprint()
}

/// Starts a proof by SIP, and waits until it is as it should be.
fn proof(carrier: &Carrier, number: &str, key: Fingerprint, is_so: impl Fn(&Value) -> bool) {
    let body = json!({ "numbers": [number], "method": "sip", "fingerprint": key.to_string() });
    let path = "/v1/accounts/acme/control-proofs";
    let started = carrier.call(&carrier.api_key, path, Some(&body));
    let id = started["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let began = Instant::now();
    loop {
        let proof = carrier.call(&carrier.api_key, &format!("/v1/control-proofs/{id}"), None);
        if is_so(&proof) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{proof}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn an_agent_proves_a_number_for_its_own_key_alone(kind: Kind) {
    let dir = tempfile::tempdir().expect("a folder");
    let (own, thief) = (
        new_key(dir.path(), "own.pem"),
        new_key(dir.path(), "thief.pem"),
    );
    let mut phone = SilentPhone::start(dir.path());
    let port = free_udp_port();
    let agent_at = ([127, 0, 0, 1], port).into();
    let proxy = Proxy::start(dir.path(), &[(ANSWERED, agent_at), (SILENT, phone.address)]);
    let gateway = |key: &str| format!("TN_AUTHORITY__CONTROL__GATEWAYS__PROXY__{key}");
    let settings = [
        (gateway("KIND"), "sip".to_owned()),
        (gateway("METHODS"), "sip".to_owned()),
        (gateway("TARGET"), format!("udp:{}", proxy.address)),
        (gateway("FROM"), "sip:control@carrier.example".to_owned()),
        ("TN_AUTHORITY__POLICY__DIR".to_owned(), policies(dir.path())),
    ];
    let settings: Vec<(&str, String)> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let carrier = Carrier::with(kind.into(), &settings);
    let mut command = Command::new(EXECUTABLE);
    command
        .args([
            "control-agent",
            "--listen",
            &format!("udp:127.0.0.1:{port}"),
            "--account-key",
        ])
        .arg(dir.path().join("own.pem"))
        .args([
            "--authority",
            &format!("https://{}", carrier.address),
            "--ca-file",
        ])
        .arg(carrier.file("root.pem"))
        .args(["--proxy", "127.0.0.1", "--numbers", ANSWERED]);
    let mut agent = Peer::start(&mut command, &dir.path().join("agent.log"));
    agent.until(|agent| agent.said().contains("listening on").then_some(()));

    let wanted = list(&["one:12125551001"]);
    let token = |fingerprint| {
        let wanted = TokenWanted {
            list: &wanted,
            ca: false,
            fingerprint,
        };
        carrier.token(&wanted, None)
    };
    let refused = |answer: Result<String, AcmeError>| match answer {
        Err(AcmeError::Withheld(problem)) => assert_eq!(problem.code, "control-not-proven"),
        other => panic!("{:?}", other.map(drop)),
    };
    refused(token(own));
    // A thief with the API key starts a proof for the own key, which the agent answers, whoever asked.
    proof(&carrier, ANSWERED, own, |proof| {
        proof["state"] == "confirmed"
    });
    refused(token(thief));
    token(own).expect("a token");
    // The agent's answer to a proof for the thief's key is refused: another key signed it.
    proof(&carrier, ANSWERED, thief, |proof| {
        let is_refused = agent.said().contains("the authority refused the answer");
        is_refused && proof["state"] == "pending"
    });
    refused(token(thief));
    // A phone that does not answer is no proof.
    proof(&carrier, SILENT, own, |proof| proof["failure"] == "refused");
    phone.hears(dir.path(), SILENT);
}
