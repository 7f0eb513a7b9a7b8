//! `POST /v1/signers/{chain}/distrust`: a stolen key, over HTTP.

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World};

both! {
    a_stolen_key_is_distrusted_and_everybody_can_see_it,
    who_may_not_and_what_is_malformed_distrusts_nothing,
}

const STOLEN: &str = "the laptop with the key was stolen";

fn with(kind: Kind) -> Api {
    Api::over(World::new(
        kind,
        Setup {
            publication_delay: 60,
            ..Setup::default()
        },
    ))
}

fn signers(api: &Api) -> Vec<Value> {
    let shown = api.get(&api.auditor, "/v1/signers").with(200);
    items(&shown["items"]).to_vec()
}

fn a_stolen_key_is_distrusted_and_everybody_can_see_it(kind: Kind) {
    let api = with(kind);
    let issued = api.ask(&asking(&["one:12125551001"])).with(200);
    let signer = &signers(&api)[0];
    assert_eq!(signer["distrusted"], json!(null));
    let chain = member(signer, "chain");
    let path = format!("/v1/signers/{chain}/distrust");
    let file = format!("/certs/{chain}.pem");
    assert_eq!(api.get("", &file).status, 200);

    let reason = json!({ "reason": STOLEN });
    let answer = api.post(&api.admin, &path, &reason).with(200);
    assert_eq!(answer["chain"], chain);
    assert_eq!(answer["chains"], json!([chain]));
    assert_eq!(answer["distrusted"]["reason"], STOLEN);
    assert_eq!(answer["distrusted"]["at"], "2026-01-01T00:00:00Z");
    assert_eq!(
        answer["exposure"],
        json!({ "tokens": 1, "until": issued["expires"] })
    );
    let outstanding = &items(&answer["outstanding_grants"])[0];
    assert_eq!(outstanding["jti"], issued["jti"]);
    assert_eq!(outstanding["state"], "withdrawn");
    assert_eq!(outstanding["withdrawal"]["reason"], "key-distrusted");

    // The list, the feed, the status for a CA, and the place of the chain.
    let signer = &signers(&api)[0];
    assert_eq!(signer["state"], "distrusted");
    assert_eq!(signer["distrusted"], answer["distrusted"]);
    assert_eq!(signer["key"], json!(null));
    let feed = api.get(&api.auditor, "/v1/withdrawals").with(200);
    let entry = &items(&feed["items"])[0];
    assert_eq!(entry["reason"], "key-distrusted");
    assert_eq!(
        entry["cause"],
        json!({ "kind": "distrust", "id": answer["distrusted"]["id"] })
    );
    let jti = member(&issued, "jti");
    let status = api.get("", &format!("/v1/grants/{jti}/status")).with(200);
    assert_eq!(status["state"], "withdrawn");
    let gone = api.get("", &file);
    let problem = gone.problem(410, "key-distrusted");
    assert!(member(&problem, "detail").contains("refuse its tokens"));
    // What the operator wrote is for the carrier's staff.
    for answer in [gone, api.get(&api.acme, "/v1/withdrawals")] {
        assert!(!answer.text().contains("laptop"), "{}", answer.text());
    }

    // No key is left: no token, and a code that says why. Details are in the log.
    for request in [
        ("/at/account/acme/token", asking(&["one:12125551001"])),
        (
            "/at/account/acme/token",
            json!({ "atc": asking(&["one:12125551002"]) }),
        ),
    ] {
        let refused = api.post(&api.acme, request.0, &request.1);
        let problem = refused.problem(503, "key-distrusted");
        assert_eq!(problem["detail"], json!(null));
        assert_eq!(refused.header("retry-after"), Some("60"));
    }
    let mut one = asking(&["one:12125551001"]);
    one["account"] = json!("acme");
    let bulk = json!({ "requests": [one] });
    let bulk = api.post(&api.acme, "/v1/tokens", &bulk);
    assert!(bulk.text().contains("key-distrusted"), "{}", bulk.text());
    api.get("", "/readyz").problem(503, "unavailable");
    let denials = "denials_total{code=\"key-distrusted\"}";
    assert_eq!(api.world.count(denials), 3);

    // Again: the same answer, whatever is said now.
    api.world.seconds_pass(10);
    let again = json!({ "reason": "another" });
    assert_eq!(api.post(&api.admin, &path, &again).with(200), answer);

    // A request that was refused gets its token by the same key as soon as there is a certificate.
    let wanted = asking(&["one:12125551003"]);
    let ask = || api.once("k", &api.acme, "/at/account/acme/token", &wanted);
    ask().problem(503, "key-distrusted");
    api.world.certificate_comes("new", "1234", 86_400);
    api.call("POST", &api.admin, "/v1/signers/reload", None)
        .with(200);
    ask().with(200);
    assert_eq!(api.get("", "/readyz").status, 200);
}

fn who_may_not_and_what_is_malformed_distrusts_nothing(kind: Kind) {
    let api = with(kind);
    let signer = &signers(&api)[0];
    let path = format!("/v1/signers/{}/distrust", member(signer, "chain"));
    let reason = json!({ "reason": STOLEN });
    for key in [&api.provisioner, &api.auditor, &api.acme] {
        api.post(key, &path, &reason).problem(403, "forbidden");
    }
    api.post("", &path, &reason).problem(401, "unauthorized");
    for unknown in ["0".repeat(64), "x".to_owned(), "0".repeat(63)] {
        let path = format!("/v1/signers/{unknown}/distrust");
        api.post(&api.admin, &path, &reason)
            .problem(404, "not-found");
    }
    for (body, code) in [
        (json!({}), "malformed-member"),
        (json!({ "reason": null }), "malformed-member"),
        (json!({ "reason": "" }), "malformed-member"),
        (json!({ "reason": 7 }), "malformed-member"),
        (json!({ "reason": "x".repeat(257) }), "malformed-member"),
        (json!({ "reason": "a\u{202e}b" }), "malformed-member"),
        (json!({ "reason": "x", "undo": true }), "unknown-member"),
    ] {
        api.post(&api.admin, &path, &body).problem(400, code);
    }
    api.call("GET", &api.admin, &path, None)
        .problem(405, "method-not-allowed");
    assert_eq!(signers(&api)[0]["state"], "active");
    api.ask(&asking(&["one:12125551001"])).with(200);
}
