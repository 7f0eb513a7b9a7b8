//! The access tokens of the facade: when they end, where they work, and what they are not.

use serde_json::json;
use tn_authority::authority::IssueError;
use tn_authority::callers::Credentials;
use tn_authority::domain::{Denial, Proof, Role};
use uuid::Uuid;

use super::facade::{TOKEN, access, ask, change, log_in, parts, spc, with_facade};
use crate::support::fixtures::member;
use crate::support::service::{ACCESS, asking};
use crate::support::{Kind, request};

both!(
    an_access_token_ends_with_its_time_and_with_its_key,
    an_access_token_is_no_api_key_and_the_other_way_round,
    an_access_token_ends_with_the_secret_that_gave_it,
    an_access_token_works_from_where_its_key_does,
    an_access_token_that_ends_while_a_request_waits_gets_nothing,
);

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
    change(&api, &key, "revoke", &json!({}));
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
    // Its end has one spelling.
    for other in [
        format!("0{later}"),
        format!("+{later}"),
        format!("{later}.0"),
    ] {
        parts[2] = other;
        let body = json!({ "atc": asking(&["one:12125551001"]) });
        let path = "/api/v1/account/acme/token";
        ask(&api, &parts.join("_"), path, &body).problem(403, "forbidden");
    }
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

fn an_access_token_ends_with_the_secret_that_gave_it(kind: Kind) {
    let api = with_facade(kind);
    let old = api.key(Role::Account, &["carrier"]);
    let by_old = access(&api, &old);
    let rotated = change(&api, &old, "rotate", &json!({ "overlap": 100 }));
    let new = member(&rotated, "key").to_owned();
    let by_new = access(&api, &new);
    // As long as the old secret works it also logs in.
    let by_old_again = access(&api, &old);
    for token in [&by_old, &by_old_again, &by_new] {
        ask(&api, token, TOKEN, &spc()).with(200);
    }
    api.world.seconds_pass(100);
    for token in [&by_old, &by_old_again] {
        ask(&api, token, TOKEN, &spc()).problem(403, "forbidden");
    }
    log_in(&api, parts(&old).0, &old).problem(403, "forbidden");
    ask(&api, &by_new, TOKEN, &spc()).with(200);

    // Without an overlap at once.
    let rotated = change(&api, &new, "rotate", &json!({ "overlap": 0 }));
    ask(&api, &by_new, TOKEN, &spc()).problem(403, "forbidden");
    let newest = access(&api, member(&rotated, "key"));
    ask(&api, &newest, TOKEN, &spc()).with(200);
    let end = json!({ "at": "2026-01-01T00:02:00Z" });
    change(&api, &old, "expire", &end);
    api.world.seconds_pass(19);
    ask(&api, &newest, TOKEN, &spc()).with(200);
    api.world.seconds_pass(1);
    ask(&api, &newest, TOKEN, &spc()).problem(403, "forbidden");
    for (reason, count) in [("rotated", 3), ("session-proof", 1), ("expired", 1)] {
        let proof = if reason == "session-proof" {
            "login"
        } else {
            "api-key"
        };
        let metric = format!("unproven_total{{proof=\"{proof}\",reason=\"{reason}\"}}");
        assert_eq!(api.world.count(&metric), count, "{metric}");
    }
}

fn an_access_token_works_from_where_its_key_does(kind: Kind) {
    let api = with_facade(kind);
    let made = |allow_from: &str| {
        let body = json!({
            "role": "account", "accounts": ["carrier"], "allow_from": [allow_from],
        });
        let made = api.post(&api.admin, "/v1/api-keys", &body).with(201);
        member(&made, "key").to_owned()
    };
    let (here, elsewhere) = (made("127.0.0.0/8"), made("192.0.2.0/24"));
    log_in(&api, parts(&elsewhere).0, &elsewhere).problem(403, "forbidden");
    let token = access(&api, &here);
    ask(&api, &token, TOKEN, &spc()).with(200);
    let from = |address: &str| Credentials {
        authorization: Some(token.clone()),
        from: Some(address.parse().expect("an address")),
        certificate: None,
    };
    let callers = &api.service.callers;
    let proven = callers.authenticate_access_token(&from("127.0.0.9"), Uuid::nil());
    assert_eq!(proven.expect("a caller").id, parts(&here).0);
    let moved = callers.authenticate_access_token(&from("192.0.2.1"), Uuid::nil());
    moved.expect_err("from another network");
}

/// Between the proof and the transaction the access token ends, by its time or with its key.
fn an_access_token_that_ends_while_a_request_waits_gets_nothing(kind: Kind) {
    let api = with_facade(kind);
    let proven = |key: &str| {
        let offered = Credentials {
            authorization: Some(access(&api, key)),
            from: None,
            certificate: None,
        };
        let proven = api
            .service
            .callers
            .authenticate_access_token(&offered, Uuid::nil());
        proven.expect("a caller")
    };
    let key = api.key(Role::Account, &["acme"]);
    let caller = proven(&key);
    assert_eq!(caller.proof, Proof::ApiKey { secret: 1 });
    assert_eq!(caller.expires, Some(api.world.in_seconds(ACCESS.into())));
    let mints = |caller| {
        let wanted = request(&["one:12125551001"], false, None);
        api.world.mints_as(caller, "acme", wanted)
    };
    mints(&caller).expect("a token");
    api.world.seconds_pass(ACCESS.into());
    let ended = |outcome| matches!(outcome, Err(IssueError::Denied(Denial::ProofEnded(_))));
    assert!(ended(mints(&caller)));

    let caller = proven(&key);
    change(&api, &key, "rotate", &json!({ "overlap": 0 }));
    assert!(ended(mints(&caller)));
    let key = api.key(Role::Account, &["acme"]);
    let caller = proven(&key);
    change(&api, &key, "revoke", &json!({}));
    assert!(ended(mints(&caller)));
    assert_eq!(api.world.grants().len(), 1);
}
