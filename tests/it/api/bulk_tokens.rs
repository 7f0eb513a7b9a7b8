//! `POST /v1/tokens`: many requests in one body, each answered for itself.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, LIMIT, asking};

both!(
    each_request_gets_its_own_answer_in_order,
    the_body_has_its_bounds,
    a_thousand_requests_are_one_answer,
);

fn of(account: &str, entries: &[&str]) -> Value {
    let mut one = asking(entries);
    one["account"] = json!(account);
    one
}

fn each_request_gets_its_own_answer_in_order(api: Api) {
    let mut unknown_member = of("acme", &["one:12125551001"]);
    unknown_member["exp"] = json!(1);
    let under_atc = json!({ "account": "acme", "atc": asking(&["one:12125551002"]) });
    let requests = json!([
        of("acme", &["one:12125551001"]),
        of("other", &["one:12125551001"]),
        of("a b", &["one:12125551001"]),
        unknown_member,
        under_atc,
        of("acme", &["one:12125551950"]),
        7,
        { "account": "acme" },
    ]);
    let answer = api.post(&api.acme, "/v1/tokens", &json!({ "requests": requests }));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answers = answer.with(200);
    let codes: Vec<String> = items(&answers["items"])
        .iter()
        .map(|item| {
            item["problem"]["code"]
                .as_str()
                .unwrap_or("token")
                .to_owned()
        })
        .collect();
    assert_eq!(
        codes,
        [
            "token",
            "forbidden",
            "forbidden",
            "unknown-member",
            "token",
            "not-authorized",
            "malformed-member",
            "missing-member",
        ]
    );
    let token = &answers["items"][0];
    let grant = api
        .get(
            &api.auditor,
            &format!("/v1/grants/{}", member(token, "jti")),
        )
        .with(200);
    assert_eq!(grant["account"], "acme");
    assert_eq!(answers["items"][5]["problem"]["status"], 403);
    assert_eq!(
        answers["items"][5]["problem"]["subproblems"][0]["identifier"]["start"],
        "+12125551950"
    );
}

fn the_body_has_its_bounds(api: Api) {
    let post = |body: &Value| api.post(&api.acme, "/v1/tokens", body);
    post(&json!({})).problem(400, "missing-member");
    post(&json!({ "requests": [] })).problem(400, "malformed-member");
    post(&json!({ "requests": 1 })).problem(400, "malformed-member");
    post(&json!({ "requests": vec![json!({}); 1001] })).problem(400, "malformed-member");
    post(&json!({ "requests": [], "more": 1 })).problem(400, "unknown-member");
    let long = json!({ "requests": "x".repeat(16 * LIMIT) });
    post(&long).problem(413, "body-too-large");
    api.post("", "/v1/tokens", &json!({ "requests": [1] }))
        .problem(401, "unauthorized");
}

fn a_thousand_requests_are_one_answer(api: Api) {
    let requests: Vec<Value> = (0..1000)
        .map(|n| of("acme", &[&format!("one:{}", 12_125_551_000_u64 + n)]))
        .collect();
    let answers = api
        .post(&api.acme, "/v1/tokens", &json!({ "requests": requests }))
        .with(200);
    let answers = items(&answers["items"]);
    let granted = answers.iter().filter(|answer| answer["token"].is_string());
    assert_eq!((answers.len(), granted.count()), (1000, 900));
}
