//! API keys over HTTP: made, shown, rotated, ended.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};
use crate::support::wait;

both!(
    a_key_is_made_shown_once_and_listed,
    a_rotated_key_has_two_secrets_for_a_while,
    an_older_secret_ends_when_a_key_is_rotated_again,
    a_key_ends_when_it_was_said_to,
    a_revoked_key_is_useless_at_once,
    a_change_of_a_key_is_in_the_trail_without_its_secret,
    pages_of_keys_have_the_accounts_of_each,
    the_last_use_is_written_now_and_then,
);

fn make(api: &Api, body: &Value) -> (String, String) {
    let answer = api.post(&api.admin, "/v1/api-keys", body);
    let made = answer.with(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let id = member(&made, "id").to_owned();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/api-keys/{id}").as_str())
    );
    (id, member(&made, "key").to_owned())
}

pub(super) fn of_acme(api: &Api) -> (String, String) {
    make(api, &json!({ "role": "account", "accounts": ["acme"] }))
}

fn mints(api: &Api, key: &str) -> u16 {
    let wanted = asking(&["one:12125551001"]);
    api.post(key, "/at/account/acme/token", &wanted).status
}

pub(super) fn shown(api: &Api, id: &str) -> Value {
    api.get(&api.admin, &format!("/v1/api-keys/{id}")).with(200)
}

fn post(api: &Api, id: &str, verb: &str, body: &Value) -> Value {
    let path = format!("/v1/api-keys/{id}/{verb}");
    api.post(&api.admin, &path, body).with(200)
}

fn a_key_is_made_shown_once_and_listed(api: Api) {
    let (id, key) = make(
        &api,
        &json!({
            "role": "portal", "accounts": ["other", "acme", "acme"], "label": "shop window",
            "expires_at": "2026-02-01T00:00:00Z", "allow_from": ["2001:db8::/32", "127.0.0.0/8"],
        }),
    );
    assert!(key.starts_with(&format!("tna_{id}_")), "{key}");
    let known = shown(&api, &id);
    assert_eq!(
        known,
        json!({
            "id": id, "role": "portal", "accounts": ["acme", "other"], "label": "shop window", "state": "active",
            "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-02-01T00:00:00Z", "revoked_at": null,
            "allow_from": ["127.0.0.0/8", "2001:db8::/32"], "secret": 1, "rotated_at": null,
            "previous_until": null, "last_used_at": null,
        })
    );
    let all = api.get(&api.admin, "/v1/api-keys").with(200);
    assert!(items(&all["items"]).contains(&known));
    let secret = key.splitn(3, '_').nth(2).expect("a secret");
    assert!(!all.to_string().contains(secret));
    assert_eq!(mints(&api, &key), 200);
}

fn a_rotated_key_has_two_secrets_for_a_while(api: Api) {
    let (id, old) = of_acme(&api);
    let rotated = post(&api, &id, "rotate", &json!({ "overlap": 100 }));
    let new = member(&rotated, "key").to_owned();
    assert_ne!(new, old);
    assert_eq!(
        (&rotated["secret"], &rotated["previous_until"]),
        (&json!(2), &json!("2026-01-01T00:01:40Z"))
    );
    assert!(shown(&api, &id)["key"].is_null());
    api.world.seconds_pass(99);
    assert_eq!((mints(&api, &old), mints(&api, &new)), (200, 200));
    api.world.seconds_pass(1);
    assert_eq!((mints(&api, &old), mints(&api, &new)), (403, 200));
    assert_eq!(shown(&api, &id)["previous_until"], Value::Null);
    // One id for both, so that whatever speaks of the key goes on.
    let grants = api.get(&api.admin, "/v1/grants").with(200);
    let callers = items(&grants["items"]).iter().map(|grant| &grant["caller"]);
    assert!(callers.clone().count() == 3 && callers.into_iter().all(|one| *one == id));

    // A day, if nothing is said.
    let rotated = api.call(
        "POST",
        &api.admin,
        &format!("/v1/api-keys/{id}/rotate"),
        None,
    );
    let rotated = rotated.with(200);
    assert_eq!(rotated["previous_until"], "2026-01-02T00:01:40Z");
}

fn an_older_secret_ends_when_a_key_is_rotated_again(api: Api) {
    let (id, first) = of_acme(&api);
    let rotate = |overlap: u32| {
        let rotated = post(&api, &id, "rotate", &json!({ "overlap": overlap }));
        member(&rotated, "key").to_owned()
    };
    let second = rotate(1_000);
    let third = rotate(1_000);
    let works = |key: &str| mints(&api, key) == 200;
    assert_eq!(
        [works(&first), works(&second), works(&third)],
        [false, true, true]
    );
    let fourth = rotate(0);
    assert_eq!(
        [works(&second), works(&third), works(&fourth)],
        [false, false, true]
    );
}

fn a_key_ends_when_it_was_said_to(api: Api) {
    let (id, key) = of_acme(&api);
    let at = |time: &str| json!({ "at": time });
    post(&api, &id, "expire", &at("2026-01-01T00:00:10Z"));
    let later = post(&api, &id, "expire", &at("2026-01-01T00:00:20Z"));
    assert_eq!(later["expires_at"], "2026-01-01T00:00:20Z");
    api.world.seconds_pass(19);
    assert_eq!(mints(&api, &key), 200);
    let path = format!("/v1/api-keys/{id}/expire");
    api.post(&api.admin, &path, &at("2026-01-01T00:00:18Z"))
        .problem(400, "window-over");
    api.world.seconds_pass(1);
    assert_eq!(mints(&api, &key), 403);
    assert_eq!(shown(&api, &id)["state"], "expired");
    // What has ended stays so.
    api.post(&api.admin, &path, &at("2026-01-01T01:00:00Z"))
        .problem(409, "key-ended");
    api.post(&api.admin, &format!("/v1/api-keys/{id}/rotate"), &json!({}))
        .problem(409, "key-ended");
}

fn a_revoked_key_is_useless_at_once(api: Api) {
    let (id, old) = of_acme(&api);
    let rotated = post(&api, &id, "rotate", &json!({}));
    let new = member(&rotated, "key").to_owned();
    assert_eq!((mints(&api, &old), mints(&api, &new)), (200, 200));
    let revoked = post(&api, &id, "revoke", &json!({}));
    assert_eq!(revoked["state"], "revoked");
    assert_eq!((mints(&api, &old), mints(&api, &new)), (403, 403));
    api.world.seconds_pass(5);
    // Again changes nothing.
    assert_eq!(
        post(&api, &id, "revoke", &json!({}))["revoked_at"],
        revoked["revoked_at"]
    );
    assert_eq!(api.world.trail(&id).len(), 3, "made, rotated, revoked");
}

fn a_change_of_a_key_is_in_the_trail_without_its_secret(api: Api) {
    let (id, key) = of_acme(&api);
    let rotated = post(&api, &id, "rotate", &json!({ "overlap": 5 }));
    post(
        &api,
        &id,
        "expire",
        &json!({ "at": "2027-01-01T00:00:00Z" }),
    );
    post(&api, &id, "revoke", &json!({}));
    let trail = api.world.trail(&id);
    let told: Vec<_> = trail
        .iter()
        .map(|event| (event.action.as_str(), event.detail.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "create-api-key",
                json!({ "role": "account", "accounts": ["acme"], "label": "", "expires_at": null, "allow_from": [] })
            ),
            (
                "rotate-api-key",
                json!({ "secret": 2, "previous_until": "2026-01-01T00:00:05Z" })
            ),
            (
                "expire-api-key",
                json!({ "expires_at": "2027-01-01T00:00:00Z" })
            ),
            ("revoke-api-key", json!({})),
        ]
    );
    let admin = api.admin[4..20].to_owned();
    assert!(
        trail
            .iter()
            .all(|event| event.caller == admin && event.outcome == "done")
    );
    let all = format!("{trail:?}");
    for key in [&key, member(&rotated, "key")] {
        // A secret may have a `_` in it.
        assert!(!all.contains(key.splitn(3, '_').nth(2).expect("a secret")));
    }
}

fn pages_of_keys_have_the_accounts_of_each(api: Api) {
    let portals: Vec<String> = (0..3)
        .map(|_| {
            make(
                &api,
                &json!({ "role": "portal", "accounts": ["acme", "other"] }),
            )
            .0
        })
        .collect();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/api-keys?limit=2{cursor}");
        let page = api.get(&api.admin, &path).with(200);
        assert!(items(&page["items"]).len() <= 2);
        seen.extend(items(&page["items"]).to_vec());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by_key(|key| member(key, "id").to_owned()));
    for key in &seen {
        let accounts = match member(key, "role") {
            "portal" => json!(["acme", "other"]),
            "account" => json!(["acme"]),
            _ => json!([]),
        };
        assert_eq!(key["accounts"], accounts, "{key}");
        assert_eq!(
            member(key, "role") == "portal",
            portals.contains(&member(key, "id").to_owned())
        );
    }
}

fn the_last_use_is_written_now_and_then(api: Api) {
    let (id, key) = of_acme(&api);
    let keys = api.service.callers.api_keys();
    let used = || shown(&api, &id)["last_used_at"].clone();
    assert_eq!(mints(&api, &key), 200);
    api.world.seconds_pass(7);
    // From memory this time.
    assert_eq!(mints(&api, &key), 200);
    assert_eq!(used(), Value::Null, "a use costs no write");
    wait(keys.write_uses()).expect("written");
    assert_eq!(used(), "2026-01-01T00:00:07Z");
    api.world.seconds_pass(60);
    // What proves nobody is no use.
    let other = if key[21..].starts_with('A') { "B" } else { "A" };
    let wrong = format!("{}{other}{}", &key[..21], &key[22..]);
    assert_eq!(mints(&api, &wrong), 403);
    wait(keys.write_uses()).expect("written");
    assert_eq!(used(), "2026-01-01T00:00:07Z");
    // A later use that another replica has written stays.
    api.world
        .db
        .execute("UPDATE api_key_uses SET last_used_at = 1800000000");
    assert_eq!(mints(&api, &key), 200);
    wait(keys.write_uses()).expect("written");
    assert_eq!(used(), "2027-01-15T08:00:00Z");
}
