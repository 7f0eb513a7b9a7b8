//! That control could not be proven again is told like a withdrawal, in the same sequence.

use serde_json::Value;
use tn_authority::authority::NewWebhook;
use tn_authority::domain::webhook::{EventKind, Webhook};
use tn_authority::domain::{Caller, Role};

use super::house::{DERIVED_BY, is_signed, log, ports, round, until};
use super::target::Target;
use crate::control::reproof::{DAY, feed, gives, lending, wanted, works};
use crate::support::{Kind, Setup, World, wait};

both! {
    failures_and_withdrawals_are_told_in_their_order,
    a_subscription_names_the_kinds_that_it_gets,
}

fn subscribes(world: &World, caller: &Caller, target: &Target, kinds: &[EventKind]) -> Webhook {
    let new = NewWebhook {
        account: None,
        url: target.url().parse().expect("a URL"),
        kinds: kinds.to_vec(),
        derived_by: DERIVED_BY.to_owned(),
    };
    wait(world.authority.subscribe(caller, new)).expect("a webhook")
}

/// All that a target was told.
fn told(target: &Target) -> Vec<Value> {
    let received = target.received().into_iter();
    received
        .map(|one| serde_json::from_str(&one.body).expect("JSON"))
        .collect()
}

fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter()
        .map(|one| one["type"].as_str().expect("a type"))
        .collect()
}

fn tells_all(world: &World, target: &Target) {
    let sender = target.sender();
    until("everything is told", || round(world, &sender).is_empty());
}

/// A number is ported out, two codes do not come back, and another number is ported out.
fn happens(kind: Kind, subscribe: impl FnOnce(&World)) -> World {
    let (world, loan) = lending(kind, Setup::default());
    subscribe(&world);
    ports(&world, "+12125551010");
    gives(&world, wanted(&loan, &["range:12125551001+2"], DAY)).expect("a right");
    assert_eq!(works(&world), 2);
    world.seconds_pass(600);
    while wait(world.authority.report_failures()).expect("a report") {}
    ports(&world, "+12125551011");
    world
}

fn failures_and_withdrawals_are_told_in_their_order(kind: Kind) {
    let target = Target::taking();
    let both = [EventKind::GrantsWithdrawn, EventKind::ControlFailed];
    let mut webhook = None;
    let world = happens(kind, |world| {
        let acme = world.caller(Role::Account, &["acme"]);
        webhook = Some(subscribes(world, &acme, &target, &both));
    });
    let webhook = webhook.expect("a webhook");
    tells_all(&world, &target);
    let messages = told(&target);
    let expected = ["grants.withdrawn", "control.failed", "grants.withdrawn"];
    assert_eq!(kinds(&messages), expected);
    let sequence = |of: &Value| of["sequence"].as_i64().expect("a number");
    let all = messages
        .iter()
        .flat_map(|one| one["data"]["items"].as_array().expect("items"));
    let all: Vec<i64> = all.map(sequence).collect();
    assert_eq!(all.len(), 4);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");

    let failed = &messages[1]["data"];
    assert_eq!(failed["next_after"], failed["items"][1]["sequence"]);
    let known = feed(&world);
    for (item, failed) in failed["items"]
        .as_array()
        .expect("items")
        .iter()
        .zip(&known)
    {
        let proof = &failed.proof;
        assert_eq!(item["sequence"], failed.sequence);
        assert_eq!(item["proof"], proof.id.to_string());
        assert_eq!(item["account"], "acme");
        assert_eq!(item["number"], proof.number.to_string());
        assert_eq!(item["method"], "sip");
        assert_eq!(item["renewal"], proof.renewal.expect("a right").to_string());
        assert_eq!(item["reason"], "expired");
    }
    let secret = target
        .sender()
        .secrets()
        .shown(webhook.id, 1)
        .expect("a secret");
    assert!(is_signed(&target.received()[1], &secret));

    // Repeated, it says the same.
    let deliveries = log(&world, &webhook);
    assert_eq!(deliveries[1].kind, EventKind::ControlFailed);
    let acme = world.caller(Role::Account, &["acme"]);
    let repeated = world
        .authority
        .replay_delivery(&acme, webhook.id, deliveries[1].id);
    assert_eq!(
        wait(repeated).expect("a delivery").kind,
        EventKind::ControlFailed
    );
    tells_all(&world, &target);
    assert_eq!(told(&target)[3]["data"], messages[1]["data"]);
    // From the start again: both kinds.
    wait(world.authority.replay_from(&acme, webhook.id, 0)).expect("a position");
    tells_all(&world, &target);
    assert_eq!(kinds(&told(&target)[4..]), expected);
}

fn a_subscription_names_the_kinds_that_it_gets(kind: Kind) {
    let [withdrawals, failures, others] = [(); 3].map(|()| Target::taking());
    let world = happens(kind, |world| {
        let acme = world.caller(Role::Account, &["acme"]);
        subscribes(world, &acme, &withdrawals, &[EventKind::GrantsWithdrawn]);
        subscribes(
            world,
            &world.provisioner(),
            &failures,
            &[EventKind::ControlFailed],
        );
        world.lends("other", "1.212.555.2XXX");
        let other = world.caller(Role::Account, &["other"]);
        let both = [EventKind::GrantsWithdrawn, EventKind::ControlFailed];
        subscribes(world, &other, &others, &both);
    });
    // Each target has a CA of its own, so each sender reaches one of them.
    for target in [&withdrawals, &failures, &others] {
        let sender = target.sender();
        for _ in 0..4 {
            round(&world, &sender);
            world.seconds_pass(60);
        }
    }
    let items = |told: &[Value]| -> usize {
        let items = told
            .iter()
            .map(|one| one["data"]["items"].as_array().map_or(0, Vec::len));
        items.sum()
    };
    let told_of = [&withdrawals, &failures, &others].map(told);
    assert!(
        kinds(&told_of[0])
            .iter()
            .all(|kind| *kind == "grants.withdrawn")
    );
    assert!(
        kinds(&told_of[1])
            .iter()
            .all(|kind| *kind == "control.failed")
    );
    let counts: Vec<usize> = told_of.iter().map(|told| items(told)).collect();
    assert_eq!(counts, [2, 2, 0]);
}
