//! A reseller's key over HTTP: it keeps the reseller's customers, and whatever else there is does not exist for it.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    a_reseller_lends_on_and_its_customer_gets_a_token,
    what_is_foreign_answers_as_what_is_not_there,
    numbers_are_disconnected,
    a_caller_is_told_why_for_its_own_account,
);

/// `acme` may lend on, as the carrier says.
fn lending_on(api: &Api) -> Value {
    let lent = json!({ "start": "+12125551900", "count": 50, "lend_on": true });
    api.post(&api.provisioner, "/v1/accounts/acme/delegations", &lent)
        .with(201)
}

fn a_reseller_lends_on_and_its_customer_gets_a_token(api: Api) {
    let first = lending_on(&api);
    let key = &api.key(Role::Provisioner, &["acme"]);
    let made = api
        .put(
            key,
            "/v1/accounts/shop",
            &json!({ "name": "Shop", "parent": "acme" }),
        )
        .with(201);
    assert_eq!(made["parent"], "acme");
    let lent = json!({ "start": "+12125551901", "count": 2, "reference": "order 1" });
    let lent = api
        .post(key, "/v1/accounts/shop/delegations", &lent)
        .with(201);
    assert_eq!(
        (&lent["parent"], &lent["lender"], &lent["lender_keeps"]),
        (&first["id"], &json!("acme"), &json!(false))
    );
    let shop = api.key(Role::Account, &["shop"]);
    api.post(
        &shop,
        "/at/account/shop/token",
        &asking(&["range:12125551901+2"]),
    )
    .with(200);
    let refused = api
        .ask(&asking(&["one:12125551901"]))
        .problem(403, "not-authorized");
    assert_eq!(refused["subproblems"][0]["code"], "lent-on");

    let grants = api.get(key, "/v1/grants").with(200);
    assert_eq!(items(&grants["items"]).len(), 1);
    let ended = api
        .post(
            key,
            &format!("/v1/delegations/{}/end", member(&lent, "id")),
            &json!({}),
        )
        .with(200);
    assert_eq!(items(&ended["outstanding_grants"]).len(), 1);
    api.post(
        &shop,
        "/at/account/shop/token",
        &asking(&["one:12125551901"]),
    )
    .problem(403, "not-authorized");
}

fn what_is_foreign_answers_as_what_is_not_there(api: Api) {
    lending_on(&api);
    let carriers = api
        .get(&api.provisioner, "/v1/accounts/acme/delegations")
        .with(200);
    let own = member(&items(&carriers["items"])[0], "id").to_owned();
    let allocation = api.get(&api.provisioner, "/v1/allocations").with(200);
    let allocation = member(&items(&allocation["items"])[0], "id").to_owned();
    let jti = member(&api.ask(&asking(&["one:12125551001"])).with(200), "jti").to_owned();
    for role in [Role::Provisioner, Role::Auditor] {
        let key = &api.key(role, &["other"]);
        let same = |method: &str,
                    path: &dyn Fn(&str) -> String,
                    foreign: &str,
                    none: &str,
                    body: Option<&str>| {
            let answers =
                [foreign, none].map(|id| api.call(method, key, &path(id), body).without_id());
            let [foreign_answer, none_answer] = answers;
            let echoed = |text: &str| text.replace(foreign, "ID").replace(none, "ID");
            assert_eq!(
                foreign_answer.0,
                none_answer.0,
                "{method} {}",
                path(foreign)
            );
            assert_eq!(echoed(&foreign_answer.2), echoed(&none_answer.2));
        };
        let nil = "00000000-0000-7000-8000-000000000000";
        same(
            "GET",
            &|id| format!("/v1/accounts/{id}"),
            "acme",
            "none",
            None,
        );
        same(
            "GET",
            &|id| format!("/v1/accounts/{id}/delegations"),
            "acme",
            "none",
            None,
        );
        same(
            "POST",
            &|id| format!("/v1/accounts/{id}/suspend"),
            "acme",
            "none",
            Some("{}"),
        );
        same(
            "POST",
            &|id| format!("/v1/accounts/{id}/resume"),
            "acme",
            "none",
            Some("{}"),
        );
        let lent = json!({ "start": "+12125551990", "count": 1 }).to_string();
        same(
            "POST",
            &|id| format!("/v1/accounts/{id}/delegations"),
            "acme",
            "none",
            Some(&lent),
        );
        same(
            "GET",
            &|id| format!("/v1/delegations/{id}"),
            &own,
            nil,
            None,
        );
        same(
            "POST",
            &|id| format!("/v1/delegations/{id}/end"),
            &own,
            nil,
            Some("{}"),
        );
        same(
            "GET",
            &|id| format!("/v1/allocations/{id}"),
            &allocation,
            nil,
            None,
        );
        same(
            "GET",
            &|id| format!("/v1/grants/{id}"),
            &jti,
            &"0".repeat(44),
            None,
        );
        let reason = json!({ "reason": "x" }).to_string();
        same(
            "POST",
            &|id| format!("/v1/grants/{id}/withdraw"),
            &jti,
            &"0".repeat(44),
            Some(&reason),
        );
        same(
            "GET",
            &|tn| format!("/v1/numbers/{tn}"),
            "+12125551001",
            "+13125551001",
            None,
        );
        same(
            "GET",
            &|id| format!("/v1/grants?account={id}"),
            "acme",
            "none",
            None,
        );
    }
}

fn numbers_are_disconnected(api: Api) {
    let key = &api.provisioner;
    let wanted = json!({ "start": "+12125551001", "count": 1, "class": "residential" });
    let answer = api.post(key, "/v1/disconnects", &wanted);
    let done = answer.with(201);
    assert_eq!(done["aging"]["reason"], "aging");
    assert_eq!(done["aging"]["valid_until"], "2026-04-01T00:00:00Z");
    assert_eq!(items(&done["kept_delegations"]).len(), 1);
    let location = answer.header("location").expect("a place");
    assert_eq!(api.get(key, location).with(200), done["aging"]);
    let ends = items(&done["delegation_ends"]);
    assert_eq!(
        (ends.len(), &ends[0]["account"], &ends[0]["whole"]),
        (1, &json!("acme"), &json!(false))
    );
    // The delegation goes on, and says for which number it does not.
    let path = format!("/v1/delegations/{}", member(&ends[0], "id"));
    let rest = api.get(key, &path).with(200);
    assert_eq!(rest["valid_until"], Value::Null);
    assert_eq!(rest["ended_for"], ends[0]["ended_for"]);
    let left = &rest["ended_for"][0];
    assert_eq!(
        (&left["start"], &left["count"], &left["reason"]),
        (&json!("+12125551001"), &json!(1), &json!("aging"))
    );
    let cause = format!("exclusion:{}", member(&done["aging"], "id"));
    assert_eq!(member(left, "cause"), cause);
    let known = api.get(key, "/v1/numbers/+12125551001").with(200);
    assert_eq!(member(&known["departures"][0], "cause"), cause);
    let refused = api
        .ask(&asking(&["one:12125551001"]))
        .problem(403, "not-authorized");
    assert_eq!(refused["subproblems"][0]["code"], "aging");
    let wrong = json!({ "start": "+12125551001", "count": 1, "class": "lunar" });
    let problem = api
        .post(key, "/v1/disconnects", &wrong)
        .problem(400, "unknown-class");
    assert!(
        member(&problem, "detail").contains("business, residential"),
        "{problem}"
    );
}

fn a_caller_is_told_why_for_its_own_account(api: Api) {
    let question = |account: &str| json!({ "account": account, "numbers": [{ "start": "+12125551899", "count": 2 }] });
    let told = api
        .post(&api.acme, "/v1/explain", &question("acme"))
        .with(200);
    assert_eq!(told["allowed"], false);
    let parts: Vec<_> = items(&told["parts"])
        .iter()
        .map(|part| (member(part, "start").to_owned(), part["code"].clone()))
        .collect();
    assert_eq!(
        parts,
        [
            ("+12125551899".to_owned(), Value::Null),
            ("+12125551900".to_owned(), json!("not-delegated"))
        ]
    );
    let words = member(&told["parts"][0]["rows"][0], "words");
    assert_eq!(
        words,
        "+12125551000 to +12125551899 delegated to acme, from 2026-01-01T00:00:00Z"
    );
    api.post(&api.acme, "/v1/explain", &question("other"))
        .problem(403, "forbidden");
    api.post(&api.acme, "/v1/explain", &question("nobody"))
        .problem(403, "forbidden");
}
