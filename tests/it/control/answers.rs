//! Refusals and explanations over HTTP, as a client reads them.

use serde_json::{Value, json};
use tn_authority::domain::Tn;

use super::proven::{example, proves, proves_for, setup, tn};
use crate::support::service::{Api, asking};
use crate::support::{Kind, World, fingerprint};

both! {
    a_refusal_names_each_number_and_how_to_start,
    an_explanation_has_what_policies_see,
    the_proofs_of_a_number_are_listed_for_auditors,
}

fn api(kind: Kind) -> Api {
    Api::over(World::new(kind, setup(example(), 0)))
}

/// The numbers answer for the key that the requests name.
fn owner_proves(api: &Api, numbers: &[Tn]) {
    proves_for(&api.world, "acme", numbers, Some(fingerprint()));
}

fn a_refusal_names_each_number_and_how_to_start(kind: Kind) {
    let api = api(kind);
    let entries = ["one:12125551001", "one:12125551005", "one:12125551007"];
    owner_proves(&api, &[tn("+12125551005")]);
    let refused = api.ask(&asking(&entries));
    let problem = refused.problem(403, "control-not-proven");
    assert_eq!(problem["title"], "Control of the numbers is not proven");
    assert_eq!(
        problem["policies"],
        json!(["control-for-new-keys", "control-of-new-numbers"])
    );
    let detail = problem["detail"].as_str().expect("a detail");
    let told = "start proofs with `POST /v1/accounts/acme/control-proofs` for +12125551001 (no proof of control counts for it), \
                +12125551007 ";
    assert!(detail.contains(told), "{detail}");
    let part = |number: &str| {
        json!({
            "type": "urn:tn-authority:problem:control-not-proven", "code": "control-not-proven",
            "detail": "no proof of control counts for it", "identifier": { "start": number, "count": 1 },
        })
    };
    assert_eq!(
        problem["subproblems"],
        json!([part("+12125551001"), part("+12125551007")])
    );
    // One of a bulk is refused in the same words.
    let mut one = asking(&entries);
    one["account"] = json!("acme");
    let bulk = api.post(&api.acme, "/v1/tokens", &json!({ "requests": [one] }));
    let bulk = &bulk.with(200)["items"][0]["problem"];
    for member in ["code", "detail", "subproblems", "policies"] {
        assert_eq!(bulk[member], problem[member], "{member}");
    }
    owner_proves(&api, &[tn("+12125551001"), tn("+12125551007")]);
    api.ask(&asking(&entries)).with(200);
}

fn an_explanation_has_what_policies_see(kind: Kind) {
    let api = api(kind);
    let question = |fingerprint: Option<&Value>| {
        let mut question =
            json!({ "account": "acme", "numbers": [{ "start": "+12125551001", "count": 2 }] });
        if let Some(fingerprint) = fingerprint {
            question["fingerprint"] = fingerprint.clone();
        }
        api.post(&api.acme, "/v1/explain", &question)
    };
    let asked = asking(&["range:12125551001+2"]);
    owner_proves(&api, &[tn("+12125551001")]);
    api.world.seconds_pass(59);
    let told = question(Some(&asked["fingerprint"])).with(200);
    assert_eq!(told["allowed"], false);
    assert_eq!(told["denial"]["code"], "control-not-proven");
    assert_eq!(
        told["control"],
        json!({
            "proven": false, "age": null, "methods": ["sms"], "for_key_age": null, "sample": false,
            "numbers": [
                { "number": "+12125551001", "age": 60, "method": "sms" },
                { "number": "+12125551002", "age": null, "method": null },
            ],
            "start": ["+12125551002"],
        })
    );
    assert_eq!(
        (&told["key_age"], &told["delegation_age"], &told["first"]),
        (&json!(0), &json!(0), &json!(true))
    );
    // A proof for every key is none for a new one.
    proves(&api.world, "acme", &[tn("+12125551002")]);
    let told = question(Some(&asked["fingerprint"])).with(200);
    let control = &told["control"];
    assert_eq!(
        (&control["age"], &control["for_key_age"]),
        (&json!(60), &json!(null))
    );
    assert_eq!(control["start"], json!(["+12125551002"]));
    owner_proves(&api, &[tn("+12125551002")]);
    api.ask(&asked).with(200);
    api.world.seconds_pass(3600);
    let told = question(Some(&asked["fingerprint"])).with(200);
    assert_eq!(told["allowed"], true);
    assert_eq!(told["control"]["start"], json!([]));
    assert_eq!(told["control"]["for_key_age"], 3660);
    assert_eq!(
        (&told["key_age"], &told["first"]),
        (&json!(3600), &json!(false))
    );
    question(Some(&json!("SHA256 00"))).problem(400, "malformed-fingerprint");
    // Policies that refer to no rows say nothing of them.
    let usual = Api::from(kind);
    let question =
        json!({ "account": "acme", "numbers": [{ "start": "+12125551001", "count": 1 }] });
    let told = usual.post(&usual.acme, "/v1/explain", &question).with(200);
    for member in ["control", "key_age", "delegation_age", "first"] {
        assert_eq!(told.get(member), None, "{member}");
    }
}

fn the_proofs_of_a_number_are_listed_for_auditors(kind: Kind) {
    let api = api(kind);
    let number = [tn("+12125551001")];
    owner_proves(&api, &number);
    proves(&api.world, "acme", &number);
    proves(&api.world, "acme", &[tn("+12125551002")]);
    let path = "/v1/control-proofs?number=%2B12125551001";
    let first = api.get(&api.auditor, &format!("{path}&limit=1")).with(200);
    assert_eq!(first["items"].as_array().expect("items").len(), 1);
    let next = first["next_cursor"].as_str().expect("a cursor");
    let second = api.get(&api.auditor, &format!("{path}&limit=1&cursor={next}"));
    let second = second.with(200);
    assert_eq!(second["items"][0]["number"], "+12125551001");
    assert_eq!(second["items"][0]["fingerprint"], json!(null));
    assert_eq!(second["next_cursor"], json!(null));
    api.get(&api.acme, path).problem(403, "forbidden");
    for wrong in ["/v1/control-proofs", "/v1/control-proofs?number=12"] {
        api.get(&api.auditor, wrong).with(400);
    }
}
