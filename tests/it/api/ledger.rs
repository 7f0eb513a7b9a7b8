//! What is known of a number, why a decision falls as it does, and the ledger of grants, over HTTP.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    a_number_is_looked_up,
    a_decision_is_explained,
    grants_are_listed_and_withdrawn,
);

fn a_number_is_looked_up(api: Api) {
    let token = api.ask(&asking(&["range:12125551000+2"])).with(200);
    for path in [
        "/v1/numbers/+12125551001",
        "/v1/numbers/%2B12125551001",
        "/v1/numbers/+12125551001?at=2026-01-01T00:00:00Z",
    ] {
        let known = api.get(&api.auditor, path).with(200);
        assert_eq!(
            (&known["number"], &known["accounts"]),
            (&json!("+12125551001"), &json!(["acme"]))
        );
        assert_eq!(known["grants"][0]["jti"], token["jti"]);
        assert_eq!(
            (
                items(&known["allocations"]).len(),
                items(&known["delegations"]).len()
            ),
            (1, 1)
        );
    }
    let before = api
        .get(
            &api.auditor,
            "/v1/numbers/+12125551001?at=2025-12-31T23:59:59+00:00",
        )
        .with(200);
    assert_eq!(before["accounts"], json!([]));
    for path in [
        "12125551001",
        "+1212x",
        "+0",
        "tel:+1212",
        "+1%00",
        "+1234567890123456",
        "%FF",
    ] {
        let answer = api.get(&api.auditor, &format!("/v1/numbers/{path}"));
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    for query in [
        "at=now",
        "at=2026-01-01T00:00:00.1Z",
        "at=",
        "x=1",
        "at=2026-01-01T00:00:00Z&at=2026-01-01T00:00:00Z",
    ] {
        api.get(&api.auditor, &format!("/v1/numbers/+12125551001?{query}"))
            .problem(400, "malformed-query");
    }
}

fn a_decision_is_explained(api: Api) {
    let ask = |numbers: Value| {
        api.post(
            &api.auditor,
            "/v1/explain",
            &json!({ "account": "acme", "numbers": numbers }),
        )
    };
    let yes = ask(json!([{ "start": "+12125551001", "count": 1 }, { "block": "1.212.555.11XX" }]))
        .with(200);
    assert_eq!(
        (&yes["allowed"], &yes["denial"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(yes["expires"], "2026-01-01T01:00:00Z");
    assert_eq!(items(&yes["justified_by"]).len(), 2);
    let no = ask(json!([{ "block": "1.212.555.XXXX" }])).with(200);
    assert_eq!(
        (&no["allowed"], &no["denial"]["code"]),
        (&json!(false), &json!("not-authorized"))
    );
    assert_eq!(items(&no["denial"]["subproblems"]).len(), 2);
    for wrong in [
        json!([]),
        json!(["+12125551001"]),
        json!([{ "start": "+1", "count": 1, "x": 1 }]),
        json!([{}]),
        json!({}),
    ] {
        assert_eq!(ask(wrong.clone()).status, 400, "{wrong}");
    }
    // No range of a TNAuthList reaches the last number of its width.
    ask(json!([{ "start": "+999999999999990", "count": 10 }])).problem(400, "malformed-list");
    assert_eq!(
        api.get(&api.auditor, "/v1/grants").with(200)["items"],
        json!([])
    );
}

fn grants_are_listed_and_withdrawn(api: Api) {
    let jti = |entry| member(&api.ask(&asking(&[entry])).with(200), "jti").to_owned();
    let (one, two) = (jti("one:12125551001"), jti("one:12125551002"));
    let listed = |query: &str| -> Vec<String> {
        let page = api
            .get(&api.auditor, &format!("/v1/grants{query}"))
            .with(200);
        items(&page["items"])
            .iter()
            .map(|grant| member(grant, "jti").to_owned())
            .collect()
    };
    let path = format!("/v1/grants/{one}/withdraw");
    for wrong in [
        json!({}),
        json!({ "reason": "" }),
        json!({ "reason": 1 }),
        json!({ "reason": "x", "at": 1 }),
    ] {
        assert_eq!(
            api.post(&api.provisioner, &path, &wrong).status,
            400,
            "{wrong}"
        );
    }
    let withdrawn = api
        .post(&api.provisioner, &path, &json!({ "reason": "ported out" }))
        .with(200);
    assert_eq!(withdrawn["state"], "withdrawn");
    assert_eq!(
        withdrawn["withdrawal"],
        json!({ "at": "2026-01-01T00:00:00Z", "reason": "ported out" })
    );
    assert_eq!(listed("?state=withdrawn"), [one]);
    assert_eq!(
        listed("?state=active&account=acme"),
        std::slice::from_ref(&two)
    );
    assert_eq!(listed("?tn=%2B12125551002"), std::slice::from_ref(&two));
    assert_eq!(listed("?tn=+12125551002"), [two]);
    assert_eq!(listed("?account=other"), Vec::<String>::new());
    for query in [
        "state=x",
        "tn=1",
        "account=a/b",
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=%00",
        "cursor=",
        "cursor=x",
        "cursor=01a20f37-5430-7000-8000-000000000000",
        "nope=1",
    ] {
        api.get(&api.auditor, &format!("/v1/grants?{query}"))
            .problem(400, "malformed-query");
    }
    for jti in ["nothing", "%00", "a.b"] {
        api.get(&api.auditor, &format!("/v1/grants/{jti}"))
            .problem(404, "not-found");
    }
}
