//! What is told, how often, and what becomes of what fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tn_authority::authority::{Assignment, ChangeError, FeedItems};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::webhook::{DeliveryState, TargetAnswer};
use tn_authority::domain::{Caller, Role};
use tn_authority::webhooks::SenderThreads;
use uuid::Uuid;

use super::house::{
    DERIVED_BY, OTHER_PROCESS, PROCESS, carrier, is_signed, log, ports, round, subscribes, until,
};
use super::target::Target;
use crate::support::fixtures::{items, member};
use crate::support::{Db, Kind, Setup, World, wait};

both! {
    a_withdrawal_is_told_with_a_signature,
    what_fails_is_sent_again_under_the_same_id,
    a_crash_between_commit_and_delivery_loses_nothing,
    what_cannot_be_told_is_given_up_and_can_be_replayed,
    a_target_that_is_gone_is_told_no_more,
    a_target_that_never_answers_holds_up_nobody,
    one_account_does_not_keep_all_senders_busy,
    only_so_many_deliveries_wait_to_be_sent_again,
    two_replicas_tell_each_thing_once,
}

fn a_withdrawal_is_told_with_a_signature(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    let before = ports(&world, "+12125551000");
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    let secret = sender.secrets().shown(webhook.id, 1).expect("a secret");
    assert_eq!(round(&world, &sender).len(), 0);
    let jti = ports(&world, "+12125551001");
    let other = world
        .mints("acme", &["range:12125551010+2"])
        .expect("a token");
    let (port, at) = ("+12125551011", world.in_seconds(600));
    world.excludes(port, Reason::PortedOut, Some(at));

    let done = round(&world, &sender);
    assert_eq!(
        (done.len(), done[0].state, done[0].items),
        (1, DeliveryState::Delivered, 2)
    );
    let received = target.received();
    assert_eq!(received.len(), 1);
    assert!(is_signed(&received[0], &secret));
    assert!(!is_signed(
        &received[0],
        &sender.secrets().shown(webhook.id, 2).expect("a secret")
    ));
    let header = |name: &str| received[0].headers[name].clone();
    assert_eq!(header("webhook-id"), done[0].id.to_string());
    assert_eq!(
        header("webhook-timestamp"),
        world.now().timestamp().to_string()
    );
    assert_eq!(header("content-type"), "application/json");
    let event: Value = serde_json::from_str(&received[0].body).expect("JSON");
    assert_eq!(event["type"], "grants.withdrawn");
    let told = items(&event["data"]["items"]);
    assert_eq!(
        (told[0]["jti"].as_str(), &told[0]["reason"]),
        (Some(jti.as_str()), &json!("ported-out"))
    );
    assert_eq!(
        told[0]["numbers"],
        json!([{ "start": "+12125551001", "count": 1 }])
    );
    assert_eq!(
        (&told[1]["jti"], &told[1]["at"]),
        (&json!(other.jti), &json!("2026-01-01T00:10:00Z"))
    );
    assert_eq!(event["data"]["next_after"], told[1]["sequence"]);
    assert!(!received[0].body.contains(&before) && !received[0].body.contains("cause"));
    assert_eq!(round(&world, &sender).len(), 0);
    assert_eq!(log(&world, &webhook), done);
}

fn what_fails_is_sent_again_under_the_same_id(kind: Kind) {
    let world = carrier(kind);
    let elsewhere = Target::taking();
    let target = Target::answering(|n| match n {
        0 => Some((500, String::new())),
        // Nobody follows it, wherever it leads.
        1 => Some((307, "location: https://hooks.example:1/x\r\n".to_owned())),
        2 => Some((
            302,
            "location: http://169.254.169.254/latest\r\n".to_owned(),
        )),
        _ => Some((200, String::new())),
    });
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let mut failures = Vec::new();
    for wait in [10, 20, 40] {
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(done.state, DeliveryState::Pending);
        failures.push((done.last_status, done.last_failure));
        world.seconds_pass(wait - 1);
        assert_eq!(round(&world, &sender).len(), 0);
        world.seconds_pass(1);
    }
    let redirect = |status| (Some(status), Some("redirect".to_owned()));
    assert_eq!(
        failures,
        [
            (Some(500), Some("status".to_owned())),
            redirect(307),
            redirect(302)
        ]
    );
    let done = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(
        (done.state, done.attempts, done.last_failure),
        (DeliveryState::Delivered, 4, None)
    );
    let received = target.received();
    let all = |name: &str| {
        received
            .iter()
            .map(|r| r.headers[name].clone())
            .collect::<Vec<_>>()
    };
    assert!(
        all("webhook-id")
            .iter()
            .all(|id| *id == done.id.to_string()),
        "{:?}",
        all("webhook-id")
    );
    let mut times = all("webhook-timestamp");
    times.dedup();
    assert_eq!(times.len(), 4);
    assert!(received.iter().all(|r| r.body == received[0].body));
    let secret = sender.secrets().shown(webhook.id, 1).expect("a secret");
    assert!(received.iter().all(|r| is_signed(r, &secret)));
    assert!(elsewhere.received().is_empty());
}

fn a_crash_between_commit_and_delivery_loses_nothing(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let take = |process| wait(world.authority.take_deliveries(process, 10)).expect("deliveries");
    // This one takes it, and is never heard of again; or is, when another one has taken its place.
    let lost = take(OTHER_PROCESS).pop().expect("a delivery");
    assert!(take(PROCESS).is_empty());
    world.seconds_pass(59);
    assert!(take(PROCESS).is_empty());
    world.seconds_pass(1);
    let again = take(PROCESS).pop().expect("a delivery");
    assert_eq!(
        (again.delivery.id, &again.items),
        (lost.delivery.id, &lost.items)
    );
    let service = Caller::the_service(Uuid::from_u128(9));
    let late = world.authority.attempted(
        &service,
        OTHER_PROCESS,
        lost,
        (TargetAnswer::Status(500, None), 0),
    );
    assert_eq!(wait(late).expect("no record"), None);
    let answer = sender.send(&again, world.now()).expect("a signature");
    let done = world
        .authority
        .attempted(&service, PROCESS, again, (answer, 0));
    let done = wait(done).expect("a record").expect("its own delivery");
    assert_eq!((done.state, done.attempts), (DeliveryState::Delivered, 1));
}

fn what_cannot_be_told_is_given_up_and_can_be_replayed(kind: Kind) {
    let world = carrier(kind);
    let target = Target::answering(|n| Some((if n < 15 { 503 } else { 200 }, String::new())));
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let dead = loop {
        let done = round(&world, &sender).pop().expect("a delivery");
        if done.state == DeliveryState::Dead {
            break done;
        }
        world.seconds_pass(4 * 3_600);
    };
    assert_eq!(
        world
            .trail(&webhook.id.to_string())
            .last()
            .expect("an event")
            .action,
        "give-up-delivery"
    );
    // The next one is not held up by it, though the target has answered nothing but 503 so far.
    let mut left = 15 - dead.attempts;
    ports(&world, "+12125551002");
    let next = loop {
        let done = round(&world, &sender).pop().expect("a delivery");
        if done.state == DeliveryState::Delivered {
            break done;
        }
        left -= 1;
        assert!(left >= 0);
        world.seconds_pass(600);
    };
    assert_ne!(next.id, dead.id);
    let caller = world.provisioner();
    wait(
        world
            .authority
            .replay_delivery(&caller, webhook.id, dead.id),
    )
    .expect("a delivery");
    let replayed = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(
        (replayed.replay_of, replayed.first, replayed.state),
        (Some(dead.id), dead.first, DeliveryState::Delivered)
    );
    let received = target.received();
    let [.., second_last, last] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(
        last.body.split("\"data\"").nth(1),
        received[0].body.split("\"data\"").nth(1)
    );
    assert_ne!(second_last.body, last.body);
    // From a place of the feed on.
    let replay = |after| {
        wait(
            world
                .authority
                .replay_from(&world.provisioner(), webhook.id, after),
        )
    };
    assert_eq!(replay(next.last + 1), Err(ChangeError::NotSentYet));
    replay(0).expect("a webhook");
    let all = round(&world, &sender).pop().expect("a delivery");
    assert_eq!((all.items, all.first, all.last), (2, dead.first, next.last));
    assert_eq!(log(&world, &webhook).len(), 4);
}

fn a_target_that_is_gone_is_told_no_more(kind: Kind) {
    let (world, target) = (
        carrier(kind),
        Target::answering(|_| Some((410, String::new()))),
    );
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    assert_eq!(round(&world, &sender)[0].state, DeliveryState::Dead);
    ports(&world, "+12125551002");
    world.seconds_pass(86_400);
    assert_eq!(round(&world, &sender).len(), 0);
    let known = world
        .authority
        .webhook(&world.provisioner(), webhook.id)
        .expect("a webhook");
    assert!(known.ended_at.is_some());
    let rotated = wait(world.authority.rotate_webhook(
        &world.provisioner(),
        webhook.id,
        DERIVED_BY,
    ));
    assert_eq!(rotated, Err(ChangeError::WebhookEnded));
}

fn a_target_that_never_answers_holds_up_nobody(kind: Kind) {
    let world = carrier(kind);
    let (silent, target) = (Target::answering(|_| None), Target::taking());
    let both = [&silent.ca_file, &target.ca_file]
        .map(|file| std::fs::read_to_string(file).expect("a file"));
    std::fs::write(&target.ca_file, both.concat()).expect("a file");
    let sender = target.sender();
    for url in [silent.url(), target.url()] {
        subscribes(&world, &world.provisioner(), &url).expect("a webhook");
    }
    let worker = SenderThreads::start(&world.authority, &sender).expect("a worker");
    let mut slowest = Duration::ZERO;
    for n in 1..=3 {
        ports(&world, &format!("+1212555100{n}"));
        let start = Instant::now();
        until("the target is told", || target.received().len() >= n);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(12), "{slowest:?}");
    assert_eq!(silent.received().len(), 1);
    drop(worker);
    assert_eq!(
        world.count("webhook_attempts_total{outcome=\"delivered\"}"),
        3
    );
    assert_eq!(world.count("webhook_attempts_total{outcome=\"failed\"}"), 1);
}

fn one_account_does_not_keep_all_senders_busy(kind: Kind) {
    let world = carrier(kind);
    world.lends("umbrella", "1.212.555.11XX");
    let acme = world.caller(Role::Portal, &["acme"]);
    let umbrella = world.caller(Role::Portal, &["umbrella"]);
    let of_acme: Vec<Uuid> = (0..5)
        .map(|n| subscribes(&world, &acme, &format!("https://acme.example/{n}")))
        .map(|webhook| webhook.expect("a webhook").id)
        .collect();
    let of_umbrella = subscribes(&world, &umbrella, "https://umbrella.example/");
    ports(&world, "+12125551001");
    let jti = world
        .mints("umbrella", &["one:12125551101"])
        .expect("a token");
    world.excludes("+12125551101", Reason::PortedOut, None);
    let take = |process| wait(world.authority.take_deliveries(process, 8)).expect("deliveries");
    let mut first = take(PROCESS);
    let told = |taken: &[Assignment]| taken.iter().map(|one| one.webhook.id).collect::<Vec<_>>();
    let umbrella = of_umbrella.expect("a webhook").id;
    assert_eq!(told(&first), [of_acme[0], of_acme[1], umbrella]);
    let FeedItems::Withdrawn(withdrawn) = &first[2].items else {
        panic!("{:?}", first[2].items)
    };
    assert_eq!(withdrawn[0].jti, jti.jti);
    // Also when another process has senders to spare.
    assert!(take(OTHER_PROCESS).is_empty());
    let service = Caller::the_service(Uuid::from_u128(9));
    let done = world.authority.attempted(
        &service,
        PROCESS,
        first.swap_remove(0),
        (TargetAnswer::Status(204, None), 0),
    );
    wait(done).expect("a record").expect("its own delivery");
    assert_eq!(told(&take(OTHER_PROCESS)), [of_acme[2]]);
}

fn only_so_many_deliveries_wait_to_be_sent_again(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    let caller = world.provisioner();
    let webhook = subscribes(&world, &caller, &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let told = round(&world, &sender).pop().expect("a delivery");
    let again = || {
        wait(
            world
                .authority
                .replay_delivery(&caller, webhook.id, told.id),
        )
    };
    for _ in 0..100 {
        again().expect("a delivery");
    }
    assert_eq!(again(), Err(ChangeError::TooManyDeliveries));
    assert_eq!(round(&world, &sender).len(), 1);
    again().expect("a delivery");
}

fn two_replicas_tell_each_thing_once(kind: Kind) {
    let (db, target) = (Arc::new(Db::from(kind)), Target::taking());
    let worlds = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.10XX");
    let sender = target.sender();
    let webhook =
        subscribes(&worlds[0], &worlds[0].provisioner(), &target.url()).expect("a webhook");
    let workers =
        [0, 1].map(|n| SenderThreads::start(&worlds[n].authority, &sender).expect("a worker"));
    let mut told: Vec<String> = (0..20)
        .map(|n| ports(&worlds[n % 2], &format!("+121255510{n:02}")))
        .collect();
    let heard = || {
        let received = target.received().into_iter();
        let events = received.map(|r| serde_json::from_str::<Value>(&r.body).expect("JSON"));
        let jtis = |event: Value| {
            items(&event["data"]["items"])
                .iter()
                .map(|i| member(i, "jti").to_owned())
                .collect::<Vec<_>>()
        };
        events.flat_map(jtis).collect::<Vec<_>>()
    };
    until("all is told", || heard().len() >= told.len());
    drop(workers);
    // In the order of the feed, and each of them once.
    assert_eq!(heard(), told);
    told.sort_unstable();
    let log = log(&worlds[0], &webhook);
    assert!(
        log.iter()
            .all(|d| (d.state, d.attempts) == (DeliveryState::Delivered, 1)),
        "{log:?}"
    );
}
