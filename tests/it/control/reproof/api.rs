//! Rights with a method, and the feed of failures, over HTTP.

use serde_json::{Value, json};

use super::{DAY, HOUR, works};
use crate::control::proven::{not_older_than, set, setup};
use crate::support::service::{Api, asking};
use crate::support::{Kind, World};

both! {
    a_right_names_how_its_numbers_are_proven_again,
    what_cannot_be_proven_again_is_refused,
    failures_are_followed_in_a_feed,
}

fn api(kind: Kind) -> Api {
    let mut setup = setup(set(&not_older_than(86_400)), 0);
    setup
        .control
        .gateways
        .retain(|name, _| name == "sip-gateway");
    Api::over(World::new(kind, setup))
}

/// The body for a right of these numbers of acme.
fn body(api: &Api, entries: &[&str], control: &Value) -> Value {
    let loans = api
        .get(&api.provisioner, "/v1/accounts/acme/delegations")
        .with(200);
    let mut body = asking(entries);
    let members = body.as_object_mut().expect("an object");
    members.retain(|name, _| name == "tkvalue" || name == "fingerprint");
    members.insert("account".to_owned(), json!("acme"));
    members.insert("delegation".to_owned(), loans["items"][0]["id"].clone());
    members.insert("lifetime".to_owned(), json!(600));
    if !control.is_null() {
        members.insert("control".to_owned(), control.clone());
    }
    body
}

fn a_right_names_how_its_numbers_are_proven_again(kind: Kind) {
    let api = api(kind);
    let wanted = json!({ "method": "sip", "max_age": 86_400 });
    let made = api.post(
        &api.provisioner,
        "/v1/renewals",
        &body(&api, &["one:12125551001"], &wanted),
    );
    let made = made.with(201);
    assert_eq!(made["control"]["method"], "sip");
    assert_eq!(made["control"]["max_age"], 86_400);
    assert_eq!(made["control"]["due_at"], made["created_at"]);
    let path = format!("/v1/renewals/{}", made["id"].as_str().expect("an id"));
    works(&api.world);
    let shown = api.get(&api.acme, &path).with(200);
    assert_ne!(shown["control"]["due_at"], made["created_at"]);
    let proofs = api
        .get(&api.acme, "/v1/accounts/acme/control-proofs")
        .with(200);
    assert_eq!(proofs["items"][0]["renewal"], made["id"]);
    assert_eq!(proofs["items"][0]["fingerprint"], made["fingerprint"]);
    // The account does not learn who works for the carrier.
    assert_eq!(proofs["items"][0]["started_by"], "");
    let without = api.post(
        &api.provisioner,
        "/v1/renewals",
        &body(&api, &["one:12125551002"], &json!(null)),
    );
    assert_eq!(without.with(201)["control"], json!(null));
}

fn what_cannot_be_proven_again_is_refused(kind: Kind) {
    let api = api(kind);
    for (entries, control, status, code) in [
        (
            "one:12125551001",
            json!({ "method": "sip", "max_age": 3_599 }),
            400,
            "max-age-not-allowed",
        ),
        (
            "one:12125551001",
            json!({ "method": "sip", "max_age": 31_622_401 }),
            400,
            "max-age-not-allowed",
        ),
        (
            "one:12125551001",
            json!({ "method": "sms", "max_age": 86_400 }),
            409,
            "no-gateway",
        ),
        (
            "one:12125551001",
            json!({ "method": "fax", "max_age": 86_400 }),
            400,
            "malformed-member",
        ),
        (
            "one:12125551001",
            json!({ "method": "sip" }),
            400,
            "missing-member",
        ),
        (
            "one:12125551001",
            json!({ "method": "sip", "max_age": 86_400, "x": 1 }),
            400,
            "unknown-member",
        ),
    ] {
        let refused = api.post(
            &api.provisioner,
            "/v1/renewals",
            &body(&api, &[entries], &control),
        );
        refused.problem(status, code);
    }
    let days = json!({ "method": "sip", "max_age": "90d" });
    let days = body(&api, &["one:12125551001"], &days);
    let refused = api.post(&api.provisioner, "/v1/renewals", &days);
    let detail = refused.problem(400, "malformed-member")["detail"].to_string();
    for part in ["max_age", "number of seconds", "7776000 is 90 days"] {
        assert!(detail.contains(part), "{detail}");
    }
    let all = api.get(&api.provisioner, "/v1/renewals").with(200);
    assert_eq!(all["items"], json!([]));
}

fn failures_are_followed_in_a_feed(kind: Kind) {
    let api = api(kind);
    let wanted = json!({ "method": "sip", "max_age": DAY });
    let made = api.post(
        &api.provisioner,
        "/v1/renewals",
        &body(&api, &["range:12125551001+2"], &wanted),
    );
    let made = made.with(201);
    let empty = api.get(&api.acme, "/v1/control-failures").with(200);
    assert_eq!(
        empty,
        json!({ "items": [], "next_after": 0, "more": false })
    );
    works(&api.world);
    api.world.seconds_pass(HOUR);
    works(&api.world);
    let first = api.get(&api.acme, "/v1/control-failures?limit=1").with(200);
    assert_eq!(first["more"], true);
    let item = &first["items"][0];
    assert_eq!(
        (&item["reason"], &item["proof"]["state"]),
        (&json!("expired"), &json!("expired"))
    );
    assert_eq!(
        (&item["proof"]["renewal"], &item["proof"]["account"]),
        (&made["id"], &json!("acme"))
    );
    assert_eq!(item["failed_at"], item["proof"]["expires_at"]);
    let rest = api.get(
        &api.acme,
        &format!("/v1/control-failures?after={}", first["next_after"]),
    );
    let rest = rest.with(200);
    assert_eq!(
        (rest["items"].as_array().map(Vec::len), &rest["more"]),
        (Some(1), &json!(false))
    );
    let other = api.key(tn_authority::domain::Role::Account, &["other"]);
    let others = api.get(&other, "/v1/control-failures").with(200);
    assert_eq!(others["items"], json!([]));
    api.get(&api.acme, "/v1/control-failures?after=-1")
        .problem(400, "malformed-query");
    api.get(&api.acme, "/v1/control-failures?state=x")
        .problem(400, "malformed-query");
}
