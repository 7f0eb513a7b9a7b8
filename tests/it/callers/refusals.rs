//! Keys that prove nobody: one answer for all of them, and the reason for operators alone.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use std::net::IpAddr;

use tn_authority::callers::{Credentials, NewApiKey};
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use crate::service::{Api, asking};
use crate::support::{account, wait};

both!(
    whatever_is_wrong_with_a_key_the_answer_is_one,
    a_key_works_from_its_networks_alone,
    memory_forgets_nothing_that_matters,
);

fn admin() -> Caller {
    Caller::at_the_command_line(Uuid::nil())
}

fn new(api: &Api, from: &[&str]) -> (String, String) {
    let new = NewApiKey {
        allow_from: from
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect(),
        ..NewApiKey::new(Role::Account, vec![account("acme")])
    };
    let made = wait(api.service.callers.api_keys().create(&admin(), new)).expect("a key");
    (made.kept.id, made.key)
}

fn whatever_is_wrong_with_a_key_the_answer_is_one(api: Api) {
    let keys = api.service.callers.api_keys();
    let (by, now) = (&admin(), api.world.now());
    let (id, wrong_secret) = new(&api, &[]);
    let end = wrong_secret.len() - 2;
    let other = if wrong_secret.ends_with("AA") {
        "BA"
    } else {
        "AA"
    };
    let wrong_secret = format!("{}{other}", &wrong_secret[..end]);
    let unknown = wrong_secret.replace(&id, "0123456789abcdef");
    let (id, revoked) = new(&api, &[]);
    wait(keys.revoke(by, &id)).expect("revoked");
    let (id, expired) = new(&api, &[]);
    wait(keys.expire(by, &id, now)).expect("expired");
    let (id, rotated) = new(&api, &[]);
    wait(keys.rotate(by, &id, 0)).expect("rotated");
    let (_, elsewhere) = new(&api, &["192.0.2.0/24", "2001:db8::/32"]);
    let (_, upper) = new(&api, &[]);
    let upper = format!("tna_{}{}", upper[4..20].to_uppercase(), &upper[20..]);

    let wanted = asking(&["one:12125551001"]);
    let ask = |key: &str| api.post(key, "/at/account/acme/token", &wanted);
    let uniform = ask("nonsense");
    uniform.problem(403, "forbidden");
    for (key, reason) in [
        (&wrong_secret, "wrong-secret"),
        (&unknown, "unknown"),
        (&revoked, "revoked"),
        (&expired, "expired"),
        // Without an overlap nothing of the old secret is kept.
        (&rotated, "wrong-secret"),
        (&elsewhere, "wrong-address"),
        (&format!("{upper}x"), "scheme"),
    ] {
        // What is no key at all says no more than that.
        let proof = match reason {
            "scheme" => "authorization",
            _ => "api-key",
        };
        let counted = format!("unproven_total{{proof=\"{proof}\",reason=\"{reason}\"}}");
        let before = api.world.count(&counted);
        assert_eq!(ask(key).without_id(), uniform.without_id(), "{reason}");
        assert_eq!(api.world.count(&counted), before + 1, "{reason}");
        assert_eq!(
            api.get(key, "/v1/accounts").without_id(),
            uniform.without_id(),
            "{reason}"
        );
    }
    assert!(api.world.grants().is_empty());
}

fn a_key_works_from_its_networks_alone(api: Api) {
    let (_, key) = new(&api, &["192.0.2.0/24", "2001:db8::/32"]);
    let (_, anywhere) = new(&api, &[]);
    let proves = |key: &str, from: Option<&str>| {
        let from = from.map(|ip| ip.parse::<IpAddr>().expect("an address"));
        let authorization = Some(format!("bearer {key}"));
        let offered = Credentials {
            authorization,
            from,
            certificate: None,
        };
        let callers = &api.service.callers;
        let proven = callers.authenticate(&offered, Uuid::nil()).is_ok();
        // What was read not long ago says the same.
        assert_eq!(
            callers.authenticate_cached(&offered, Uuid::nil()).is_some(),
            proven
        );
        proven
    };
    for (from, works) in [
        (Some("192.0.2.1"), true),
        (Some("::ffff:192.0.2.1"), true),
        (Some("2001:db8::1"), true),
        (Some("192.0.3.1"), false),
        (Some("::ffff:198.51.100.1"), false),
        (Some("2001:db9::1"), false),
        (Some("::192.0.2.1"), false),
        (None, false),
    ] {
        assert_eq!(proves(&key, from), works, "{from:?}");
        assert!(proves(&anywhere, from), "{from:?}");
    }
}

/// A key that another replica has revoked mints nothing, though this one still remembers it; and reads nothing.
fn memory_forgets_nothing_that_matters(api: Api) {
    let wanted = asking(&["one:12125551001"]);
    let mint = || api.ask(&wanted);
    mint().with(200);
    api.get(&api.auditor, "/v1/grants").with(200);
    api.world
        .db
        .execute("UPDATE api_keys SET revoked_at = 1767225600");
    let refused = mint();
    refused.problem(403, "forbidden");
    let id = api.acme[4..20].to_owned();
    let event = api.world.trail("acme").pop().expect("an event");
    assert_eq!(
        (event.caller, event.outcome.as_str()),
        (id, "forbidden"),
        "it was refused in the transaction"
    );
    // From then on it is not remembered.
    assert_eq!(mint().without_id(), refused.without_id());
    assert_eq!(
        api.get(&api.auditor, "/v1/grants").without_id(),
        refused.without_id()
    );
    assert_eq!(api.world.grants().len(), 1);
    assert!(api.world.count("denials_total{code=\"forbidden\"}") == 1);
}
