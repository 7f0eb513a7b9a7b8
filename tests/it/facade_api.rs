//! The facade in the shape of an STI-PA, as HTTP sees it: what it grants is what the token endpoint grants.

use serde_json::{Value, json};
use tn_authority::domain::Role;

use crate::fixtures::member;
use crate::service::{ACCESS, Answer, Api, CRL, asking, asking_tkvalue};
use crate::support::{Kind, wait};

both!(
    it_is_not_there_unless_switched_on,
    a_carrier_logs_in_and_gets_a_token_for_its_own_code,
    it_decides_as_the_token_endpoint_does,
    no_answer_tells_whether_a_user_exists,
    an_access_token_ends_with_its_time_and_with_its_key,
    an_access_token_is_no_api_key_and_the_other_way_round,
    bad_bodies_are_told,
    a_flood_of_logins_is_held_up,
    it_serves_pem_to_clients_that_ask_for_one_certificate,
);

const LOGIN: &str = "/api/v1/auth/login";
const TOKEN: &str = "/api/v1/account/carrier/token";
/// The code 1234, as STI-PA clients write it.
const SPC: &str = "MAigBhYEMTIzNA==";

fn with_facade(kind: Kind) -> Api {
    let api = Api::with_facade(kind.into(), Some(10_000));
    api.put(
        &api.provisioner,
        "/v1/accounts/carrier",
        &json!({ "dialect": "legacy" }),
    )
    .with(200);
    api
}

/// The user id and the password that an API key is.
fn parts(key: &str) -> (&str, &str) {
    let mut parts = key.splitn(3, '_').skip(1);
    (
        parts.next().expect("an id"),
        parts.next().expect("a secret"),
    )
}

fn log_in(api: &Api, user: &str, password: &str) -> Answer {
    api.post("", LOGIN, &json!({ "userId": user, "password": password }))
}

fn access(api: &Api, key: &str) -> String {
    let (user, password) = parts(key);
    let answer = log_in(api, user, password).with(200);
    member(&answer, "accessToken").to_owned()
}

fn ask(api: &Api, authorization: &str, path: &str, body: &Value) -> Answer {
    let head = format!("authorization: {authorization}\r\ncontent-type: application/json\r\n");
    api.send("POST", path, &head, body.to_string().as_bytes())
}

fn spc() -> Value {
    json!({ "atc": asking_tkvalue(SPC) })
}

fn it_is_not_there_unless_switched_on(api: Api) {
    log_in(&api, "x", "y").problem(404, "not-found");
    ask(&api, "x", TOKEN, &spc()).problem(404, "not-found");
    for method in ["GET", "PUT", "POST"] {
        for path in [LOGIN, TOKEN] {
            api.call(method, &api.admin, path, None)
                .problem(404, "not-found");
        }
    }
}

fn a_carrier_logs_in_and_gets_a_token_for_its_own_code(kind: Kind) {
    let api = with_facade(kind);
    let key = api.key(Role::Account, &["carrier"]);
    let (user, password) = parts(&key);
    let logged_in = log_in(&api, user, password);
    assert_eq!(logged_in.header("cache-control"), Some("no-store"));
    let logged_in = logged_in.with(200);
    assert_eq!(logged_in["status"], "success");
    assert!(logged_in["message"].is_string());
    // The whole key is as good as its secret.
    log_in(&api, user, &key).with(200);

    let answer = ask(&api, member(&logged_in, "accessToken"), TOKEN, &spc());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let issued = answer.with(200);
    assert_eq!(issued["status"], "success");
    assert_eq!(issued["crl"], CRL);
    let token = member(&issued, "token");
    tn_authority::verifier::lint(token, tn_authority::domain::Dialect::Legacy).expect("a token");

    let grants = api.world.grants();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].caller, user);
    assert_eq!(grants[0].tkvalue.text(), SPC);
    let request = answer.header("x-request-id").expect("an id");
    assert_eq!(grants[0].request_id.to_string(), request);
    let told = api.world.trail("carrier");
    let issued = told.iter().filter(|event| event.action == "issue");
    assert_eq!(issued.map(|e| &e.outcome).collect::<Vec<_>>(), ["done"]);

    // A portal that was given the account may as well.
    let portal = access(&api, &api.key(Role::Portal, &["acme", "carrier"]));
    ask(&api, &portal, TOKEN, &spc()).with(200);
}

fn it_decides_as_the_token_endpoint_does(kind: Kind) {
    let api = with_facade(kind);
    let carrier = access(&api, &api.key(Role::Account, &["carrier"]));
    let acme = access(&api, &api.acme);
    let of = |account: &str| format!("/api/v1/account/{account}/token");
    let atc = |entries: &[&str]| json!({ "atc": asking(entries) });
    ask(&api, &acme, &of("acme"), &atc(&["one:12125551001"])).with(200);
    ask(&api, &acme, &of("acme"), &atc(&["one:12125551950"])).problem(403, "not-authorized");
    ask(&api, &acme, &of("acme"), &atc(&["spc:1234"])).problem(403, "spc-not-allowed");
    // `acme` is strict, whatever way it comes.
    for padded in [SPC, "MA+iDRYLMTIxMjU1NTEwMDE="] {
        let body = json!({ "atc": asking_tkvalue(padded) });
        ask(&api, &acme, &of("acme"), &body).problem(400, "malformed-tkvalue");
    }
    ask(&api, &carrier, TOKEN, &atc(&["spc:9999"])).problem(403, "not-authorized");
    let one = ask(&api, &acme, TOKEN, &spc());
    one.problem(403, "forbidden");
    for account in ["nobody", "other", "%20", "x%2fy"] {
        let other = ask(&api, &acme, &of(account), &spc());
        assert_eq!(other.without_id(), one.without_id(), "{account}");
    }
    api.post(&api.provisioner, "/v1/accounts/carrier/suspend", &json!({}))
        .with(200);
    ask(&api, &carrier, TOKEN, &spc()).problem(403, "forbidden");
}

fn no_answer_tells_whether_a_user_exists(kind: Kind) {
    let api = with_facade(kind);
    let (key, other) = (
        api.key(Role::Account, &["carrier"]),
        api.key(Role::Account, &["acme"]),
    );
    let ((user, password), (_, others)) = (parts(&key), parts(&other));
    let revoked = api.key(Role::Account, &["carrier"]);
    assert!(wait(api.service.callers.revoke(parts(&revoked).0.to_owned())).expect("revoked"));
    let one = log_in(&api, "0123456789abcdef", password);
    one.problem(403, "forbidden");
    for (user, password) in [
        (user, others),
        (user, ""),
        (user, &key[..key.len() - 1]),
        (user, &other),
        ("", password),
        ("carrier", password),
        (&user.to_uppercase(), password),
        (&format!("{user}_{password}"), ""),
        (&format!("tna_{user}"), password),
        ("\u{0}", "\u{0}"),
        ("' OR 1=1 --", "x"),
        (parts(&revoked).0, parts(&revoked).1),
    ] {
        let answer = log_in(&api, user, password);
        assert_eq!(answer.without_id(), one.without_id(), "{user:?}");
    }
    log_in(&api, user, password).with(200);
}

fn an_access_token_ends_with_its_time_and_with_its_key(kind: Kind) {
    let api = with_facade(kind);
    let key = api.key(Role::Account, &["carrier"]);
    let first = access(&api, &key);
    api.world.seconds_pass(i64::from(ACCESS) - 1);
    ask(&api, &first, TOKEN, &spc()).with(200);
    api.world.seconds_pass(1);
    let refused = ask(&api, &first, TOKEN, &spc());
    refused.problem(403, "forbidden");

    let second = access(&api, &key);
    ask(&api, &second, TOKEN, &spc()).with(200);
    assert!(wait(api.service.callers.revoke(parts(&key).0.to_owned())).expect("revoked"));
    let after = ask(&api, &second, TOKEN, &spc());
    assert_eq!(after.without_id(), refused.without_id());
    // Nobody lengthens it, or makes it somebody else's.
    let good = access(&api, &api.acme);
    let mut parts: Vec<String> = good.splitn(4, '_').map(str::to_owned).collect();
    ask(
        &api,
        &parts.join("_"),
        "/api/v1/account/acme/token",
        &json!({ "atc": asking(&["one:12125551001"]) }),
    )
    .with(200);
    let later: i64 = parts[2].parse().expect("seconds");
    parts[2] = (later + 1).to_string();
    ask(&api, &parts.join("_"), TOKEN, &spc()).problem(403, "forbidden");
    parts[2] = later.to_string();
    let proof = parts[3].clone();
    let first = if proof.starts_with('A') { "B" } else { "A" };
    for other in [
        format!("{first}{}", &proof[1..]),
        String::new(),
        "AA".to_owned(),
        proof[..42].to_owned(),
    ] {
        parts[3] = other;
        let path = "/api/v1/account/acme/token";
        ask(
            &api,
            &parts.join("_"),
            path,
            &json!({ "atc": asking(&["one:12125551001"]) }),
        )
        .problem(403, "forbidden");
    }
    for nonsense in [
        "tnf_",
        "tnf___",
        "tnf_x_1_AA",
        "tnf_0123456789abcdef_99999999999999999999_AA",
        "tnf_0123456789abcdef_-1_AA",
        "tnf_0123456789abcdef_9223372036854775807_AA",
    ] {
        ask(&api, nonsense, TOKEN, &spc()).problem(403, "forbidden");
    }
}

fn an_access_token_is_no_api_key_and_the_other_way_round(kind: Kind) {
    let api = with_facade(kind);
    let key = api.key(Role::Account, &["carrier"]);
    let token = access(&api, &key);
    ask(&api, &key, TOKEN, &spc()).problem(403, "forbidden");
    ask(&api, &format!("Bearer {key}"), TOKEN, &spc()).problem(403, "forbidden");
    ask(&api, &format!("Bearer {token}"), TOKEN, &spc()).problem(403, "forbidden");
    let endpoint = "/at/account/carrier/token";
    api.post(&token, endpoint, &spc()).problem(403, "forbidden");
    ask(&api, &token, endpoint, &spc()).problem(403, "forbidden");
    api.get(&token, "/v1/accounts").problem(403, "forbidden");
    let missing = api.post("", TOKEN, &spc());
    missing.problem(401, "unauthorized");
    assert!(missing.header("www-authenticate").is_some());
    let twice = format!(
        "authorization: {token}\r\nauthorization: {token}\r\ncontent-type: application/json\r\n"
    );
    api.send("POST", TOKEN, &twice, spc().to_string().as_bytes())
        .problem(403, "forbidden");
}

fn bad_bodies_are_told(kind: Kind) {
    let api = with_facade(kind);
    let token = access(&api, &api.key(Role::Account, &["carrier"]));
    ask(&api, &token, TOKEN, &asking_tkvalue(SPC)).problem(400, "missing-member");
    ask(&api, &token, TOKEN, &json!({ "atc": null })).problem(400, "malformed-member");
    let mut beside = spc();
    beside["ca"] = json!(false);
    ask(&api, &token, TOKEN, &beside).problem(400, "unknown-member");
    for body in [
        json!({}),
        json!({ "userId": "x" }),
        json!({ "password": "x" }),
    ] {
        api.post("", LOGIN, &body).problem(400, "missing-member");
    }
    for body in [
        json!({ "userId": 1, "password": "x" }),
        json!({ "userId": "x", "password": null }),
        json!(["x"]),
    ] {
        api.post("", LOGIN, &body).problem(400, "malformed-member");
    }
    let more = json!({ "userId": "x", "password": "y", "otp": "1" });
    api.post("", LOGIN, &more).problem(400, "unknown-member");
    let long = json!({ "userId": "x".repeat(300_000), "password": "y" });
    api.post("", LOGIN, &long).problem(413, "body-too-large");
    api.call("POST", "", LOGIN, Some("{"))
        .problem(400, "malformed-json");
    api.send("POST", LOGIN, "", b"userId=x")
        .problem(415, "unsupported-media-type");
    api.call("GET", "", LOGIN, None)
        .problem(405, "method-not-allowed");
}

fn a_flood_of_logins_is_held_up(kind: Kind) {
    let api = Api::with_facade(kind.into(), Some(5));
    let key = api.key(Role::Account, &["carrier"]);
    let (user, password) = parts(&key);
    for n in 0..5 {
        let answer = log_in(&api, &format!("nobody-{n}"), "x");
        answer.problem(403, "forbidden");
    }
    // From this address now nobody logs in, whether there is such a user or not.
    let one = log_in(&api, "nobody", "x");
    one.problem(429, "too-many-requests");
    let wait: u64 = one
        .header("retry-after")
        .expect("when")
        .parse()
        .expect("seconds");
    assert!((1..=12).contains(&wait), "{wait}");
    let other = log_in(&api, user, password);
    other.problem(429, "too-many-requests");
    // Not even a body is read.
    api.send("POST", LOGIN, "", b"x")
        .problem(429, "too-many-requests");
    // Who is logged in goes on, and so does everybody else.
    api.ask(&asking(&["one:12125551001"])).with(200);

    let text = String::from_utf8(api.operations().get("/metrics").body).expect("UTF-8");
    let line = format!(
        "tn_authority_http_requests_total{{method=\"POST\",route=\"{LOGIN}\",status=\"429\"}} 3"
    );
    assert!(text.lines().any(|known| known == line), "{text}");
    assert!(!text.contains("nobody"), "{text}");
}

fn it_serves_pem_to_clients_that_ask_for_one_certificate(kind: Kind) {
    let head = "accept: application/pkix-cert\r\n";
    let chain = |api: &Api| {
        let listed = api.get(&api.auditor, "/v1/signers").with(200);
        let name = member(&listed["items"][0], "chain").to_owned();
        api.send("GET", &format!("/certs/{name}.pem"), head, b"")
    };
    let pem = chain(&with_facade(kind));
    assert!(pem.body.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let der = chain(&Api::from(kind));
    assert!(der.body.starts_with(&[0x30]));
}
