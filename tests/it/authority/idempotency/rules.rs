//! What is kept, and what can be tried again with the same key.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};
use tn_authority::signer::{FileKey, SignerError, Signing, SigningKey};

use super::{count, written};
use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World, clock_starts};

both!(
    what_was_decided_is_kept,
    what_is_malformed_can_be_mended,
    access_that_is_given_later_counts,
    a_failure_can_be_tried_again,
    a_signature_that_failed_is_made_for_the_same_grant,
    a_bulk_goes_on_where_it_failed,
);

const PATH: &str = "/at/account/acme/token";

fn what_was_decided_is_kept(api: Api) {
    let number = asking(&["one:12125551950"]);
    let refused = api.once("a", &api.acme, PATH, &number);
    refused.problem(403, "not-authorized");
    let overlap = json!({ "start": "+12125551000", "count": 1 });
    let taken = api.once("b", &api.admin, "/v1/accounts/other/delegations", &overlap);
    taken.problem(409, "overlap");
    let row = "/v1/delegations/0190b0a0-0000-7000-8000-000000000000/end";
    let missing = api.once("c", &api.admin, row, &json!({}));
    missing.problem(404, "not-found");
    let nobody = "/v1/accounts/nobody/suspend";
    let unknown = api.once("d", &api.admin, nobody, &json!({}));
    unknown.problem(404, "unknown-account");

    // The world goes on; who wants to ask anew takes a new key.
    let lent = json!({ "start": "+12125551950", "count": 10 });
    api.post(&api.admin, "/v1/accounts/acme/delegations", &lent)
        .with(201);
    api.world.knows("nobody");
    let before = written(&api.world.db);
    api.once("a", &api.acme, PATH, &number).repeats(&refused);
    api.once("b", &api.admin, "/v1/accounts/other/delegations", &overlap)
        .repeats(&taken);
    api.once("c", &api.admin, row, &json!({})).repeats(&missing);
    api.once("d", &api.admin, nobody, &json!({}))
        .repeats(&unknown);
    assert_eq!(written(&api.world.db), before);
    api.once("e", &api.acme, PATH, &number).with(200);
    api.once("f", &api.admin, nobody, &json!({})).with(200);
}

fn what_is_malformed_can_be_mended(api: Api) {
    let mended = asking(&["one:12125551001"]);
    let mut malformed = mended.clone();
    malformed["tkvalue"] = json!("!");
    for _ in 0..2 {
        api.once("a", &api.acme, PATH, &malformed)
            .problem(400, "malformed-tkvalue");
    }
    let typed = format!(
        "authorization: Bearer {}\r\nidempotency-key: a\r\ncontent-type: text/plain\r\n",
        api.acme
    );
    api.send("POST", PATH, &typed, mended.to_string().as_bytes())
        .problem(415, "unsupported-media-type");
    let long = json!({ "tkvalue": "x".repeat(crate::support::service::LIMIT) });
    api.once("a", &api.acme, PATH, &long)
        .problem(413, "body-too-large");
    api.once("a", &api.acme, PATH, &mended).with(200);

    // Also where it takes a look into what is kept to see it.
    let over =
        json!({ "start": "+12125551950", "count": 1, "valid_until": "2025-01-01T00:00:00Z" });
    let mended = json!({ "start": "+12125551950", "count": 1 });
    let delegate = |body: &Value| api.once("b", &api.admin, "/v1/accounts/other/delegations", body);
    delegate(&over).problem(400, "window");
    let made = delegate(&mended);
    made.with(201);
    delegate(&mended).repeats(&made);
}

fn access_that_is_given_later_counts(api: Api) {
    let body = asking(&["one:12125551001"]);
    api.post(&api.admin, "/v1/accounts/acme/suspend", &json!({}))
        .with(200);
    api.once("a", &api.acme, PATH, &body)
        .problem(403, "forbidden");
    api.once("a", &api.acme, PATH, &body)
        .problem(403, "forbidden");
    api.post(&api.admin, "/v1/accounts/acme/resume", &json!({}))
        .with(200);
    // Nothing was decided, so the key is free, also for what somebody meant to ask.
    let wrong = "/at/account/acne/token";
    api.once("b", &api.acme, wrong, &body)
        .problem(403, "forbidden");
    api.once("b", &api.acme, PATH, &body).with(200);
    let given = api.once("a", &api.acme, PATH, &body);
    given.with(200);
    // What was given stays given.
    api.post(&api.admin, "/v1/accounts/acme/suspend", &json!({}))
        .with(200);
    api.once("a", &api.acme, PATH, &body).repeats(&given);
}

fn a_failure_can_be_tried_again(api: Api) {
    let body = asking(&["one:12125551001"]);
    let number = json!({ "start": "+12125551950", "count": 1, "reason": "reserved" });
    api.world.db.execute(
        "ALTER TABLE audit_events RENAME TO gone; ALTER TABLE grants RENAME TO gone_grants",
    );
    api.once("a", &api.acme, PATH, &body)
        .problem(503, "unavailable");
    api.once("b", &api.admin, "/v1/exclusions", &number)
        .problem(503, "unavailable");
    api.world.db.execute(
        "ALTER TABLE gone RENAME TO audit_events; ALTER TABLE gone_grants RENAME TO grants",
    );
    assert_eq!(count(&api.world.db, "idempotency_keys"), 0);
    let minted = api.once("a", &api.acme, PATH, &body);
    minted.with(200);
    let made = api.once("b", &api.admin, "/v1/exclusions", &number);
    made.with(201);

    // Without the keys there is neither change nor token.
    let before = written(&api.world.db);
    api.world
        .db
        .execute("ALTER TABLE idempotency_keys RENAME TO gone");
    api.once("c", &api.acme, PATH, &body)
        .problem(503, "unavailable");
    api.once("d", &api.admin, "/v1/exclusions", &number)
        .problem(503, "unavailable");
    assert_eq!(written(&api.world.db), before);
    // And who has no key does not miss them.
    api.ask(&body).with(200);
    api.world
        .db
        .execute("ALTER TABLE gone RENAME TO idempotency_keys");
    api.once("a", &api.acme, PATH, &body).repeats(&minted);
    api.once("b", &api.admin, "/v1/exclusions", &number)
        .repeats(&made);
}

/// A key that does not sign for a while.
struct Failing {
    key: FileKey,
    failures: Arc<AtomicU32>,
}

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing(..)")
    }
}

impl SigningKey for Failing {
    fn sign(&self, message: &[u8]) -> Signing {
        let one_less = |left: u32| left.checked_sub(1);
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        match fails {
            Ok(_) => Signing::Done(Err(SignerError::KeyGone)),
            Err(_) => self.key.sign(message),
        }
    }

    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn kind(&self) -> &'static str {
        "failing"
    }
}

/// A carrier whose key fails as often as is said.
fn with_a_failing_key(kind: Kind) -> (Api, Arc<AtomicU32>, TempDir) {
    let (folder, start) = (TempDir::new().expect("a folder"), clock_starts());
    let in_force = start - TimeDelta::days(1)..=start + TimeDelta::days(7);
    let ca = DevelopmentCa::new("Development CA", in_force.clone()).expect("a CA");
    let wanted = SpcCertificate::new("1234".parse().expect("a code"), in_force);
    let issued = ca
        .issue_spc_certificate(&wanted.expect("a certificate"))
        .expect("a certificate");
    std::fs::write(folder.path().join("chain.pem"), &issued.chain_pem).expect("a file");
    let failures = Arc::new(AtomicU32::new(0));
    let key = Failing {
        key: FileKey::from_pem(issued.key_pem.as_bytes()).expect("a key"),
        failures: Arc::clone(&failures),
    };
    let setup = Setup {
        signers: Some(folder.path().to_owned()),
        keys: vec![Arc::new(key)],
        ..Setup::default()
    };
    (Api::over(World::new(kind, setup)), failures, folder)
}

fn a_signature_that_failed_is_made_for_the_same_grant(kind: Kind) {
    let (api, failures, _folder) = with_a_failing_key(kind);
    failures.store(2, Ordering::SeqCst);
    let body = asking(&["one:12125551001"]);
    for _ in 0..2 {
        let failed = api.once("a", &api.acme, PATH, &body);
        failed.problem(503, "unavailable");
        assert_eq!(failed.header("retry-after"), Some("1"));
        api.world.seconds_pass(5);
    }
    let recorded = api.world.grants();
    let other = asking(&["one:12125551009"]);
    api.once("a", &api.acme, PATH, &other)
        .problem(422, "idempotency-key-reused");
    let issued = api.once("a", &api.acme, PATH, &body);
    assert_eq!(api.world.grants(), recorded, "one grant, as it was");
    let (token, grant) = (issued.with(200), &recorded[0]);
    assert_eq!(member(&token, "jti"), grant.jti.as_str());
    api.once("a", &api.acme, PATH, &body).repeats(&issued);

    // What was taken back meanwhile is not signed any more.
    failures.store(1, Ordering::SeqCst);
    let body = asking(&["one:12125551002"]);
    api.once("b", &api.acme, PATH, &body)
        .problem(503, "unavailable");
    let jti = api.world.grants()[1].jti.to_string();
    let path = format!("/v1/grants/{jti}/withdraw");
    api.post(&api.admin, &path, &json!({ "reason": "an error" }))
        .with(200);
    let ended = api.once("b", &api.acme, PATH, &body);
    ended.problem(409, "grant-ended");
    api.once("b", &api.acme, PATH, &body).repeats(&ended);
    assert_eq!(api.world.grants().len(), 2);
}

fn a_bulk_goes_on_where_it_failed(kind: Kind) {
    let (api, failures, _folder) = with_a_failing_key(kind);
    let of = |entry: &str| {
        let mut one = asking(&[entry]);
        one["account"] = json!("acme");
        one
    };
    let numbers = ["one:12125551001", "one:12125551002", "one:12125551950"];
    let body = json!({ "requests": numbers.map(of) });
    failures.store(1, Ordering::SeqCst);
    let failed = api.once("a", &api.acme, "/v1/tokens", &body);
    failed.problem(503, "unavailable");
    assert!(!failed.text().contains("eyJ"), "no token is given");
    let mut other = body.clone();
    other["requests"][2] = of("one:12125551003");
    api.once("a", &api.acme, "/v1/tokens", &other)
        .problem(422, "idempotency-key-reused");
    // Of one second, so in no order.
    let mut recorded = api.world.grants();
    recorded.sort_by_key(|grant| grant.tkvalue.text());
    assert_eq!(recorded.len(), 2);
    let answered = api.once("a", &api.acme, "/v1/tokens", &body);
    let answers = answered.with(200);
    for (answer, grant) in items(&answers["items"]).iter().zip(&recorded) {
        assert_eq!(member(answer, "jti"), grant.jti.as_str());
    }
    assert_eq!(answers["items"][2]["problem"]["code"], "not-authorized");
    api.once("a", &api.acme, "/v1/tokens", &body)
        .repeats(&answered);
    assert_eq!(api.world.grants().len(), 2);

    // Without a key, each request is answered for itself.
    failures.store(1, Ordering::SeqCst);
    let answers = api.post(&api.acme, "/v1/tokens", &body).with(200);
    assert_eq!(answers["items"][0]["problem"]["status"], 503);
    assert!(answers["items"][1]["token"].is_string());
}
