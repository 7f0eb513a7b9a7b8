//! Standing rights to renew, over HTTP.

use serde_json::{Value, json};
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    an_agent_renews_until_it_is_told_to_stop,
    a_renewal_is_answered_once,
    a_malformed_right_is_told_what_is_wrong,
    rights_of_two_tenants_never_meet,
    a_right_whose_loan_has_ended_is_not_in_use,
);

fn wanted(api: &Api) -> Value {
    let loans = api.get(&api.provisioner, "/v1/accounts/acme/delegations");
    let loans = loans.with(200);
    let token = asking(&["one:12125551001"]);
    json!({
        "account": "acme", "delegation": items(&loans["items"])[0]["id"], "tkvalue": token["tkvalue"],
        "fingerprint": token["fingerprint"], "lifetime": 600,
    })
}

fn gives(api: &Api, body: &Value) -> Value {
    api.post(&api.provisioner, "/v1/renewals", body).with(201)
}

fn an_agent_renews_until_it_is_told_to_stop(api: Api) {
    let key = api.key(Role::Renewer, &["acme"]);
    let mut body = wanted(&api);
    body["caller"] = json!(key[4..20]);
    let right = gives(&api, &body);
    assert_eq!(right["caller"], body["caller"]);
    assert_eq!(
        right["numbers"],
        json!([{ "start": "+12125551001", "count": 1 }])
    );
    let url = member(&right, "token_url");
    let asked = asking(&["one:12125551001"]);
    let under_atc = json!({ "atc": asked });
    for answer in [
        api.call("POST", &key, url, None),
        api.post(&key, url, &json!({})),
        api.post(&key, url, &asked),
        api.post(&key, url, &under_atc),
    ] {
        let token = answer.with(200);
        assert_eq!(token["expires"], "2026-01-01T00:10:00Z");
        let grant = format!("/v1/grants/{}", member(&token, "jti"));
        let grant = api.get(&api.auditor, &grant).with(200);
        assert_eq!(grant["tkvalue"], asked["tkvalue"]);
        let rows = items(&grant["justified_by"]);
        assert!(
            rows.iter()
                .any(|row| row["kind"] == "renewal" && row["id"] == right["id"])
        );
    }
    // The key does nothing else.
    api.post(&key, "/at/account/acme/token", &asked)
        .problem(403, "forbidden");
    api.get(&key, "/v1/grants").problem(403, "forbidden");
    let list = api.get(&key, "/v1/renewals").with(200);
    assert_eq!(list["items"], json!([]));
    api.post(&key, url, &asking(&["one:12125551002"]))
        .problem(403, "outside-renewal");
    api.post(&key, url, &json!({ "tktype": "TNAuthList" }))
        .problem(400, "missing-member");

    let end = format!("/v1/delegations/{}/end", member(&right, "delegation"));
    let at = json!({ "at": "2026-01-01T00:08:00Z" });
    let ended = api.post(&api.provisioner, &end, &at).with(200);
    assert_eq!(ended["exposure"]["tokens"], 4);
    let shortened = api.call("POST", &key, url, None).with(200);
    assert_eq!(shortened["expires"], "2026-01-01T00:08:00Z");
    api.world.seconds_pass(480);
    api.call("POST", &key, url, None)
        .problem(403, "not-authorized");
}

fn a_renewal_is_answered_once(api: Api) {
    let right = gives(&api, &wanted(&api));
    let url = member(&right, "token_url");
    let send = || api.once("again", &api.acme, url, &json!({}));
    let first = send();
    first.with(200);
    send().repeats(&first);
    assert_eq!(api.world.grants().len(), 1);
    // An answer that was given stays, and a new key is told how it stands now.
    let revoke = format!("/v1/renewals/{}/revoke", member(&right, "id"));
    let revoked = api.post(&api.provisioner, &revoke, &json!({})).with(200);
    assert_eq!(revoked["revoked_at"], "2026-01-01T00:00:00Z");
    send().repeats(&first);
    let refused = api.once("other", &api.acme, url, &json!({}));
    refused.problem(403, "renewal-ended");
    api.once("other", &api.acme, url, &json!({}))
        .repeats(&refused);
}

fn a_malformed_right_is_told_what_is_wrong(api: Api) {
    let with = |name: &str, value: Value| {
        let mut body = wanted(&api);
        body[name] = value;
        api.post(&api.provisioner, "/v1/renewals", &body)
    };
    with("account", json!("no account")).problem(400, "malformed-member");
    with("account", json!("nobody")).problem(404, "unknown-account");
    with("delegation", json!("x")).problem(400, "malformed-member");
    with("delegation", json!("00000000-0000-7000-8000-000000000000")).problem(404, "not-found");
    with("tkvalue", json!("AAAA")).problem(400, "malformed-tkvalue");
    with("tkvalue", asking(&["spc:1234"])["tkvalue"].clone()).problem(400, "spc-not-renewed");
    let outside = with("tkvalue", asking(&["one:12125552001"])["tkvalue"].clone());
    let outside = outside.problem(409, "not-of-the-delegation");
    assert!(outside.to_string().contains("+12125552001"), "{outside}");
    with("fingerprint", json!("SHA256 00")).problem(400, "malformed-fingerprint");
    with("lifetime", json!(0)).problem(400, "lifetime-not-allowed");
    with("lifetime", json!(-1)).problem(400, "malformed-member");
    with("lifetime", json!("600")).problem(400, "malformed-member");
    with("not_after", json!("2025-12-31T23:59:59Z")).problem(400, "window-over");
    with("not_after", json!("tomorrow")).problem(400, "malformed-member");
    for (nobody, why) in [
        (
            "",
            "must not be empty; leave it out to allow every caller of the account",
        ),
        (" ", "starts or ends with a space, or has two in a row"),
    ] {
        let refused = with("caller", json!(nobody)).problem(400, "malformed-member");
        assert_eq!(refused["detail"], format!("`caller`: {why}"));
    }
    with("numbers", json!([])).problem(400, "unknown-member");
    for name in [
        "account",
        "delegation",
        "tkvalue",
        "fingerprint",
        "lifetime",
    ] {
        let mut body = wanted(&api);
        body.as_object_mut().expect("an object").remove(name);
        let answer = api.post(&api.provisioner, "/v1/renewals", &body);
        answer.problem(400, "missing-member");
    }
    api.get(&api.acme, "/v1/renewals/x")
        .problem(404, "not-found");
    api.post(&api.acme, "/v1/renewals/x/token", &json!({}))
        .problem(403, "forbidden");
    let list = api.get(&api.provisioner, "/v1/renewals").with(200);
    assert_eq!(list["items"], json!([]));
}

fn rights_of_two_tenants_never_meet(api: Api) {
    let right = gives(&api, &wanted(&api));
    let made = api.put(&api.admin, "/v1/accounts/wholesale", &json!({}));
    made.with(201);
    let shop = api.put(
        &api.admin,
        "/v1/accounts/shop",
        &json!({ "parent": "wholesale" }),
    );
    shop.with(201);
    let path = format!("/v1/renewals/{}", member(&right, "id"));
    let reseller = api.key(Role::Provisioner, &["wholesale"]);
    for key in [
        api.key(Role::Account, &["shop"]),
        api.key(Role::Portal, &["shop", "wholesale"]),
        reseller.clone(),
    ] {
        api.get(&key, &path).problem(404, "not-found");
        let revoke = format!("{path}/revoke");
        api.post(&key, &revoke, &json!({}))
            .problem(404, "not-found");
        let token = format!("{path}/token");
        api.post(&key, &token, &json!({})).problem(403, "forbidden");
        let list = api.get(&key, "/v1/renewals").with(200);
        assert_eq!(list["items"], json!([]));
    }
    // For its own customer, by the loan of another: there is none.
    let mut body = wanted(&api);
    body["account"] = json!("shop");
    api.post(&reseller, "/v1/renewals", &body)
        .problem(404, "not-found");
    body["account"] = json!("acme");
    api.post(&reseller, "/v1/renewals", &body)
        .problem(404, "unknown-account");
    api.post(&api.acme, &format!("{path}/token"), &json!({}))
        .with(200);
}

fn a_right_whose_loan_has_ended_is_not_in_use(api: Api) {
    let right = gives(&api, &wanted(&api));
    let in_use = || {
        let acme = "acme".parse().expect("an id");
        let now = api.world.now();
        let store = &api.world.authority.store();
        store
            .read(|tx| tx.count_renewals(&acme, now))
            .expect("a count")
    };
    assert_eq!(in_use(), 1);
    let end = format!("/v1/delegations/{}/end", member(&right, "delegation"));
    api.post(&api.provisioner, &end, &json!({})).with(200);
    assert_eq!(in_use(), 0);
}
