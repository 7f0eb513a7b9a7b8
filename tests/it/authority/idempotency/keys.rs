//! The header field itself, and whose key it is.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::json;
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use super::{count, kept};
use crate::support::service::{Api, KEEP, asking};
use crate::support::wait;

both!(
    what_is_no_key_is_malformed,
    a_key_belongs_to_a_tenant,
    without_access_nothing_is_repeated,
    a_key_is_forgotten_when_its_time_is_over,
    a_copy_of_the_database_shows_neither_key_nor_token,
    without_a_key_nothing_is_written_for_it,
);

const PATH: &str = "/at/account/acme/token";

fn what_is_no_key_is_malformed(api: Api) {
    let body = asking(&["one:12125551001"]);
    let ask = |key: &str| api.once(key, &api.acme, PATH, &body);
    for wrong in [
        "",
        "two words",
        "\"open",
        "open\"",
        "\"a\";b=1",
        "\"a\", \"b\"",
        "\u{e4}",
        &"x".repeat(256),
        "a\r\nidempotency-key: b",
        "a\r\nidempotency-key: a",
    ] {
        ask(wrong).problem(400, "malformed-idempotency-key");
    }
    assert_eq!(count(&api.world.db, "grants"), 0);
    // Who is asking is proven first.
    api.once("", "", PATH, &body).problem(401, "unauthorized");

    let first = ask("8e03978e-40d5-43dd-bc93-6894a57f9324");
    first.with(200);
    ask("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"").repeats(&first);
    ask(&"x".repeat(255)).with(200);
    assert_eq!(count(&api.world.db, "grants"), 2);
}

fn a_key_belongs_to_a_tenant(api: Api) {
    let body = asking(&["one:12125551001"]);
    let first = api.once("k", &api.acme, PATH, &body);
    first.with(200);
    // Another key of the same account, as after a rotation.
    let renewed = api.key(Role::Account, &["acme"]);
    api.once("k", &renewed, PATH, &body).repeats(&first);
    api.once("k", &renewed, PATH, &asking(&["one:12125551002"]))
        .problem(422, "idempotency-key-reused");

    // To everybody else the key is new, for whatever they ask.
    let lent = json!({ "start": "+12125551900", "count": 10 });
    api.post(&api.provisioner, "/v1/accounts/other/delegations", &lent)
        .with(201);
    let other = api.key(Role::Account, &["other"]);
    let portal = api.key(Role::Portal, &["acme", "other"]);
    let smaller = api.key(Role::Portal, &["acme"]);
    let theirs = asking(&["one:12125551900"]);
    for (key, path, body) in [
        (&other, "/at/account/other/token", &theirs),
        (&portal, PATH, &body),
        (&smaller, PATH, &body),
    ] {
        let answer = api.once("k", key, path, body);
        assert_eq!(answer.header("idempotency-replayed"), None);
        assert_ne!(answer.with(200)["jti"], first.json()["jti"]);
    }
    // Not even that somebody has it can be told.
    let foreign = api.once("k", &other, PATH, &body);
    assert_eq!(foreign.status, 422, "its own key, with another request");
    let foreign = api.once("l", &other, PATH, &body);
    foreign.problem(403, "forbidden");

    // Whoever speaks for no account is a tenant alone.
    let number = json!({ "start": "+12125551950", "count": 1, "reason": "reserved" });
    let exclude = |key: &str| api.once("k", key, "/v1/exclusions", &number);
    let first = exclude(&api.provisioner);
    exclude(&api.provisioner).repeats(&first);
    let second = exclude(&api.key(Role::Provisioner, &[]));
    assert_ne!(second.with(201)["id"], first.json()["id"]);
    assert_ne!(exclude(&api.admin).with(201)["id"], first.json()["id"]);
}

fn without_access_nothing_is_repeated(api: Api) {
    let body = asking(&["one:12125551001"]);
    let key = api.key(Role::Account, &["acme"]);
    api.once("k", &key, PATH, &body).with(200);
    let id = key.split('_').nth(1).expect("an id");
    let admin = Caller::the_service(Uuid::nil());
    wait(api.service.callers.api_keys().revoke(&admin, id)).expect("revoked");
    let refused = api.once("k", &key, PATH, &body);
    refused.problem(403, "forbidden");
    assert!(!refused.text().contains("token"));
    api.once("k", "", PATH, &body).problem(401, "unauthorized");
    api.once("k", "tna_0123456789abcdef_x", PATH, &body)
        .problem(403, "forbidden");
}

fn a_key_is_forgotten_when_its_time_is_over(api: Api) {
    let body = asking(&["one:12125551001"]);
    let first = api.once("k", &api.acme, PATH, &body);
    first.with(200);
    api.world.seconds_pass(i64::from(KEEP) - 1);
    api.once("k", &api.acme, PATH, &body).repeats(&first);
    let later = api.once("l", &api.acme, PATH, &body);
    api.world.seconds_pass(1);
    // It is over, also as long as nobody has removed it, and may name another request.
    let other = asking(&["one:12125551002"]);
    let second = api.once("k", &api.acme, PATH, &other);
    assert_ne!(second.with(200)["jti"], first.json()["jti"]);
    api.once("k", &api.acme, PATH, &other).repeats(&second);
    let change = json!({ "start": "+12125551950", "count": 1, "reason": "reserved" });
    let made = api.once("m", &api.provisioner, "/v1/exclusions", &change);
    api.world.seconds_pass(i64::from(KEEP));
    let again = api.once("m", &api.provisioner, "/v1/exclusions", &change);
    assert_ne!(again.with(201)["id"], made.with(201)["id"]);
    later.with(200);

    // A thousand more are removed in batches, and what is not over stays.
    let time = api.world.now().timestamp();
    let rows: Vec<String> = (0..1_100)
        .map(|n| format!("('old-{n}', 'r', 'h', NULL, NULL, {time}, {time})"))
        .collect();
    let rows = rows.join(",");
    api.world
        .db
        .execute(&format!("INSERT INTO idempotency_keys VALUES {rows}"));
    let mut batches = 1;
    while wait(api.world.authority.forget_keys()).expect("forgotten") {
        batches += 1;
    }
    assert_eq!(batches, 3, "of 500, 500 and the rest");
    assert_eq!(count(&api.world.db, "idempotency_keys"), 1);
    api.once("m", &api.provisioner, "/v1/exclusions", &change)
        .repeats(&again);
}

fn a_copy_of_the_database_shows_neither_key_nor_token(api: Api) {
    let key = "4f2c1b9e-its-own-key";
    let answer = api.once(key, &api.acme, PATH, &asking(&["one:12125551001"]));
    let token = answer.with(200)["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let mut bulk = asking(&["one:12125551002"]);
    bulk["account"] = json!("acme");
    let answer = api.once(key, &api.acme, "/v1/tokens", &json!({ "requests": [bulk] }));
    answer.problem(422, "idempotency-key-reused");
    let mut secrets: Vec<String> = token.split('.').skip(1).map(str::to_owned).collect();
    secrets.push(key.to_owned());

    let mut bytes = Vec::new();
    for row in kept(&api.world.db) {
        bytes.extend(row.answer.expect("an answer"));
        bytes.extend([row.name.into_bytes(), row.request.into_bytes()].concat());
    }
    assert!(bytes.len() > 500);
    let url = api.world.db.text_url();
    if let Some(path) = url.strip_prefix("sqlite:") {
        for end in ["", "-wal"] {
            bytes.extend(std::fs::read(format!("{path}{end}")).unwrap_or_default());
        }
    }
    for secret in secrets {
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret} stands in the database");
    }
}

fn without_a_key_nothing_is_written_for_it(api: Api) {
    let transactions = |name: &str| {
        let metric = format!("transaction_seconds_count{{name=\"{name}\"}}");
        api.world.count(&metric)
    };
    let all = ["issue", "take-key", "keep-answer", "let-go-of-key"];
    let counted = || all.map(&transactions);
    let before = counted();
    api.ask(&asking(&["one:12125551001"])).with(200);
    let [issued, rest @ ..] = before;
    assert_eq!(counted()[0], issued + 1);
    assert_eq!(counted()[1..], rest);
    assert_eq!(count(&api.world.db, "idempotency_keys"), 0);
    api.once("k", &api.acme, PATH, &asking(&["one:12125551001"]))
        .with(200);
    assert_eq!(counted(), [issued + 2, rest[0], rest[1] + 1, rest[2]]);
}
