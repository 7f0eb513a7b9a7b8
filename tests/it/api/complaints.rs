//! What callers are told of a bad parameter or member: which one it is, and what is expected of it, in words of the service.
//! The words of a library speak of its types, and change with it.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use crate::support::fixtures::member;
use crate::support::service::{Answer, Api, asking};

both!(
    a_bad_parameter_is_named_with_what_is_expected,
    a_bad_member_is_named_with_what_is_expected,
    a_body_that_is_no_json_is_told_where_it_is_not,
);

#[track_caller]
fn detail(answer: &Answer, code: &str) -> String {
    member(&answer.problem(400, code), "detail").to_owned()
}

fn a_bad_parameter_is_named_with_what_is_expected(api: Api) {
    const LIMIT: &str = "`limit`: expected a whole number from 1 to 1000";
    const TIME: &str = "`from`: ";
    for (path, expected) in [
        ("accounts?limit=x", LIMIT),
        ("accounts?limit=", LIMIT),
        ("accounts?limit=0", LIMIT),
        ("accounts?limit=1001", LIMIT),
        ("accounts?limit=-1", LIMIT),
        ("accounts?limit=70000", LIMIT),
        ("grants?limit=1.5", LIMIT),
        ("audit-events?limit=x", LIMIT),
        ("withdrawals?limit=x", LIMIT),
        ("accounts?limit=1&limit=2", "`limit` is given twice"),
        ("accounts?colour=red", "`colour` is unknown"),
        ("accounts?Limit=1", "`Limit` is unknown"),
        (
            "withdrawals?after=x",
            "`after`: expected a whole number of at most 9223372036854775807",
        ),
        ("withdrawals?after=-1", "`after`: must not be negative"),
        ("audit-events?request_id=x", "`request_id`: expected a UUID"),
        ("audit-events?from=yesterday", TIME),
        ("grants?account=a%20b", "`account`: "),
        ("grants?tn=2125551001", "`tn`: "),
        ("grants?state=x", "`state`"),
        (
            "audit-events?subject=%00",
            "the query string contains a control character",
        ),
        (
            "accounts?after=a%1bb",
            "the query string contains a control character",
        ),
    ] {
        let said = detail(
            &api.get(&api.auditor, &format!("/v1/{path}")),
            "malformed-query",
        );
        assert!(said.starts_with(expected), "{path}: {said}");
        sounds_like_us(&said);
    }
    let import = |query: &str| {
        let path = format!("/v1/imports?{query}");
        api.post(&api.provisioner, &path, &json!({}))
    };
    for (query, expected) in [
        ("", "`format` is missing"),
        (
            "format=nanp-blocks&dry_run=maybe",
            "`dry_run`: expected true or false",
        ),
        (
            "format=nanp-blocks&confirm=1",
            "`confirm`: expected true or false",
        ),
    ] {
        assert_eq!(detail(&import(query), "malformed-query"), expected);
    }
}

fn a_bad_member_is_named_with_what_is_expected(api: Api) {
    let asked = |name: &str, value: Value| {
        let mut body = asking(&["one:12125551001"]);
        body[name] = value;
        api.ask(&body)
    };
    for (name, value, expected) in [
        ("tkvalue", json!(1), "expected a string"),
        ("tkvalue", json!(null), "expected a string"),
        ("ca", json!("false"), "expected true or false"),
        (
            "lifetime",
            json!(-1),
            "expected a whole number from 0 to 18446744073709551615",
        ),
        (
            "lifetime",
            json!(1.5),
            "expected a whole number from 0 to 18446744073709551615",
        ),
    ] {
        let said = detail(&asked(name, value), "malformed-member");
        assert_eq!(said, format!("`{name}`: {expected}"));
    }
    let post = |path: &str, body: Value| {
        let said = detail(&api.post(&api.admin, path, &body), "malformed-member");
        sounds_like_us(&said);
        said
    };
    let block = "1.212.555.2XXX";
    for (member, value, expected) in [
        ("parent", json!("x"), "`parent`: expected a UUID"),
        ("parent", json!(1), "`parent`: expected a string"),
        ("lend_on", json!(1), "`lend_on`: expected true or false"),
        ("valid_until", json!(1), "`valid_until`: expected a string"),
    ] {
        let mut body = json!({ "block": block });
        body[member] = value;
        assert_eq!(post("/v1/accounts/acme/delegations", body), expected);
    }
    for (reason, expected) in [
        (
            json!("gone"),
            "`reason`: expected one of ported-out, contaminated, aging, suspended, reserved",
        ),
        (
            json!(1),
            "`reason`: expected one of ported-out, contaminated, aging, suspended, reserved",
        ),
    ] {
        let body = json!({ "block": block, "reason": reason });
        assert_eq!(post("/v1/exclusions", body), expected);
    }
    for (member, value, expected) in [
        ("accounts", json!("acme"), "`accounts`: expected an array"),
        ("accounts", json!([1]), "`accounts`: expected a string"),
        ("allow_from", json!({}), "`allow_from`: expected an array"),
    ] {
        let mut body = json!({ "role": "account", "accounts": ["acme"] });
        body[member] = value;
        assert_eq!(post("/v1/api-keys", body), expected);
    }
    let count = json!({ "start": "+12125552000", "count": "1000", "reason": "aging" });
    assert_eq!(
        post("/v1/exclusions", count),
        "`count`: expected a whole number from 0 to 18446744073709551615"
    );
}

fn a_body_that_is_no_json_is_told_where_it_is_not(api: Api) {
    let ask = |text: &str| {
        let answer = api.call("POST", &api.acme, "/at/account/acme/token", Some(text));
        detail(&answer, "malformed-json")
    };
    assert_eq!(ask(""), "the body ends before its JSON does");
    assert_eq!(ask("{\"ca\":"), "the body ends before its JSON does");
    assert_eq!(
        ask("{\"ca\": False}"),
        "the body is not JSON: see line 1, column 8"
    );
    let twice = ask("{\"ca\":true,\"ca\":false}");
    assert!(
        twice.starts_with("an object names a member twice"),
        "{twice}"
    );
}

/// No word of serde, of its types, or of a parser.
#[track_caller]
fn sounds_like_us(said: &str) {
    for word in [
        "deserialize",
        "invalid type",
        "invalid value",
        "unknown field",
        "missing field",
        "duplicate field",
        "parsing failed",
        "invalid digit",
        "u16",
        "i64",
    ] {
        assert!(!said.contains(word), "{said}");
    }
}
