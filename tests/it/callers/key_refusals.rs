//! What makes no API key and changes none, and who may not ask for it.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::json;
use tn_authority::domain::Role;

use super::keys::{of_acme, shown};
use crate::support::service::Api;

both!(keys_are_for_admins_alone, what_makes_no_key_is_refused);

fn keys_are_for_admins_alone(api: Api) {
    let (id, _) = of_acme(&api);
    let others = [
        api.provisioner.clone(),
        api.auditor.clone(),
        api.acme.clone(),
        api.key(Role::Portal, &["acme"]),
        api.key(Role::Provisioner, &["acme"]),
    ];
    let new = json!({ "role": "admin" }).to_string();
    for key in &others {
        for (method, path, body) in [
            ("POST", "/v1/api-keys".to_owned(), Some(new.as_str())),
            ("GET", "/v1/api-keys".to_owned(), None),
            ("GET", format!("/v1/api-keys/{id}"), None),
            ("POST", format!("/v1/api-keys/{id}/rotate"), Some("{}")),
            ("POST", format!("/v1/api-keys/{id}/expire"), Some("{}")),
            ("POST", format!("/v1/api-keys/{id}/revoke"), Some("{}")),
        ] {
            api.call(method, key, &path, body).problem(403, "forbidden");
        }
    }
    assert_eq!(shown(&api, &id)["state"], "active");
}

fn what_makes_no_key_is_refused(api: Api) {
    let many: Vec<String> = (0..33).map(|n| format!("10.0.{n}.0/24")).collect();
    for (body, status, code) in [
        (json!({}), 400, "missing-member"),
        (json!({ "role": "root" }), 400, "malformed-member"),
        (json!({ "role": "account" }), 400, "role-and-accounts"),
        (
            json!({ "role": "account", "accounts": ["acme", "other"] }),
            400,
            "role-and-accounts",
        ),
        (json!({ "role": "portal" }), 400, "role-and-accounts"),
        (
            json!({ "role": "admin", "accounts": ["acme"] }),
            400,
            "role-and-accounts",
        ),
        (
            json!({ "role": "auditor", "accounts": ["acme", "other"] }),
            400,
            "role-and-accounts",
        ),
        (
            json!({ "role": "account", "accounts": ["a b"] }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "account", "accounts": ["nobody"] }),
            409,
            "unknown-account",
        ),
        (
            json!({ "role": "admin", "label": "a\u{1b}[31m" }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "expires_at": "2026-01-01T00:00:00Z" }),
            400,
            "window-over",
        ),
        (
            json!({ "role": "admin", "expires_at": "tomorrow" }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "allow_from": ["10.0.0.1/8"] }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "allow_from": ["10.0.0.1"] }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "allow_from": ["::ffff:10.0.0.0/104"] }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "allow_from": "10.0.0.0/8" }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "allow_from": many }),
            400,
            "malformed-member",
        ),
        (
            json!({ "role": "admin", "secret": "mine" }),
            400,
            "unknown-member",
        ),
    ] {
        api.post(&api.admin, "/v1/api-keys", &body)
            .problem(status, code);
    }
    let (id, _) = of_acme(&api);
    for (verb, body, code) in [
        (
            "rotate",
            json!({ "overlap": 2_592_001 }),
            "malformed-member",
        ),
        ("rotate", json!({ "overlap": -1 }), "malformed-member"),
        ("rotate", json!({ "overlap": 1.5 }), "malformed-member"),
        ("expire", json!({}), "missing-member"),
        ("expire", json!({ "at": null }), "malformed-member"),
        (
            "revoke",
            json!({ "at": "2027-01-01T00:00:00Z" }),
            "unknown-member",
        ),
    ] {
        api.post(&api.admin, &format!("/v1/api-keys/{id}/{verb}"), &body)
            .problem(400, code);
    }
    for none in ["0000000000000000", "x", "%2e%2e", &"a".repeat(500)] {
        let path = format!("/v1/api-keys/{none}");
        api.get(&api.admin, &path).problem(404, "not-found");
    }
}
