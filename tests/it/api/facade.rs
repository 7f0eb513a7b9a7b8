//! The facade in the shape of an STI-PA, as HTTP sees it: what it grants is what the token endpoint grants.

use std::time::Duration;

use governor::clock::FakeRelativeClock;
use serde_json::{Value, json};
use tn_authority::authority::{LimitClock, Limits, Rate};
use tn_authority::domain::Role;

use crate::support::fixtures::member;
use crate::support::service::{Answer, Api, CRL, asking, asking_tkvalue};
use crate::support::{Kind, Setup, World};

both!(
    it_is_not_there_unless_switched_on,
    a_carrier_logs_in_and_gets_a_token_for_its_own_code,
    it_decides_as_the_token_endpoint_does,
    no_answer_tells_whether_a_user_exists,
    bad_bodies_are_told,
    a_request_that_comes_again_is_answered_as_before,
    a_flood_of_logins_is_held_up,
    it_serves_pem_to_clients_that_ask_for_one_certificate,
);

const LOGIN: &str = "/api/v1/auth/login";
pub(super) const TOKEN: &str = "/api/v1/account/carrier/token";
/// The code 1234, as STI-PA clients write it.
const SPC: &str = "MAigBhYEMTIzNA==";

pub(super) fn with_facade(kind: Kind) -> Api {
    let api = Api::with_facade(kind.into());
    api.put(
        &api.provisioner,
        "/v1/accounts/carrier",
        &json!({ "dialect": "legacy" }),
    )
    .with(200);
    api
}

/// The user id and the password that an API key is.
pub(super) fn parts(key: &str) -> (&str, &str) {
    let mut parts = key.splitn(3, '_').skip(1);
    (
        parts.next().expect("an id"),
        parts.next().expect("a secret"),
    )
}

pub(super) fn log_in(api: &Api, user: &str, password: &str) -> Answer {
    api.post("", LOGIN, &json!({ "userId": user, "password": password }))
}

pub(super) fn access(api: &Api, key: &str) -> String {
    let (user, password) = parts(key);
    let answer = log_in(api, user, password).with(200);
    member(&answer, "accessToken").to_owned()
}

pub(super) fn ask(api: &Api, authorization: &str, path: &str, body: &Value) -> Answer {
    let head = format!("authorization: {authorization}\r\ncontent-type: application/json\r\n");
    api.send("POST", path, &head, body.to_string().as_bytes())
}

/// Has an admin change a key.
pub(super) fn change(api: &Api, key: &str, verb: &str, body: &Value) -> Value {
    let path = format!("/v1/api-keys/{}/{verb}", parts(key).0);
    api.post(&api.admin, &path, body).with(200)
}

pub(super) fn spc() -> Value {
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
    change(&api, &revoked, "revoke", &json!({}));
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

fn a_request_that_comes_again_is_answered_as_before(kind: Kind) {
    let api = with_facade(kind);
    let token = access(&api, &api.key(Role::Account, &["carrier"]));
    let send = |key: &str, body: &Value| {
        let head = format!(
            "authorization: {token}\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n"
        );
        api.send("POST", TOKEN, &head, body.to_string().as_bytes())
    };
    let first = send("k", &spc());
    assert_eq!(first.with(200)["crl"], CRL);
    send("k", &spc()).repeats(&first);
    assert_eq!(api.world.grants().len(), 1);
    send("k", &json!({ "atc": asking(&["spc:1234"]) })).problem(422, "idempotency-key-reused");
    // What is malformed for the account decides nothing, and can be sent again when the account is another one.
    let dialect = |dialect: &str| {
        let body = json!({ "dialect": dialect });
        api.put(&api.provisioner, "/v1/accounts/carrier", &body)
            .with(200);
    };
    dialect("strict");
    send("l", &spc()).problem(400, "malformed-tkvalue");
    dialect("legacy");
    send("l", &spc()).with(200);
}

fn a_flood_of_logins_is_held_up(kind: Kind) {
    let clock = FakeRelativeClock::default();
    let (none, proof) = (
        Rate::NONE,
        Rate {
            per_second: 1,
            burst: 5,
        },
    );
    let limits = Limits::new(none, none, proof, &LimitClock::Fake(clock.clone()));
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let api = Api::with_facade(World::new(kind, setup));
    let key = api.key(Role::Account, &["acme"]);
    let (user, password) = parts(&key);
    for n in 0..4 {
        let answer = log_in(&api, &format!("nobody-{n}"), "x");
        answer.problem(403, "forbidden");
    }
    let path = "/api/v1/account/acme/token";
    let body = json!({ "atc": asking(&["one:12125551001"]) });
    ask(&api, "tnf_x", path, &body).problem(403, "forbidden");
    // From this address now each failure is told to wait, and whether there is such a user is told to nobody.
    for (user, password) in [("nobody", "x"), (user, "x")] {
        let one = log_in(&api, user, password);
        one.problem(429, "too-many-requests");
        assert_eq!(one.header("retry-after"), Some("1"));
    }
    ask(&api, "tnf_x", path, &body).problem(429, "too-many-requests");
    // Whoever has valid credentials goes on behind the same address.
    let token = member(&log_in(&api, user, password).with(200), "accessToken").to_owned();
    ask(&api, &token, path, &body).with(200);
    clock.advance(Duration::from_secs(1));
    log_in(&api, "nobody", "x").problem(403, "forbidden");

    let text = String::from_utf8(api.operations().get("/metrics").body).expect("UTF-8");
    for line in [
        format!(
            "tn_authority_http_requests_total{{method=\"POST\",route=\"{LOGIN}\",status=\"429\"}} 2"
        ),
        "tn_authority_limited_requests_total{limit=\"proof\"} 3".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
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
