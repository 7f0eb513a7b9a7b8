//! The token endpoint (RFC 9448 §5.5) over HTTP: what it grants, what it refuses, and how.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::x509::X509;
use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Answer, Api, LIMIT, asking, openssl_accepts};

both!(
    a_token_says_what_was_asked_and_openssl_accepts_it,
    the_body_may_stand_under_atc,
    without_credentials_nothing_else_is_looked_at,
    what_may_not_be_told_apart_is_byte_for_byte_one_answer,
    each_refused_range_is_named,
    the_one_of_many_that_is_not_theirs_is_named,
    policy_has_its_codes,
);

fn part(token: &str, n: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(token.split('.').nth(n).expect("a part"))
        .expect("base64url")
}

/// Signature and claims, with openssl alone.
fn a_token_says_what_was_asked_and_openssl_accepts_it(api: Api) {
    let asked = asking(&["one:12125551001", "range:12125551100+50"]);
    let answer = api.ask(&asked);
    let issued = answer.with(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));

    let token = member(&issued, "token");
    let header: Value = serde_json::from_slice(&part(token, 0)).expect("JSON");
    let x5u = member(&header, "x5u")
        .strip_prefix("https://authority.example")
        .expect("our URL");
    let chain = api.get("", x5u);
    assert_eq!(chain.status, 200);
    assert_eq!(
        chain.header("content-type"),
        Some("application/pem-certificate-chain")
    );
    assert_eq!(
        chain.header("cache-control"),
        Some("public, max-age=300, immutable")
    );
    let leaf = &X509::stack_from_pem(&chain.body).expect("PEM")[0];
    assert!(openssl_accepts(token, leaf));

    let claims: Value = serde_json::from_slice(&part(token, 1)).expect("JSON");
    assert_eq!(claims["atc"], asked);
    assert_eq!(claims["jti"], issued["jti"]);
    assert_eq!(claims["exp"], api.world.in_seconds(3600).timestamp());
    assert_eq!(issued["expires"], "2026-01-01T01:00:00Z");

    let grant = api
        .get(
            &api.auditor,
            &format!("/v1/grants/{}", member(&issued, "jti")),
        )
        .with(200);
    assert_eq!(
        grant["request_id"],
        answer.header("x-request-id").expect("an id")
    );
    assert_eq!(
        (&grant["state"], &grant["account"]),
        (&json!("active"), &json!("acme"))
    );
    assert_eq!(
        grant["numbers"],
        json!([
            { "start": "+12125551001", "count": 1 }, { "start": "+12125551100", "count": 50 },
        ])
    );
}

fn the_body_may_stand_under_atc(api: Api) {
    let asked = asking(&["one:12125551001"]);
    api.ask(&json!({ "atc": asked })).with(200);
    let mut defaults = asked.clone();
    defaults.as_object_mut().expect("an object").remove("ca");
    api.ask(&defaults).with(200);
    let mut both = asked.clone();
    both["atc"] = asked.clone();
    for wrong in [
        both,
        json!({ "atc": asked, "lifetime": 600 }),
        json!({ "atc": { "atc": asked } }),
    ] {
        let status = api.ask(&wrong).status;
        assert_eq!(status, 400, "{wrong}");
    }
    api.ask(&json!({ "atc": [] }))
        .problem(400, "malformed-member");
    api.ask(&json!([asked])).problem(400, "malformed-member");
}

fn without_credentials_nothing_else_is_looked_at(api: Api) {
    let path = "/at/account/acme/token";
    let asked = asking(&["one:12125551001"]);
    for answer in [
        api.post("", path, &asked),
        api.send("POST", path, "", b"not json"),
        api.send(
            "POST",
            path,
            "content-type: text/plain\r\n",
            &vec![b'['; LIMIT + 1],
        ),
        api.post("", "/at/account/nobody/token", &asked),
        api.get("", "/v1/accounts"),
    ] {
        answer.problem(401, "unauthorized");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"tn-authority\"")
        );
    }
    // A body that is not looked at makes no difference to invalid credentials either.
    for head in [
        "authorization: Bearer nonsense\r\n",
        "authorization: Basic YTpi\r\n",
        "authorization:\r\n",
    ] {
        api.send("POST", path, head, b"not json")
            .problem(403, "forbidden");
    }
}

fn what_may_not_be_told_apart_is_byte_for_byte_one_answer(api: Api) {
    let asked = asking(&["one:12125551001"]);
    let at = |key: &str, id: &str| api.post(key, &format!("/at/account/{id}/token"), &asked);
    let one = at(&api.acme, "other");
    one.problem(403, "forbidden");
    // A key by chance may end with the letter that is put there.
    let (rest, last) = api.acme.split_at(api.acme.len() - 1);
    let almost = format!("{rest}{}", if last == "A" { "E" } else { "A" });
    let head = |lines: &str| {
        let head = format!("{lines}content-type: application/json\r\n");
        api.send(
            "POST",
            "/at/account/acme/token",
            &head,
            asked.to_string().as_bytes(),
        )
    };
    let twice = format!(
        "authorization: Bearer {0}\r\nauthorization: Bearer {0}\r\n",
        api.acme
    );
    let mut answers = vec![
        at(&api.acme, "nobody"),
        at(&api.acme, "a%2Fb"),
        at(&api.acme, "%00"),
        at(&api.acme, "%FF"),
        at(&api.acme, &"x".repeat(65)),
        at(
            "tna_0000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "acme",
        ),
        at(&almost, "acme"),
        at("nonsense", "acme"),
        at(&api.admin, "nobody"),
        at(&api.auditor, "acme"),
        at(&api.provisioner, "acme"),
        head(&twice),
        head("authorization: Bearer \u{e9}\r\n"),
        // Not even what would be refused for another reason.
        api.post(&api.acme, "/at/account/other/token", &asking(&["spc:1234"])),
        api.get(&api.acme, "/v1/accounts"),
        api.get(&api.acme, "/v1/allocations/not-a-uuid"),
        api.post(&api.auditor, "/v1/allocations", &json!({ "nonsense": 1 })),
    ];
    api.post(&api.provisioner, "/v1/accounts/acme/suspend", &json!({}))
        .with(200);
    answers.push(at(&api.acme, "acme"));
    for (n, other) in answers.iter().enumerate() {
        assert_eq!(other.without_id(), one.without_id(), "answer {n}");
        assert_ne!(other.header("x-request-id"), one.header("x-request-id"));
    }
}

/// The refused parts: `(start, count, code)`.
fn refused(answer: &Answer) -> Vec<(String, u64, String)> {
    let problem = answer.problem(403, "not-authorized");
    let subproblems = items(&problem["subproblems"]).iter();
    let named = subproblems.map(|part| {
        assert_eq!(
            part["type"],
            format!("urn:tn-authority:problem:{}", member(part, "code"))
        );
        let numbers = &part["identifier"];
        (
            member(numbers, "start").to_owned(),
            numbers["count"].as_u64().expect("a count"),
            member(part, "code").to_owned(),
        )
    });
    named.collect()
}

fn each_refused_range_is_named(api: Api) {
    let starts_inside = api.ask(&asking(&["range:12125551890+20"]));
    assert_eq!(
        refused(&starts_inside),
        [("+12125551900".to_owned(), 10, "not-delegated".to_owned())]
    );
    let ends_inside = api.ask(&asking(&["range:12125550990+20"]));
    assert_eq!(
        refused(&ends_inside),
        [("+12125550990".to_owned(), 10, "not-delegated".to_owned())]
    );
    let mut ca = asking(&["one:12125551001"]);
    ca["ca"] = json!(true);
    assert_eq!(
        refused(&api.ask(&ca)),
        [("+12125551001".to_owned(), 1, "ca-not-delegated".to_owned())]
    );

    let ported = json!({ "start": "+12125551010", "count": 2, "reason": "ported-out" });
    api.post(&api.provisioner, "/v1/exclusions", &ported)
        .with(201);
    let around = api.ask(&asking(&["range:12125551000+20"]));
    assert_eq!(
        refused(&around),
        [("+12125551010".to_owned(), 2, "ported-out".to_owned())]
    );
}

fn the_one_of_many_that_is_not_theirs_is_named(api: Api) {
    const N: usize = 12;
    for k in 0..N {
        let entries: Vec<String> = (0..N)
            .map(|n| format!("one:1212555{}", if n == k { 1950 } else { 1000 + n }))
            .collect();
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let answer = api.ask(&asking(&entries));
        assert_eq!(
            refused(&answer),
            [("+12125551950".to_owned(), 1, "not-delegated".to_owned())],
            "{k}"
        );
    }
    let page = api.get(&api.auditor, "/v1/grants").with(200);
    assert_eq!(page["items"], json!([]));
}

fn policy_has_its_codes(api: Api) {
    let asked = asking(&["one:12125551001"]);
    let living = |seconds: u64| {
        let mut body = asked.clone();
        body["lifetime"] = json!(seconds);
        api.ask(&body)
    };
    for seconds in [0, 1, 299, 86_401, u64::from(u32::MAX) + 1, u64::MAX] {
        living(seconds).problem(403, "lifetime-not-allowed");
    }
    assert_eq!(living(300).with(200)["expires"], "2026-01-01T00:05:00Z");
    living(86_400).with(200);
    api.ask(&asking(&["spc:1234"]))
        .problem(403, "spc-not-allowed");
    let other = api.post(
        &api.admin,
        "/at/account/carrier/token",
        &asking(&["spc:9999"]),
    );
    let problem = other.problem(403, "not-authorized");
    assert_eq!(
        problem["subproblems"][0]["identifier"],
        json!({ "spc": "9999" })
    );
    api.post(
        &api.admin,
        "/at/account/carrier/token",
        &asking(&["spc:1234"]),
    )
    .with(200);
}
