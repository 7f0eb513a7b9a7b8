//! Who may be told what.

use serde_json::json;
use tn_authority::authority::{ChangeError, NewWebhook};
use tn_authority::domain::Role;
use tn_authority::domain::webhook::EventKind;
use tn_authority::store::Page;
use uuid::Uuid;

use super::house::{DERIVED_BY, carrier, is_signed, log, ports, round, subscribes};
use super::target::Target;
use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};
use crate::support::{Kind, account, wait};

both! {
    both_secrets_sign_after_a_rotation,
    everybody_subscribes_for_what_is_theirs,
    a_malformed_subscription_is_told_what_is_wrong,
}

fn both_secrets_sign_after_a_rotation(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    let rotated = wait(world.authority.rotate_webhook(
        &world.provisioner(),
        webhook.id,
        DERIVED_BY,
    ));
    assert_eq!(rotated.expect("a webhook").generation, 2);
    let secrets = [1, 2].map(|generation| {
        sender
            .secrets()
            .shown(webhook.id, generation)
            .expect("a secret")
    });
    for (number, later, signed) in [
        ("+12125551001", 0, [true, true]),
        ("+12125551002", 86_399, [true, true]),
        ("+12125551003", 1, [false, true]),
    ] {
        world.seconds_pass(later);
        ports(&world, number);
        assert_eq!(round(&world, &sender).len(), 1);
        let last = target.received().pop().expect("a message");
        assert_eq!(
            [0, 1].map(|n| is_signed(&last, &secrets[n])),
            signed,
            "{number}"
        );
    }
}

fn everybody_subscribes_for_what_is_theirs(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    world.lends("umbrella", "1.212.555.11XX");
    let sender = target.sender();
    let (acme, umbrella) = (
        world.caller(Role::Account, &["acme"]),
        world.caller(Role::Account, &["umbrella"]),
    );
    let of_acme = subscribes(&world, &acme, &target.url()).expect("a webhook");
    let of_umbrella = subscribes(&world, &umbrella, &target.url()).expect("a webhook");
    assert_eq!(of_acme.account, Some(account("acme")));
    ports(&world, "+12125551001");
    let done = round(&world, &sender);
    assert_eq!(
        done.iter().map(|d| d.webhook).collect::<Vec<_>>(),
        [of_acme.id]
    );
    assert_eq!(log(&world, &of_umbrella), []);
    // What is somebody else's is not there.
    let not_found = Err(ChangeError::NotFound("webhook"));
    assert_eq!(world.authority.webhook(&umbrella, of_acme.id), not_found);
    assert_eq!(
        wait(world.authority.end_webhook(&umbrella, of_acme.id)),
        not_found
    );
    assert_eq!(
        wait(
            world
                .authority
                .rotate_webhook(&umbrella, of_acme.id, DERIVED_BY)
        ),
        not_found
    );
    let replayed = wait(
        world
            .authority
            .replay_delivery(&umbrella, of_umbrella.id, done[0].id),
    );
    assert_eq!(replayed, Err(ChangeError::NotFound("delivery")));
    let page = Page::new(10, None);
    let listed = world
        .authority
        .webhooks(&umbrella, &page)
        .expect("webhooks")
        .items;
    assert_eq!(listed.len(), 1);
    let new = |whose: &str| NewWebhook {
        account: Some(account(whose)),
        url: target.url().parse().expect("a URL"),
        kinds: vec![EventKind::GrantsWithdrawn],
        derived_by: DERIVED_BY.to_owned(),
    };
    let others = wait(world.authority.subscribe(&acme, new("umbrella")));
    assert_eq!(
        others,
        Err(ChangeError::UnknownAccount(account("umbrella")))
    );
    let portal = world.caller(Role::Portal, &["acme", "umbrella"]);
    assert_eq!(
        subscribes(&world, &portal, &target.url()),
        Err(ChangeError::NameTheAccount)
    );
    wait(world.authority.subscribe(&portal, new("umbrella"))).expect("a webhook");
    let auditor = world.caller(Role::Auditor, &[]);
    assert_eq!(
        subscribes(&world, &auditor, &target.url()),
        Err(ChangeError::Forbidden)
    );
    // Nobody fills the database with them.
    for _ in 0..19 {
        subscribes(&world, &acme, &target.url()).expect("a webhook");
    }
    assert_eq!(
        subscribes(&world, &acme, &target.url()),
        Err(ChangeError::TooManyWebhooks)
    );
    wait(world.authority.end_webhook(&acme, of_acme.id)).expect("a webhook");
    subscribes(&world, &acme, &target.url()).expect("a webhook");
}

fn a_malformed_subscription_is_told_what_is_wrong(api: Api) {
    let key = &api.acme;
    for url in [
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://017700000001/x",
        "https://127.1/x",
        "https://localhost/x",
        "http://hooks.example/x",
        "https://user:word@hooks.example/x",
        "https://hooks.example:25/x",
        "file:///etc/passwd",
        "",
    ] {
        let problem = api
            .post(key, "/v1/webhooks", &json!({ "url": url }))
            .problem(400, "malformed-member");
        assert!(member(&problem, "detail").starts_with("`url`"), "{problem}");
    }
    let url = "https://hooks.example.com/x";
    for (body, code) in [
        (json!({}), "missing-member"),
        (json!({ "url": 1 }), "malformed-member"),
        (json!({ "url": url, "kinds": [] }), "malformed-member"),
        (
            json!({ "url": url, "kinds": ["everything"] }),
            "malformed-member",
        ),
        (json!({ "url": url, "secret": "mine" }), "unknown-member"),
    ] {
        api.post(key, "/v1/webhooks", &body).problem(400, code);
    }
    api.post("", "/v1/webhooks", &json!({ "url": url }))
        .problem(401, "unauthorized");
    api.post(&api.auditor, "/v1/webhooks", &json!({ "url": url }))
        .problem(403, "forbidden");

    let answer = api.post(key, "/v1/webhooks", &json!({ "url": url }));
    let made = answer.with(201);
    let secret = member(&made, "secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made["account"], "acme");
    let place = answer.header("location").expect("a location").to_owned();
    let shown = api.get(key, &place).with(200);
    assert_eq!(shown.get("secret"), None);
    assert_eq!(
        api.get(key, "/v1/webhooks").with(200)["items"],
        json!([shown])
    );
    let other = api.key(Role::Account, &["other"]);
    for path in [place.clone(), format!("{place}/deliveries")] {
        api.get(&other, &path).problem(404, "not-found");
    }
    let rotated = api
        .post(key, &format!("{place}/rotate"), &json!({}))
        .with(200);
    assert_ne!(rotated["secret"], json!(secret));
    assert_eq!(rotated["previous_secret_until"], "2026-01-02T00:00:00Z");
    api.post(key, &format!("{place}/replay"), &json!({ "after": -1 }))
        .problem(400, "malformed-member");
    api.post(
        key,
        &format!("{place}/replay"),
        &json!({ "after": 9_007_199_254_740_991_i64 }),
    )
    .problem(409, "not-sent-yet");
    api.post(
        key,
        &format!("{place}/deliveries/{}/replay", Uuid::nil()),
        &json!({}),
    )
    .problem(404, "not-found");
    api.post(key, &format!("{place}/deliveries/x/replay"), &json!({}))
        .problem(404, "not-found");
    assert_eq!(
        items(&api.get(key, &format!("{place}/deliveries")).with(200)["items"]).len(),
        0
    );
    let ended = api.post(key, &format!("{place}/end"), &json!({})).with(200);
    assert_eq!(ended["ended_at"], "2026-01-01T00:00:00Z");
    api.post(key, &format!("{place}/end"), &json!({})).with(200);
    assert_eq!(api.get(key, "/v1/webhooks").with(200)["items"], json!([]));
    assert_eq!(api.ask(&asking(&["one:12125551001"])).status, 200);
}
