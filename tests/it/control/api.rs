//! Proofs over HTTP: what is answered, and repeated for an idempotency key.

use serde_json::{Value, json};
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::Api;

both!(
    a_number_is_proven_over_http,
    refusals_name_each_number,
    what_cannot_be_read_is_said,
    lists_come_in_pages,
    a_repeated_request_asks_once,
    a_repeated_wrong_code_is_counted_once,
    what_is_no_code_uses_up_no_try,
    guesses_at_a_proof_that_is_over_are_summed,
    the_carrier_overrides_limits_for_a_reason,
);

const START: &str = "/v1/accounts/acme/control-proofs";

fn asking(numbers: &[&str]) -> Value {
    json!({ "numbers": numbers, "method": "sms" })
}

fn path(proof: &Value) -> String {
    format!("/v1/control-proofs/{}", member(proof, "id"))
}

fn code(api: &Api, proof: &Value) -> String {
    let id = member(proof, "id").parse().expect("an id");
    api.world.code_of(&api.world.proof_of(id))
}

fn a_number_is_proven_over_http(api: Api) {
    let started = api
        .post(&api.acme, START, &asking(&["+12125551002", "+12125551001"]))
        .with(201);
    let first = &items(&started["items"])[0];
    let names: Vec<&String> = first.as_object().expect("an object").keys().collect();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("code") || name.contains("hash")),
        "{names:?}"
    );
    for (name, value) in [
        ("number", json!("+12125551002")),
        ("account", json!("acme")),
        ("method", json!("sms")),
        ("gateway", json!("sms-gateway")),
        ("state", json!("pending")),
        ("tries_left", json!(5)),
        ("started_at", json!("2026-01-01T00:00:00Z")),
        ("expires_at", json!("2026-01-01T00:10:00Z")),
        ("confirmed_at", json!(null)),
        ("ends_at", json!(null)),
        ("fingerprint", json!(null)),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    assert_eq!(api.get(&api.acme, &path(first)).with(200), *first);
    let right = code(&api, first);
    let confirm = path(first) + "/confirm";
    let wrong = json!({ "code": crate::support::control::wrong(&right) });
    let problem = api
        .post(&api.acme, &confirm, &wrong)
        .problem(403, "code-not-accepted");
    assert_eq!(
        problem["detail"],
        "the code is not accepted; 4 more tries are left"
    );
    assert_eq!(
        api.get(&api.auditor, &path(first)).with(200)["tries_left"],
        4
    );
    api.world.seconds_pass(20);
    let confirmed = api
        .post(&api.acme, &confirm, &json!({ "code": right }))
        .with(200);
    assert_eq!(
        (&confirmed["state"], confirmed.get("tries_left")),
        (&json!("confirmed"), None)
    );
    assert_eq!(confirmed["confirmed_at"], "2026-01-01T00:00:20Z");
    assert_eq!(confirmed["confirmed_by"], confirmed["started_by"]);
    let excluded = json!({ "start": "+12125551002", "count": 1, "reason": "ported-out" });
    api.post(&api.provisioner, "/v1/exclusions", &excluded)
        .with(201);
    let ended = api.get(&api.acme, &path(first)).with(200);
    assert_eq!(
        (&ended["state"], &ended["end_reason"]),
        (&json!("ended"), &json!("number-excluded"))
    );
    assert_eq!(ended["ends_at"], "2026-01-01T00:00:20Z");
}

fn refusals_name_each_number(api: Api) {
    let problem = api
        .post(
            &api.acme,
            START,
            &asking(&["+12125551001", "+12125551950", "+13105550000"]),
        )
        .problem(403, "not-authorized");
    let named = items(&problem["subproblems"]).iter();
    let named: Vec<_> = named
        .map(|one| (member(one, "code"), member(&one["identifier"], "start")))
        .collect();
    assert_eq!(
        named,
        [
            ("not-delegated", "+12125551950"),
            ("not-delegated", "+13105550000")
        ]
    );
    api.post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let problem = api
        .post(&api.acme, START, &asking(&["+12125551001"]))
        .problem(409, "proof-pending");
    assert_eq!(problem["subproblems"][0]["code"], "proof-pending");
    assert_eq!(
        problem["subproblems"][0]["detail"],
        "a code can still be returned until 2026-01-01T00:10:00Z"
    );
    for _ in 0..2 {
        api.world.seconds_pass(600);
        api.post(&api.acme, START, &asking(&["+12125551001"]))
            .with(201);
    }
    api.world.seconds_pass(600);
    let answer = api.post(&api.acme, START, &asking(&["+12125551001"]));
    let problem = answer.problem(429, "too-many-proofs");
    assert_eq!(answer.header("retry-after"), Some("1800"));
    assert_eq!(
        problem["subproblems"][0]["detail"],
        "it was asked too often; retry in 1800 s"
    );
    api.post(
        &api.acme,
        "/v1/accounts/other/control-proofs",
        &asking(&["+12125551001"]),
    )
    .problem(404, "unknown-account");
}

fn what_cannot_be_read_is_said(api: Api) {
    for (body, code, detail) in [
        (
            json!({ "numbers": ["+12125551001"] }),
            "missing-member",
            "the member `method` is missing",
        ),
        (
            asking(&[]),
            "how-many-numbers",
            "a request names 1 to 100 numbers",
        ),
        (
            json!({ "numbers": ["12125551001"], "method": "sms" }),
            "malformed-member",
            "numbers",
        ),
        (
            json!({ "numbers": ["+12125551001"], "method": "fax" }),
            "malformed-member",
            "method",
        ),
        (
            json!({ "numbers": ["+12125551001"], "method": "sip" }),
            "malformed-member",
            "fingerprint",
        ),
        (
            json!({ "numbers": ["+12125551001"], "method": "sip", "fingerprint": "x" }),
            "malformed-fingerprint",
            "",
        ),
    ] {
        let problem = api.post(&api.acme, START, &body).problem(400, code);
        let said = member(&problem, "detail");
        assert!(said.contains(detail), "{said}");
    }
    let started = api
        .post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let confirm = path(&items(&started["items"])[0]) + "/confirm";
    for body in [
        json!({}),
        json!({ "code": 123_456 }),
        json!({ "code": "1", "more": 1 }),
    ] {
        assert_eq!(api.post(&api.acme, &confirm, &body).status, 400, "{body}");
    }
    let long = json!({ "code": "1".repeat(10_000) });
    api.post(&api.acme, &confirm, &long)
        .problem(400, "malformed-member");
    api.get(&api.acme, "/v1/control-proofs/x")
        .problem(404, "not-found");
}

fn lists_come_in_pages(api: Api) {
    let numbers: Vec<String> = (1..=5).map(|n| format!("+1212555100{n}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let started = api.post(&api.acme, START, &asking(&numbers)).with(201);
    let first = api.get(&api.auditor, &format!("{START}?limit=3")).with(200);
    let cursor = member(&first, "next_cursor");
    let second = api
        .get(&api.auditor, &format!("{START}?limit=3&cursor={cursor}"))
        .with(200);
    let all: Vec<_> = items(&first["items"])
        .iter()
        .chain(items(&second["items"]))
        .map(|one| &one["id"])
        .collect();
    let expected: Vec<_> = items(&started["items"])
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!((all, &second["next_cursor"]), (expected, &json!(null)));
    api.get(&api.auditor, "/v1/accounts/nobody/control-proofs")
        .problem(404, "unknown-account");
    let renewer = api.key(Role::Renewer, &["acme"]);
    api.get(&renewer, START).problem(404, "unknown-account");
}

fn a_repeated_request_asks_once(api: Api) {
    let first = api.once("again", &api.acme, START, &asking(&["+12125551001"]));
    assert_eq!(first.status, 201);
    api.once("again", &api.acme, START, &asking(&["+12125551001"]))
        .repeats(&first);
    let all = api.get(&api.acme, START).with(200);
    assert_eq!(items(&all["items"]).len(), 1);
    let refused = api.once("refused", &api.acme, START, &asking(&["+12125551001"]));
    refused.problem(409, "proof-pending");
    api.world.seconds_pass(30);
    api.once("refused", &api.acme, START, &asking(&["+12125551001"]))
        .repeats(&refused);
}

fn a_repeated_wrong_code_is_counted_once(api: Api) {
    let started = api
        .post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let proof = &items(&started["items"])[0];
    let (right, confirm) = (code(&api, proof), path(proof) + "/confirm");
    let wrong = json!({ "code": crate::support::control::wrong(&right) });
    let first = api.once("wrong", &api.acme, &confirm, &wrong);
    first.problem(403, "code-not-accepted");
    for _ in 0..10 {
        api.once("wrong", &api.acme, &confirm, &wrong)
            .repeats(&first);
    }
    assert_eq!(api.get(&api.acme, &path(proof)).with(200)["tries_left"], 4);
    let done = api.once("right", &api.acme, &confirm, &json!({ "code": right }));
    assert_eq!(done.status, 200);
    api.once("right", &api.acme, &confirm, &json!({ "code": right }))
        .repeats(&done);
    // Also when there is nothing more to compare.
    let late = api.once("late", &api.acme, &confirm, &wrong);
    late.problem(403, "code-not-accepted");
    api.once("late", &api.acme, &confirm, &wrong).repeats(&late);
}

fn what_is_no_code_uses_up_no_try(api: Api) {
    let started = api
        .post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let proof = &items(&started["items"])[0];
    let confirm = path(proof) + "/confirm";
    let right = code(&api, proof);
    for slip in [
        "",
        "O12345",
        "12345",
        "123456789",
        "12 345",
        "\u{661}\u{662}\u{663}",
    ] {
        let body = json!({ "code": slip });
        let problem = api
            .post(&api.acme, &confirm, &body)
            .problem(400, "malformed-member");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(
            detail.contains("the 6 to 8 digits that the number got"),
            "{detail}"
        );
    }
    let shown = api.get(&api.acme, &path(proof)).with(200);
    assert_eq!(shown["tries_left"], 5);
    api.post(&api.acme, &confirm, &json!({ "code": right }))
        .with(200);
}

fn guesses_at_a_proof_that_is_over_are_summed(api: Api) {
    let started = api
        .post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let proof = &items(&started["items"])[0];
    let (right, confirm) = (code(&api, proof), path(proof) + "/confirm");
    let wrong = json!({ "code": crate::support::control::wrong(&right) });
    api.post(&api.acme, &confirm, &json!({ "code": right }))
        .with(200);
    // With a key of their own, each is a request of its own.
    for n in 0..25 {
        let refused = match n % 2 {
            0 => api.post(&api.acme, &confirm, &wrong),
            _ => api.once(&format!("guess-{n}"), &api.acme, &confirm, &wrong),
        };
        refused.problem(403, "code-not-accepted");
    }
    let refusals = || {
        let trail = api.world.trail(member(proof, "id")).into_iter();
        let refusals = trail.filter(|event| event.outcome == "code-not-accepted");
        refusals
            .map(|event| event.detail["count"].as_u64())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        refusals(),
        [None; 10],
        "ten a second are recorded one by one"
    );
    api.world.seconds_pass(1);
    let written = api
        .world
        .authority
        .store()
        .write_refusal_sums(api.world.now(), false);
    crate::support::wait(written).expect("written");
    assert_eq!(refusals()[10..], [Some(15)]);
}

fn the_carrier_overrides_limits_for_a_reason(api: Api) {
    api.post(&api.acme, START, &asking(&["+12125551001"]))
        .with(201);
    let with = |more: Value| {
        let mut body = asking(&["+12125551001"]);
        let members = body.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        body
    };
    let by_whom = with(json!({ "override_limits": true, "reason": "a stolen key" }));
    api.post(&api.acme, START, &by_whom)
        .problem(403, "forbidden");
    for (more, member) in [
        (json!({ "override_limits": true }), "must say why"),
        (
            json!({ "override_limits": true, "reason": "" }),
            "must say why",
        ),
        (
            json!({ "reason": "no idea" }),
            "is only for `override_limits`",
        ),
    ] {
        let problem = api
            .post(&api.provisioner, START, &with(more))
            .problem(400, "malformed-member");
        assert!(
            problem["detail"]
                .as_str()
                .expect("a detail")
                .contains(member),
            "{problem}"
        );
    }
    let refused = api.post(&api.provisioner, START, &asking(&["+12125551001"]));
    refused.problem(409, "proof-pending");
    let started = api.post(&api.provisioner, START, &by_whom).with(201);
    let proof = &items(&started["items"])[0];
    let cancel = path(proof) + "/cancel";
    let cancelled = api.post(&api.acme, &cancel, &json!({})).with(200);
    assert_eq!(
        (&cancelled["state"], &cancelled["end_reason"]),
        (&json!("failed"), &json!("cancelled"))
    );
    api.post(&api.acme, &cancel, &json!({})).with(200);
    let other = api
        .post(&api.acme, START, &asking(&["+12125551002"]))
        .with(201);
    let proof = &items(&other["items"])[0];
    api.world.seconds_pass(600);
    let late = api.post(&api.acme, &(path(proof) + "/cancel"), &json!({}));
    late.problem(409, "not-pending");
}
