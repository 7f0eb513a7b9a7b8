//! No code and no nonce is in the database, an answer, the audit trail, a metric or the log, except encrypted.

use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tn_authority::authority::ControlSettings;
use tn_authority::domain::Role;
use tn_authority::domain::control::channel::Channel;

use crate::support::agent::Agent;
use crate::support::control::{control_settings, wrong};
use crate::support::fixtures::items;
use crate::support::service::Api;
use crate::support::{Kind, Raw, Setup, World, keep_log, kept_since, kept_so_far};

both!(
    no_code_is_seen_anywhere,
    what_is_kept_of_a_repeated_request_cannot_be_searched_for_its_code,
);

fn no_code_is_seen_anywhere(kind: Kind) {
    keep_log();
    let log_starts = kept_so_far();
    // Eight digits, so that no other number is one of them by chance.
    let control = ControlSettings {
        digits: 8,
        ..control_settings()
    };
    let api = Api::over(World::new(
        kind,
        Setup {
            control,
            ..Setup::default()
        },
    ));
    let agent = Agent::new();
    let mut seen: Vec<String> = Vec::new();
    let body = json!({ "numbers": ["+12125551001", "+12125551002"], "method": "sms" });
    let started = api.post(&api.acme, "/v1/accounts/acme/control-proofs", &body);
    seen.push(started.text());
    let mut codes = Vec::new();
    for one in items(&started.with(201)["items"]) {
        let proof = api
            .world
            .proof_of(one["id"].as_str().expect("an id").parse().expect("a UUID"));
        let code = api.world.code_of(&proof);
        let confirm = format!("/v1/control-proofs/{}/confirm", proof.id);
        seen.push(database(&api));
        for code in [wrong(&code), code.clone()] {
            seen.push(
                api.post(&api.acme, &confirm, &json!({ "code": code }))
                    .text(),
            );
        }
        codes.push(code);
    }
    let caller = api.world.caller(Role::Account, &["acme"]);
    let channel = Channel::Sip(agent.fingerprint());
    let proof = api
        .world
        .asks_as(&caller, "acme", &["+12125551003"], channel)
        .expect("a proof")
        .remove(0);
    let nonce = api.world.code_of(&proof);
    seen.push(database(&api));
    let confirm = format!("/v1/control-proofs/{}/confirm", proof.id);
    let url = format!("https://authority.example{confirm}");
    for nonce in [&wrong(&nonce), &nonce] {
        seen.push(api.post("", &confirm, &agent.answers(&url, nonce)).text());
    }
    codes.push(nonce);
    seen.push(
        api.get(&api.acme, "/v1/accounts/acme/control-proofs")
            .text(),
    );
    seen.push(api.get(&api.auditor, "/v1/audit-events").text());
    seen.push(api.operations().get("/metrics").text());
    seen.push(database(&api));
    seen.push(kept_since(log_starts));
    for code in &codes {
        for text in &seen {
            for code in [code.clone(), hex::encode(code)] {
                let at = text.find(&code);
                let around = at.map(|at| &text.as_bytes()[at.saturating_sub(200)..at]);
                assert_eq!(around.map(String::from_utf8_lossy), None, "{code}");
            }
        }
    }
}

/// There are only a million codes: a plain digest of the request would be as good as the code.
fn what_is_kept_of_a_repeated_request_cannot_be_searched_for_its_code(kind: Kind) {
    let api = Api::from(kind);
    let proof = api.world.asks_one("acme", "+12125551001");
    let confirm = format!("/v1/control-proofs/{}/confirm", proof.id);
    let wrong = json!({ "code": wrong(&api.world.code_of(&proof)) });
    let first = api.once("again", &api.acme, &confirm, &wrong);
    let body = hex::encode(Sha256::digest(wrong.to_string()));
    let mut digest = Sha256::new();
    for part in ["POST", &confirm, &body] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let plain = hex::encode(digest.finalize());
    let stored = database(&api);
    assert!(!stored.contains(&plain) && !stored.contains(&body));
    // It is the same request, all the same.
    api.once("again", &api.acme, &confirm, &wrong)
        .repeats(&first);
    let other = json!({ "code": "000000" });
    api.once("again", &api.acme, &confirm, &other)
        .problem(422, "idempotency-key-reused");
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// All that is stored: every row of the tables that have something to do with a proof, bytes in hex; or the whole file.
fn database(api: &Api) -> String {
    let db = &api.world.db;
    match db.connect() {
        Raw::Sqlite(_) => {
            let path = db.sqlite_path();
            let beside = path.with_extension("db-wal");
            let bytes = [path, beside].map(|path| std::fs::read(path).expect("a file"));
            assert!(
                bytes[1]
                    .windows(13)
                    .any(|part| part == b"control_proof" || part == b"start-control")
            );
            String::from_utf8_lossy(&bytes.concat()).into_owned()
        }
        Raw::Postgres(mut connection) => {
            let tables = [
                "control_proofs",
                "control_messages",
                "control_receipts",
                "control_early_receipts",
                "audit_events",
                "idempotency_keys",
            ];
            let lines = tables.map(|table| {
                let rows = sql_query(format!("SELECT t::text AS line FROM {table} t"));
                rows.load::<Line>(&mut connection).expect("rows")
            });
            assert!(!lines[0].is_empty());
            lines
                .into_iter()
                .flatten()
                .map(|row| row.line + "\n")
                .collect()
        }
    }
}
