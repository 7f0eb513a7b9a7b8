//! Numbers with a digit too few or too many, and members with a letter too many, over HTTP.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use super::imports::{finished, upload};
use crate::support::fixtures::member;
use crate::support::service::{Api, asking};

both!(
    numbers_of_another_length_do_not_enter_the_inventory,
    others_may_ask_about_any_number,
    a_whole_key_in_a_path_is_told_the_id,
    an_exclusion_says_what_it_met,
    an_import_of_exclusions_is_forced_or_refused,
    a_mistyped_member_is_told_the_known_one,
);

/// A digit short, a digit long, and blocks with an `X` or a digit forgotten or too many.
const WRONG: [(&str, &str); 6] = [
    (
        r#"{"start":"+1212555101","count":1}"#,
        "`start`: numbers under +1 have 10 digits after the 1, but +1212555101 has 9",
    ),
    (r#"{"start":"+121255510010","count":10}"#, "has 11"),
    (
        r#"{"block":"1.212.555.1XX"}"#,
        "`block`: numbers under +1 have 10 digits",
    ),
    (r#"{"block":"1.212.555.1XXXX"}"#, "has 11"),
    (r#"{"block":"1.2125.555.1XXX"}"#, "has 11"),
    (r#"{"block":"1.212.555.1xxx"}"#, "upper-case `X`"),
];

fn numbers_of_another_length_do_not_enter_the_inventory(api: Api) {
    for (path, more) in [
        (
            "/v1/allocations",
            json!({ "spc": "1234", "basis": "ported-in" }),
        ),
        ("/v1/accounts/acme/delegations", json!({})),
        ("/v1/exclusions", json!({ "reason": "ported-out" })),
        (
            "/v1/exclusions",
            json!({ "reason": "ported-out", "force": true }),
        ),
        ("/v1/disconnects", json!({ "class": "residential" })),
    ] {
        for (numbers, why) in WRONG {
            let mut body: Value = serde_json::from_str(numbers).expect("JSON");
            let more = more.as_object().expect("an object").clone();
            body.as_object_mut().expect("an object").extend(more);
            let problem = api
                .post(&api.provisioner, path, &body)
                .problem(400, "malformed-member");
            let said = member(&problem, "detail");
            assert!(said.contains(why), "{path} {numbers}: {said}");
        }
    }
    let csv = "block,spc,basis\n1.212.556.1XX,1234,block\n1.2125.556.1XXX,1234,block\n";
    let job = imports(&api, "format=allocations", csv);
    assert_eq!(job["failure"]["code"], "refused-lines", "{job}");
    let lines = &job["result"]["line_errors"];
    assert_eq!(
        (&lines[0]["line"], &lines[1]["line"]),
        (&json!(2), &json!(3))
    );
    assert!(member(&lines[0], "reason").starts_with("block: numbers under +1 have 10 digits"));
}

fn others_may_ask_about_any_number(api: Api) {
    api.ask(&asking(&["one:1212555101"]))
        .problem(403, "not-authorized");
    api.get(&api.auditor, "/v1/numbers/+1212555101").with(200);
    let question =
        json!({ "account": "acme", "numbers": [{ "start": "+1212555101", "count": 1 }] });
    let explained = api.post(&api.auditor, "/v1/explain", &question).with(200);
    let hint = member(&explained["parts"][0], "hint");
    assert!(
        hint.contains("10 digits after the 1, but +1212555101 has 9"),
        "{hint}"
    );
    let shown = api.get(&api.auditor, "/v1/numbers/+121255510010").with(200);
    assert!(member(&shown, "hint").contains("has 11"), "{shown}");
    let right = json!({ "account": "acme", "numbers": [{ "start": "+12125551001", "count": 1 }] });
    let right = api.post(&api.auditor, "/v1/explain", &right).with(200);
    assert_eq!(right["parts"][0].get("hint"), None, "{right}");
    let right = api.get(&api.auditor, "/v1/numbers/+12125551001").with(200);
    assert_eq!(right.get("hint"), None, "{right}");
}

fn a_whole_key_in_a_path_is_told_the_id(api: Api) {
    let secret = &api.acme[21..];
    for verb in ["rotate", "revoke"] {
        let path = format!("/v1/api-keys/{}/{verb}", api.acme);
        let problem = api
            .post(&api.admin, &path, &json!({}))
            .problem(400, "malformed-path");
        let said = member(&problem, "detail");
        assert!(said.contains("the 16 characters after `tna_`"), "{said}");
        assert!(!problem.to_string().contains(secret), "{problem}");
    }
}

fn an_exclusion_says_what_it_met(api: Api) {
    let excludes = |start: &str, count: u64, force: Option<bool>| {
        let mut body = json!({ "start": start, "count": count, "reason": "ported-out" });
        if let Some(force) = force {
            body["force"] = json!(force);
        }
        api.post(&api.provisioner, "/v1/exclusions", &body)
    };
    let all = excludes("+12125551001", 1, None).with(201);
    assert_eq!(all["met"], json!([{ "start": "+12125551001", "count": 1 }]));
    assert_eq!(all.get("met_more"), None);
    let part = excludes("+12125551990", 20, None).with(201);
    assert_eq!(
        part["met"],
        json!([{ "start": "+12125551990", "count": 10 }])
    );
    assert_eq!(
        (&part["start"], &part["count"]),
        (&json!("+12125551990"), &json!(20))
    );
    for force in [None, Some(false)] {
        let problem = excludes("+13125551001", 1, force).problem(409, "meets-nothing");
        let named = &problem["subproblems"][0]["identifier"];
        assert_eq!(*named, json!({ "start": "+13125551001", "count": 1 }));
        let said = member(&problem, "detail");
        assert!(said.contains("set `force`"), "{said}");
    }
    let forced = excludes("+13125551001", 1, Some(true)).with(201);
    assert_eq!(forced["met"], json!([]));
    let body = json!({ "start": "+13125551002", "count": 1, "class": "residential" });
    api.post(&api.provisioner, "/v1/disconnects", &body)
        .problem(409, "not-allocated");
}

fn an_import_of_exclusions_is_forced_or_refused(api: Api) {
    let csv = "start,reason\n+13125551001,ported-out\n";
    let refused = imports(&api, "format=exclusions", csv);
    assert_eq!(refused["failure"]["code"], "refused-lines", "{refused}");
    let forced = imports(&api, "format=exclusions&force=true", csv);
    assert_eq!(forced["state"], "done", "{forced}");
    assert_eq!(forced["result"]["counts"]["added"], 1);
    upload(&api, "format=allocations&force=true", csv.as_bytes()).problem(400, "malformed-query");
}

fn a_mistyped_member_is_told_the_known_one(api: Api) {
    for (body, code, said) in [
        (
            json!({ "blok": "1.212.555.1XXX", "reason": "aging" }),
            "unknown-member",
            "the member `blok` is unknown; is `block` meant?",
        ),
        (
            json!({ "block": "1.212.555.1XXX", "reson": "aging" }),
            "unknown-member",
            "the member `reson` is unknown; is `reason` meant?",
        ),
        (
            json!({ "block": "1.212.555.1XXX", "reason": "aging", "valid_form": "x" }),
            "unknown-member",
            "the member `valid_form` is unknown; is `valid_from` meant?",
        ),
        (
            json!({ "block": "1.212.555.1XXX", "reason": "aging", "colour": 1 }),
            "unknown-member",
            "the member `colour` is unknown",
        ),
        (
            json!({ "block": "1.212.555.1XXX", "colour": 1 }),
            "missing-member",
            "the member `reason` is missing",
        ),
    ] {
        let problem = api
            .post(&api.provisioner, "/v1/exclusions", &body)
            .problem(400, code);
        assert_eq!(member(&problem, "detail"), said);
    }
}

/// The job of an import, when it is through.
fn imports(api: &Api, query: &str, table: &str) -> Value {
    finished(api, &upload(api, query, table.as_bytes()))
}
