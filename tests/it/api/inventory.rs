//! Accounts and inventory over HTTP.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    accounts_are_put_shown_suspended_and_resumed,
    an_allocation_comes_and_goes,
    a_delegation_comes_and_goes,
    an_exclusion_comes_and_goes,
    lists_come_in_pages,
    malformed_requests_are_told_what_is_wrong,
    roles_read_and_change_what_they_may,
);

fn accounts_are_put_shown_suspended_and_resumed(api: Api) {
    let key = &api.provisioner;
    let made = api
        .put(
            key,
            "/v1/accounts/new~1",
            &json!({ "name": "Zoë", "parent": "acme" }),
        )
        .with(201);
    assert_eq!(
        made,
        json!({
            "id": "new~1", "name": "Zoë", "parent": "acme", "created_at": "2026-01-01T00:00:00Z", "suspended_since": null, "lifetime": "proof", "dialect": "strict",
        })
    );
    let renamed = api
        .put(key, "/v1/accounts/new~1", &json!({ "name": "Zoe" }))
        .with(200);
    assert_eq!(
        (&renamed["name"], &renamed["parent"]),
        (&json!("Zoe"), &json!("acme"))
    );
    assert_eq!(api.get(key, "/v1/accounts/new~1").with(200), renamed);
    api.put(key, "/v1/accounts/new~1", &json!({ "parent": "other" }))
        .problem(409, "parent-change");
    api.put(key, "/v1/accounts/self", &json!({ "parent": "self" }))
        .problem(409, "own-parent");
    api.put(key, "/v1/accounts/orphan", &json!({ "parent": "nobody" }))
        .problem(404, "unknown-account");
    api.put(key, "/v1/accounts/a%20b", &json!({}))
        .problem(400, "malformed-path");
    for name in [
        json!(1),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("x".repeat(257)),
    ] {
        api.put(key, "/v1/accounts/acme", &json!({ "name": name }))
            .problem(400, "malformed-member");
    }

    let jti = member(&api.ask(&asking(&["one:12125551001"])).with(200), "jti").to_owned();
    let suspended = api
        .call("POST", key, "/v1/accounts/acme/suspend", None)
        .with(200);
    assert_eq!(suspended["suspended_since"], "2026-01-01T00:00:00Z");
    assert_eq!(suspended["outstanding_grants"][0]["jti"], jti);
    assert_eq!(suspended.get("outstanding_grants_more"), None);
    let resumed = api
        .post(key, "/v1/accounts/acme/resume", &json!({}))
        .with(200);
    assert_eq!(resumed["suspended_since"], Value::Null);
    for path in [
        "/v1/accounts/nobody",
        "/v1/accounts/%00",
        "/v1/accounts/nobody/delegations",
    ] {
        assert_eq!(api.get(key, path).status, 404, "{path}");
    }
    api.post(key, "/v1/accounts/nobody/suspend", &json!({}))
        .problem(404, "unknown-account");
    api.post(key, "/v1/accounts/acme/suspend", &json!({ "at": null }))
        .problem(400, "unknown-member");
}

fn an_allocation_comes_and_goes(api: Api) {
    let key = &api.provisioner;
    let new = json!({ "spc": "1234", "block": "1.212.555.2XXX", "basis": "block", "valid_until": "2027-01-01T01:00:00+01:00" });
    let answer = api.post(key, "/v1/allocations", &new);
    let made = answer.with(201);
    assert_eq!(
        (&made["start"], &made["count"]),
        (&json!("+12125552000"), &json!(1000))
    );
    assert_eq!(
        (&made["version"], &made["basis"]),
        (&json!(1), &json!("block"))
    );
    assert_eq!(made["recorded_at"], "2026-01-01T00:00:00Z");
    assert_eq!(made["valid_until"], "2027-01-01T00:00:00Z");
    let location = answer.header("location").expect("a location");
    assert_eq!(api.get(key, location).with(200), made);

    let problem = api
        .post(key, "/v1/allocations", &new)
        .problem(409, "overlap");
    assert_eq!(
        problem["subproblems"][0]["identifier"],
        json!({ "start": "+12125552000", "count": 1000 })
    );
    let with = |name: &str, value: Value| {
        let mut body = new.clone();
        body[name] = value;
        api.post(key, "/v1/allocations", &body)
    };
    with("spc", json!("9999")).problem(400, "spc-not-held");
    with("valid_until", json!("2025-12-31T00:00:00Z")).problem(400, "window");
    with("basis", json!("stolen")).problem(400, "malformed-member");
    for time in [
        "2027-01-01",
        "2027-01-01T00:00:00.5Z",
        "2027-01-01T00:00:60Z",
        "tomorrow",
        "2027-01-01T00:00:00",
    ] {
        with("valid_until", json!(time)).problem(400, "malformed-member");
    }
    let over = json!({ "spc": "1234", "block": "1.212.555.3XXX", "basis": "block",
        "valid_from": "2025-01-01T00:00:00Z", "valid_until": "2025-12-01T00:00:00Z" });
    api.post(key, "/v1/allocations", &over)
        .problem(400, "window-over");

    let ended = api
        .post(
            key,
            &format!("{location}/return"),
            &json!({ "at": "2026-06-01T00:00:00Z" }),
        )
        .with(200);
    assert_eq!(
        (&ended["valid_until"], &ended["version"]),
        (&json!("2026-06-01T00:00:00Z"), &json!(2))
    );
    assert_eq!(ended["outstanding_grants"], json!([]));
    api.call("POST", key, &format!("{location}/return"), None)
        .with(200);
    let nothing = "/v1/allocations/00000000-0000-4000-8000-000000000000";
    for path in [nothing, "/v1/allocations/nonsense"] {
        api.get(key, path).problem(404, "not-found");
        api.call("POST", key, &format!("{path}/return"), None)
            .problem(404, "not-found");
    }
}

fn a_delegation_comes_and_goes(api: Api) {
    let key = &api.provisioner;
    let new = json!({ "block": "1.212.555.19XX", "ca": true, "reference": "order 4711" });
    let answer = api.post(key, "/v1/accounts/other/delegations", &new);
    let made = answer.with(201);
    assert_eq!(
        (&made["account"], &made["ca"], &made["reference"]),
        (&json!("other"), &json!(true), &json!("order 4711"))
    );
    let location = answer.header("location").expect("a location");
    assert_eq!(api.get(key, location).with(200), made);
    assert_eq!(
        api.get(key, "/v1/accounts/other/delegations").with(200)["items"],
        json!([made])
    );

    api.post(key, "/v1/accounts/acme/delegations", &new)
        .problem(409, "overlap");
    api.post(key, "/v1/accounts/nobody/delegations", &new)
        .problem(404, "unknown-account");
    let partly = json!({ "start": "+12125551990", "count": 20 });
    let problem = api
        .post(key, "/v1/accounts/other/delegations", &partly)
        .problem(409, "not-allocated");
    assert_eq!(
        problem["subproblems"][0]["identifier"],
        json!({ "start": "+12125552000", "count": 10 })
    );

    let mut asked = asking(&["one:12125551901"]);
    asked["ca"] = json!(true);
    let token = api
        .post(&api.admin, "/at/account/other/token", &asked)
        .with(200);
    let ended = api
        .call("POST", key, &format!("{location}/end"), None)
        .with(200);
    assert_eq!(ended["outstanding_grants"][0]["jti"], token["jti"]);
    api.post(&api.admin, "/at/account/other/token", &asked)
        .problem(403, "not-authorized");
}

fn an_exclusion_comes_and_goes(api: Api) {
    let key = &api.provisioner;
    let asked = asking(&["one:12125551001"]);
    let token = api.ask(&asked).with(200);
    let new = json!({ "start": "+12125551001", "count": 1, "reason": "suspended" });
    let answer = api.post(key, "/v1/exclusions", &new);
    let made = answer.with(201);
    assert_eq!(made["outstanding_grants"][0]["jti"], token["jti"]);
    let location = answer.header("location").expect("a location");
    assert_eq!(api.get(key, location).with(200)["reason"], "suspended");
    assert_eq!(
        items(&api.get(key, "/v1/exclusions").with(200)["items"]).len(),
        1
    );
    api.ask(&asked).problem(403, "not-authorized");
    api.world.seconds_pass(60);
    api.call("POST", key, &format!("{location}/end"), None)
        .with(200);
    api.ask(&asked).with(200);
}

fn lists_come_in_pages(api: Api) {
    for n in 0..7 {
        api.put(&api.provisioner, &format!("/v1/accounts/n{n}"), &json!({}))
            .with(201);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api
            .get(&api.auditor, &format!("/v1/accounts?limit=3{cursor}"))
            .with(200);
        seen.extend(
            items(&page["items"])
                .iter()
                .map(|account| member(account, "id").to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        seen,
        [
            "acme", "carrier", "n0", "n1", "n2", "n3", "n4", "n5", "n6", "other"
        ]
    );
}

fn malformed_requests_are_told_what_is_wrong(api: Api) {
    let post = |numbers: &str| {
        let body = format!("{{{numbers},\"reason\":\"aging\"}}");
        api.call("POST", &api.provisioner, "/v1/exclusions", Some(&body))
    };
    for (numbers, word) in [
        (r#""start":"+12125551000""#, "count"),
        (r#""count":1"#, "start"),
        (r#""block":"1.212.555.1XXX","count":1"#, "block"),
        (r#""block":"1.212.555.1000""#, "block"),
        (r#""block":"(212) 555-1XXX""#, "block"),
        (r#""start":"12125551000","count":1"#, "start"),
        (r#""start":12125551000,"count":1"#, "start"),
        (r#""start":"+1２12","count":1"#, "start"),
        (r#""start":"+999999999999999","count":2"#, "count"),
        (r#""start":"+99","count":2"#, "count"),
        (r#""block":"999999999999999X""#, "block"),
        (r#""block":["1.212.555.1XXX"]"#, "block"),
    ] {
        let answer = post(numbers);
        let problem = answer.with(400);
        assert!(
            member(&problem, "detail").contains(word),
            "{numbers}: {problem}"
        );
    }
    api.post(
        &api.provisioner,
        "/v1/exclusions",
        &json!({ "start": "+99", "count": 1, "reason": "stolen" }),
    )
    .problem(400, "malformed-member");
    api.post(
        &api.provisioner,
        "/v1/exclusions",
        &json!({ "start": "+99", "count": 1 }),
    )
    .problem(400, "missing-member");
}

fn roles_read_and_change_what_they_may(api: Api) {
    for key in [&api.admin, &api.provisioner, &api.auditor] {
        for path in [
            "/v1/accounts",
            "/v1/allocations",
            "/v1/exclusions",
            "/v1/accounts/acme/delegations",
            "/v1/grants",
        ] {
            api.get(key, path).with(200);
        }
    }
    api.put(&api.admin, "/v1/accounts/made-by-admin", &json!({}))
        .with(201);
    for key in [&api.auditor, &api.acme] {
        api.put(key, "/v1/accounts/acme", &json!({}))
            .problem(403, "forbidden");
        api.post(key, "/v1/allocations", &json!({}))
            .problem(403, "forbidden");
    }
}
