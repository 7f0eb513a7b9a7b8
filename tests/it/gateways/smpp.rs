//! An SMSC that is not ours: the server of the npm package `smpp`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::control::proof::ProofState;
use tn_authority::gateways::{SmppGateway, SmppSettings};

use super::asking::{asks, carrier, code_in, confirms, proof, sends_over, state, until, waiting};
use crate::support::peers::{Peer, peer};
use crate::support::{Kind, write_private};

both!(
    a_code_goes_out_by_smpp_and_its_receipt_arrives,
    a_code_goes_out_by_smpp_with_tls,
    an_smsc_that_is_busy_is_asked_again,
    a_receipt_that_comes_after_a_restart_is_understood,
    receipts_with_ids_in_decimal_are_understood_once_three_have_shown_it,
);

const PASSWORD: &str = "sesame";

/// The SMSC. `script` says what becomes of each message, as in `tests/smsc/serve.mjs`.
pub struct Smsc {
    process: Peer,
    pub port: u16,
    _dir: TempDir,
}

impl Smsc {
    pub fn that(script: &[&str]) -> Self {
        Self::with(json!({ "script": script }))
    }

    /// With TLS, by a certificate for 127.0.0.1.
    fn with_tls(world: &crate::support::World) -> Self {
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let issued = world.ca.issue_tls_certificate(&["127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        Self::with(json!({ "script": ["ok"], "key": issued.key_pem, "cert": issued.chain_pem }))
    }

    fn with(more: Value) -> Self {
        let dir = TempDir::new().expect("a folder");
        let port = more["port"].as_u64().unwrap_or(0);
        let mut settings = json!({ "port": port, "system_id": "tn", "password": PASSWORD });
        for (key, value) in more.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        let file = dir.path().join("smsc.json");
        write_private(&file, &settings.to_string());
        let folder = peer("smsc");
        let mut command = Command::new(folder.join("node"));
        command.arg("serve.mjs").arg(file).current_dir(&folder);
        let mut process = Peer::start(&mut command, &dir.path().join("smsc.log"));
        let port = process.until(|process| events(process, "listening").pop()?["port"].as_u64());
        Self {
            process,
            port: u16::try_from(port).expect("a port"),
            _dir: dir,
        }
    }

    /// The same on a port that is known.
    pub fn on(port: u16, script: &[&str]) -> Self {
        Self::with(json!({ "port": port, "script": script }))
    }

    pub fn settings(&self) -> SmppSettings {
        settings(self.port)
    }

    /// Waits until so many things of a kind have happened.
    pub fn happened(&mut self, event: &str, count: usize) -> Vec<Value> {
        self.process.until(|process| {
            let all = events(process, event);
            (all.len() >= count).then_some(all)
        })
    }

    /// What has happened so far.
    pub fn so_far(&self, event: &str) -> Vec<Value> {
        events(&self.process, event)
    }
}

fn events(process: &Peer, event: &str) -> Vec<Value> {
    let said = process.said();
    let all = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|one| one["event"] == event).collect()
}

pub fn settings(port: u16) -> SmppSettings {
    SmppSettings {
        name: "sms".to_owned(),
        target: format!("127.0.0.1:{port}"),
        system_id: "tn".to_owned(),
        password: PASSWORD.into(),
        system_type: "TN".to_owned(),
        from: Some("+12125550000".to_owned()),
        tls: false,
        ca_file: None,
        timeout: Duration::from_secs(5),
        enquire_interval: Duration::from_secs(30),
        window: 4,
    }
}

pub fn gateway(settings: &SmppSettings) -> Box<SmppGateway> {
    Box::new(SmppGateway::new(settings).expect("a gateway"))
}

fn a_code_goes_out_by_smpp_and_its_receipt_arrives(kind: Kind) {
    let mut smsc = Smsc::that(&["delivered", "early", "undelivered"]);
    let world = carrier(kind);
    let threads = sends_over(&world, gateway(&smsc.settings()));
    let proofs = asks(&world, 3);
    let submitted = smsc.happened("submit", 3);
    for message in &submitted {
        let text = message["text"].as_str().expect("a text");
        assert!(text.ends_with(&format!("+{}.", message["to"].as_str().expect("a number"))));
        assert_eq!(
            (&message["coding"], &message["ton"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(
            (&message["from"], &message["receipt"]),
            (&json!("12125550000"), &json!(1))
        );
    }
    smsc.happened("receipt-answered", 3);
    let of = |step: &str| {
        let message = submitted.iter().find(|message| message["step"] == step);
        let message = message.expect(step);
        let number = format!("+{}", message["to"].as_str().expect("a number"));
        let proof = proofs
            .iter()
            .find(|proof| proof.number.to_string() == number);
        let text = message["text"].as_str().expect("a text");
        (proof.expect("a proof").id, code_in(text))
    };
    for step in ["delivered", "early"] {
        let (id, code) = of(step);
        until("delivered", || proof(&world, id).delivered_at.is_some());
        confirms(&world, id, &code).expect("confirmed");
        assert_eq!(state(&world, id), ProofState::Confirmed);
    }
    let (id, _) = of("undelivered");
    until("undelivered", || state(&world, id) == ProofState::Failed);
    assert_eq!(proof(&world, id).failure.as_deref(), Some("undelivered"));
    // It also asks whether the session lives, and is told when it ends.
    smsc.happened("enquire-answered", 1);
    assert_eq!(smsc.so_far("bind").len(), 1);
    drop(threads);
    smsc.happened("unbind", 1);
}

fn a_code_goes_out_by_smpp_with_tls(kind: Kind) {
    let world = carrier(kind);
    let mut smsc = Smsc::with_tls(&world);
    let settings = |ca_file: Option<PathBuf>| SmppSettings {
        tls: true,
        ca_file,
        ..smsc.settings()
    };
    let trusting = settings(Some(world.dir.path().join("root.pem")));
    let distrusting = settings(None);
    // A CA that the gateway does not know: nothing is said to the server, least of all the password.
    let threads = sends_over(&world, gateway(&distrusting));
    let id = asks(&world, 1)[0].id;
    let failed = "tn_authority_control_gateway_errors_total{gateway=\"sms-gateway\",kind=\"tls\"}";
    until("no session", || {
        world.metrics.render().expect("text").contains(failed)
    });
    assert_eq!((smsc.so_far("bind").len(), waiting(&world)), (0, 1));
    drop(threads);
    let _threads = sends_over(&world, gateway(&trusting));
    smsc.happened("submit", 1);
    until("sent", || proof(&world, id).sent_at.is_some());
    assert_eq!(smsc.so_far("bind")[0]["known"], json!(true));
}

fn an_smsc_that_is_busy_is_asked_again(kind: Kind) {
    let mut smsc = Smsc::that(&["throttled", "full", "ok"]);
    let world = carrier(kind);
    let _threads = sends_over(&world, gateway(&smsc.settings()));
    let id = asks(&world, 1)[0].id;
    for (attempts, wait) in [(1, 2), (2, 4)] {
        smsc.happened("submit", attempts);
        until("throttled", || {
            let message = world.authority.store().read(|tx| tx.control_message(id));
            let message = message.expect("the store").expect("a code");
            message.due_at == world.in_seconds(wait)
        });
        assert_eq!(proof(&world, id).failure.as_deref(), Some("throttled"));
        world.seconds_pass(wait);
    }
    smsc.happened("submit", 3);
    until("sent", || proof(&world, id).sent_at.is_some());
    assert_eq!(proof(&world, id).failure, None);
    // In one session all the time.
    assert_eq!(smsc.so_far("bind").len(), 1);
}

fn a_receipt_that_comes_after_a_restart_is_understood(kind: Kind) {
    let mut smsc = Smsc::that(&["later"]);
    let world = carrier(kind);
    let threads = sends_over(&world, gateway(&smsc.settings()));
    let id = asks(&world, 1)[0].id;
    until("sent", || proof(&world, id).sent_at.is_some());
    drop(threads);
    let _threads = sends_over(&world, gateway(&smsc.settings()));
    smsc.happened("bind", 2);
    until("delivered", || proof(&world, id).delivered_at.is_some());
}

/// Many SMSCs write an id in hexadecimal in the answer, and in decimal in the receipt. Until it is clear that this one
/// does, nothing is recorded: such an id can be that of another message.
fn receipts_with_ids_in_decimal_are_understood_once_three_have_shown_it(kind: Kind) {
    let script = ["undelivered", "early", "delivered"];
    let mut smsc = Smsc::with(json!({ "script": script, "decimal_receipts": true }));
    let world = carrier(kind);
    let _threads = sends_over(&world, gateway(&smsc.settings()));
    let proofs = asks(&world, 3);
    let submitted = smsc.happened("submit", 3);
    let failed = submitted
        .iter()
        .find(|message| message["step"] == "undelivered");
    let failed = format!(
        "+{}",
        failed.expect("a message")["to"].as_str().expect("a number")
    );
    for one in proofs {
        if one.number.to_string() == failed {
            until("undelivered", || {
                state(&world, one.id) == ProofState::Failed
            });
        } else {
            until("delivered", || proof(&world, one.id).delivered_at.is_some());
        }
    }
}
