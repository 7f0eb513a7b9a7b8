//! The feed of withdrawals, the status of a grant, and exposure, over HTTP.

use serde_json::json;
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    the_feed_is_followed_from_place_to_place,
    what_a_legacy_account_wrote_is_in_the_feed_too,
    an_accounts_own_key_does_not_reach_its_customers,
    a_ca_asks_how_a_grant_stands,
    whatever_takes_authority_away_says_what_is_exposed,
);

fn ports(api: &Api, number: &str) {
    let body = json!({ "start": number, "count": 1, "reason": "ported-out" });
    api.post(&api.provisioner, "/v1/exclusions", &body)
        .with(201);
}

fn the_feed_is_followed_from_place_to_place(api: Api) {
    let mut jtis = Vec::new();
    for n in 1..=3 {
        let token = api.ask(&asking(&[&format!("one:1212555100{n}")])).with(200);
        jtis.push(token["jti"].clone());
        ports(&api, &format!("+1212555100{n}"));
    }
    let first = api.get(&api.auditor, "/v1/withdrawals?limit=2").with(200);
    let seen = items(&first["items"]);
    assert_eq!((&seen[0]["jti"], &seen[1]["jti"]), (&jtis[0], &jtis[1]));
    assert_eq!(
        (&first["more"], &first["next_after"]),
        (&json!(true), &seen[1]["sequence"])
    );
    assert_eq!(seen[0]["cause"]["kind"], "exclusion");
    assert_eq!(
        (&seen[0]["reason"], &seen[0]["at"]),
        (&json!("ported-out"), &json!("2026-01-01T00:00:00Z"))
    );
    assert_eq!(seen[0]["expires"], "2026-01-01T01:00:00Z");
    let place = &first["next_after"];
    let rest = api
        .get(&api.auditor, &format!("/v1/withdrawals?after={place}"))
        .with(200);
    assert_eq!(
        (items(&rest["items"]).len(), &rest["more"]),
        (1, &json!(false))
    );
    let end = &rest["next_after"];
    let nothing = api
        .get(&api.auditor, &format!("/v1/withdrawals?after={end}"))
        .with(200);
    assert_eq!(
        nothing,
        json!({ "items": [], "next_after": end, "more": false })
    );

    // The account sees its own, and not by which row of the carrier's; another one sees nothing, also from that place.
    let own = api.get(&api.acme, "/v1/withdrawals").with(200);
    assert_eq!(items(&own["items"]).len(), 3);
    assert_eq!(own["items"][0]["cause"], json!(null));
    let other = api.key(Role::Account, &["other"]);
    for after in [json!(0), place.clone(), json!(9_007_199_254_740_991_i64)] {
        let seen = api
            .get(&other, &format!("/v1/withdrawals?after={after}"))
            .with(200);
        assert_eq!(
            seen,
            json!({ "items": [], "next_after": after, "more": false })
        );
    }
    for query in [
        "after=-1",
        "after=x",
        "after=99999999999999999999",
        "limit=0",
        "limit=1001",
        "cursor=1",
        "after=1&after=2",
    ] {
        api.get(&api.auditor, &format!("/v1/withdrawals?{query}"))
            .problem(400, "malformed-query");
    }
    api.get("", "/v1/withdrawals").problem(401, "unauthorized");
}

fn what_a_legacy_account_wrote_is_in_the_feed_too(api: Api) {
    api.put(
        &api.provisioner,
        "/v1/accounts/acme",
        &json!({ "dialect": "legacy" }),
    )
    .with(200);
    let mut padded = asking(&["one:12125551001"]);
    padded["tkvalue"] = json!("MA+iDRYLMTIxMjU1NTEwMDE=");
    let jti = api.ask(&padded).with(200)["jti"].clone();
    ports(&api, "+12125551001");
    let feed = api.get(&api.acme, "/v1/withdrawals").with(200);
    let seen = items(&feed["items"]);
    assert_eq!(seen[0]["jti"], jti);
    assert_eq!(
        seen[0]["numbers"],
        json!([{ "start": "+12125551001", "count": 1 }])
    );
}

/// A reseller's people keep its customers; the key by which it has tokens of its own does not.
fn an_accounts_own_key_does_not_reach_its_customers(api: Api) {
    let reseller = api.key(Role::Provisioner, &["acme"]);
    api.put(&reseller, "/v1/accounts/shop", &json!({ "parent": "acme" }))
        .with(201);
    let hook = json!({ "url": "https://hooks.example.com/", "account": "shop" });
    let of_shop = api.post(&reseller, "/v1/webhooks", &hook).with(201);
    let path = format!("/v1/webhooks/{}", member(&of_shop, "id"));
    api.get(&reseller, &path).with(200);
    let mut own = hook.clone();
    own["account"] = json!("acme");
    api.post(&api.acme, "/v1/webhooks", &own).with(201);
    api.post(&api.acme, "/v1/webhooks", &hook)
        .problem(404, "unknown-account");
    api.get(&api.acme, &path).problem(404, "not-found");
    for verb in ["rotate", "end"] {
        api.post(&api.acme, &format!("{path}/{verb}"), &json!({}))
            .problem(404, "not-found");
    }
    let seen = api.get(&api.acme, "/v1/webhooks").with(200);
    assert_eq!(items(&seen["items"]).len(), 1);
}

fn a_ca_asks_how_a_grant_stands(api: Api) {
    let token = api.ask(&asking(&["one:12125551001"])).with(200);
    let jti = member(&token, "jti");
    let path = format!("/v1/grants/{jti}/status");
    let answer = api.get("", &path);
    assert_eq!(
        answer.with(200),
        json!({ "jti": jti, "state": "active", "at": null, "expires": "2026-01-01T01:00:00Z" })
    );
    assert_eq!(answer.header("cache-control"), Some("private, max-age=10"));
    let body = json!({ "start": "+12125551001", "count": 1, "reason": "ported-out", "valid_from": "2026-01-01T00:10:00Z" });
    api.post(&api.provisioner, "/v1/exclusions", &body)
        .with(201);
    let stands = |state: &str| {
        let known = api.get("", &path).with(200);
        assert_eq!(
            known,
            json!({ "jti": jti, "state": state, "at": "2026-01-01T00:10:00Z", "expires": "2026-01-01T01:00:00Z" })
        );
    };
    stands("active");
    api.world.seconds_pass(600);
    stands("withdrawn");
    // Whatever is asked for, there is one answer to what is not there.
    let unknown = format!(
        "{}{}",
        &jti[..43],
        if jti.ends_with('0') { '1' } else { '0' }
    );
    let answers = [
        unknown.as_str(),
        "x",
        "%00",
        &jti[..43],
        &jti.to_uppercase(),
        "'%20OR%201=1--",
    ]
    .map(|jti| api.get("", &format!("/v1/grants/{jti}/status")));
    for answer in &answers {
        answer.problem(404, "not-found");
        assert_eq!(answer.without_id(), answers[0].without_id());
    }
    api.call("POST", "", &path, None)
        .problem(405, "method-not-allowed");
}

fn whatever_takes_authority_away_says_what_is_exposed(api: Api) {
    let key = &api.provisioner;
    for _ in 0..3 {
        api.ask(&asking(&["one:12125551001"])).with(200);
    }
    let exposed = json!({ "tokens": 3, "until": "2026-01-01T01:00:00Z" });
    let port = json!({ "start": "+12125551001", "count": 1, "reason": "ported-out" });
    assert_eq!(
        api.post(key, "/v1/exclusions", &port).with(201)["exposure"],
        exposed
    );
    assert_eq!(
        api.post(key, "/v1/accounts/acme/suspend", &json!({}))
            .with(200)["exposure"],
        exposed
    );
    let loans = api.get(key, "/v1/accounts/acme/delegations").with(200);
    let loan = format!("/v1/delegations/{}/end", member(&loans["items"][0], "id"));
    assert_eq!(
        api.post(key, &loan, &json!({})).with(200)["exposure"],
        exposed
    );
    let blocks = api.get(key, "/v1/allocations").with(200);
    let block = format!(
        "/v1/allocations/{}/return",
        member(&blocks["items"][0], "id")
    );
    assert_eq!(
        api.post(key, &block, &json!({})).with(200)["exposure"],
        exposed
    );
    api.world.seconds_pass(3_600);
    let none = json!({ "tokens": 0, "until": null });
    assert_eq!(
        api.post(key, &block, &json!({})).with(200)["exposure"],
        none
    );
}
