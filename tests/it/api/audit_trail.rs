//! The trail over HTTP: pages, the export, who may read it, and what names a request.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    a_request_is_found_in_the_trail,
    a_wrong_question_is_refused,
    who_may_not_read_has_no_trail,
    an_export_is_the_list_in_lines,
    a_long_export_is_whole,
    a_trace_is_in_the_event_and_changes_nothing_else,
    a_change_that_the_role_does_not_allow_is_recorded,
);

fn a_request_is_found_in_the_trail(api: Api) {
    let granted = api.ask(&asking(&["one:12125551001"]));
    let refused = api.ask(&asking(&["one:12125551999"]));
    for (answer, outcome) in [(granted, "done"), (refused, "not-authorized")] {
        let id = answer.header("x-request-id").expect("an id");
        let path = format!("/v1/audit-events?request_id={id}");
        let page = api.get(&api.auditor, &path).with(200);
        assert_eq!(page["next_cursor"], Value::Null);
        let [event] = items(&page["items"]) else {
            panic!("{page}")
        };
        assert_eq!(event["outcome"], outcome);
        assert_eq!(event["request_id"], id);
        assert_eq!(event["action"], "issue");
        assert_eq!(
            (&event["subject"], &event["account"]),
            (&json!("acme"), &json!("acme"))
        );
        assert_eq!(event["at"], "2026-01-01T00:00:00Z");
        let caller = api.acme.split('_').nth(1).expect("an id");
        assert_eq!(event["caller"], caller);
        let members: Vec<&String> = event.as_object().expect("an object").keys().collect();
        assert_eq!(
            members,
            [
                "id",
                "at",
                "caller",
                "action",
                "subject",
                "account",
                "outcome",
                "detail",
                "request_id"
            ]
        );
    }
    let path = "/v1/audit-events?limit=2&from=2026-01-01T01:00:00%2B01:00";
    let page = api.get(&api.auditor, path).with(200);
    assert_eq!(items(&page["items"]).len(), 2);
    let cursor = member(&page, "next_cursor");
    let next = api
        .get(
            &api.auditor,
            &format!("/v1/audit-events?limit=2&cursor={cursor}"),
        )
        .with(200);
    assert_eq!(items(&page["items"])[1]["id"], cursor);
    assert_ne!(next["items"][0]["id"], cursor);
}

fn a_wrong_question_is_refused(api: Api) {
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=%00",
        "cursor=a%20b",
        "cursor=x",
        "cursor=01a20f37-5430",
        "account=a%2Fb",
        "action=%0d%0aissue",
        "caller=%00",
        "request_id=x",
        "from=yesterday",
        "from=2026-01-01",
        "until=2026-01-01T00:00:00.5Z",
        "from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z",
        "since=2026-01-01T00:00:00Z",
    ] {
        api.get(&api.auditor, &format!("/v1/audit-events?{query}"))
            .problem(400, "malformed-query");
        if query.contains("from") || query.contains("account") {
            api.get(&api.auditor, &format!("/v1/audit-events/export?{query}"))
                .problem(400, "malformed-query");
        }
    }
    for nothing in [
        "caller=%27%20OR%201%3D1",
        "outcome=",
        "subject=%25",
        "until=0001-01-01T00:00:00Z",
        "from=9999-12-31T23:59:59Z",
    ] {
        let page = api
            .get(&api.auditor, &format!("/v1/audit-events?{nothing}"))
            .with(200);
        assert_eq!(page["items"], json!([]), "{nothing}");
    }
}

fn who_may_not_read_has_no_trail(api: Api) {
    let portal = api.key(Role::Portal, &["acme"]);
    for path in ["/v1/audit-events", "/v1/audit-events/export"] {
        for key in [&api.acme, &portal] {
            api.get(key, path).problem(403, "forbidden");
        }
        api.get("", path).problem(401, "unauthorized");
    }
    let other = api.key(Role::Auditor, &["other"]);
    let foreign = api.get(&other, "/v1/audit-events?account=acme").with(200);
    let none = api.get(&other, "/v1/audit-events?account=nobody").with(200);
    assert_eq!(foreign, none);
    let own = api.get(&other, "/v1/audit-events").with(200);
    let own = items(&own["items"]);
    assert!(!own.is_empty() && own.iter().all(|event| event["account"] == "other"));
    // Who made the account, and the reader's own key, are the carrier's people.
    assert!(
        own.iter().all(|event| event["caller"] == Value::Null),
        "{own:?}"
    );
}

fn lines(answer: &crate::support::service::Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(answer.unchunked()).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'));
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().expect("a line is JSON")
}

fn an_export_is_the_list_in_lines(api: Api) {
    api.ask(&asking(&["one:12125551001"])).with(200);
    let list = |query: &str| {
        let path = format!("/v1/audit-events?{query}&limit=1000");
        let page = api.get(&api.auditor, &path).with(200);
        items(&page["items"]).to_vec()
    };
    let export = |query: &str| {
        let path = format!("/v1/audit-events/export?{query}");
        lines(&api.get(&api.auditor, &path))
    };
    assert_eq!(export(""), list(""));
    assert_eq!(export("account=acme"), list("account=acme"));
    let until = "until=2026-01-01T00:00:00Z";
    assert_eq!(export(until), Vec::<Value>::new());
}

fn a_long_export_is_whole(api: Api) {
    let requests: Vec<Value> = (0..1_000)
        .map(|n| {
            let mut one = asking(&[&format!("one:{}", 12_125_551_000_u64 + n % 900)]);
            one["account"] = json!("acme");
            one
        })
        .collect();
    for _ in 0..3 {
        api.post(&api.acme, "/v1/tokens", &json!({ "requests": requests }))
            .with(200);
    }
    let all = lines(&api.get(&api.auditor, "/v1/audit-events/export"));
    let issued = all.iter().filter(|event| event["action"] == "issue");
    assert_eq!(issued.count(), 3_000);
    let ids: Vec<&str> = all
        .iter()
        .map(|event| event["id"].as_str().expect("an id"))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

fn a_trace_is_in_the_event_and_changes_nothing_else(api: Api) {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let ask = |head: &str| {
        let body = asking(&["one:12125551001"]).to_string();
        let head = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n{head}",
            api.acme
        );
        let answer = api.send("POST", "/at/account/acme/token", &head, body.as_bytes());
        answer.with(200);
        assert!(answer.header("traceparent").is_none() && answer.header("traceresponse").is_none());
        let id = answer.header("x-request-id").expect("an id");
        assert!(!id.contains(TRACE));
        let path = format!("/v1/audit-events?request_id={id}");
        let page = api.get(&api.auditor, &path).with(200);
        page["items"][0]["detail"]["trace_id"].clone()
    };
    let valid = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
    assert_eq!(ask(&valid), TRACE);
    for ignored in [
        String::new(),
        valid.to_uppercase(),
        valid.replace("-01\r", "-01-x\r"),
        format!("{valid}{valid}"),
        "traceparent: 00-\u{e9}\r\n".to_owned(),
        format!("traceparent: {}\r\n", "0".repeat(10_000)),
    ] {
        assert_eq!(ask(&ignored), Value::Null, "{ignored:?}");
    }
    // A client does not name its request.
    let answer = api.send("GET", "/healthz", "x-request-id: mine\r\n", b"");
    assert_ne!(answer.header("x-request-id"), Some("mine"));
}

fn a_change_that_the_role_does_not_allow_is_recorded(api: Api) {
    let answer = api.post(&api.auditor, "/v1/accounts/acme/suspend", &json!({}));
    answer.problem(403, "forbidden");
    let id = answer.header("x-request-id").expect("an id");
    let page = api
        .get(&api.auditor, &format!("/v1/audit-events?request_id={id}"))
        .with(200);
    let event = &page["items"][0];
    assert_eq!(
        (&event["action"], &event["subject"], &event["outcome"]),
        (
            &json!("manage"),
            &json!("POST /v1/accounts/{id}/suspend"),
            &json!("forbidden")
        )
    );
}
