//! Where nothing goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tn_authority::domain::webhook::DeliveryState;

use super::house::{carrier, ports, round, subscribes};
use super::target::{Fixed, Target};
use crate::support::{Kind, wait};

both! {
    nothing_goes_inside,
    an_allowed_nat64_does_not_lead_inside,
    a_name_is_looked_up_once_for_each_attempt,
}

fn nothing_goes_inside(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    for inside in [
        &["127.0.0.1"][..],
        &["::1"],
        &["169.254.169.254"],
        &["10.0.0.1"],
        &["100.64.0.1"],
        &["0.0.0.0"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::1"],
        &["fd00::1"],
        // One that may be told does not make up for one that may not.
        &["8.8.8.8", "127.0.0.1"],
    ] {
        let sender = target.sender_with(Fixed::of(inside), &[]);
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(
            done.last_failure.as_deref(),
            Some("refused-address"),
            "{inside:?}"
        );
        world.seconds_pass(4 * 3_600);
    }
    wait(
        world
            .authority
            .end_webhook(&world.provisioner(), webhook.id),
    )
    .expect("a webhook");
    // A literal address is looked at too when it comes from elsewhere than a subscription over HTTP.
    let literal = format!("https://127.0.0.1:{}/told?by=us", target.port);
    subscribes(&world, &world.provisioner(), &literal).expect("a webhook");
    ports(&world, "+12125551002");
    let refused = target.sender_with(Fixed::of(&["8.8.8.8"]), &["10.0.0.0/8"]);
    let done = round(&world, &refused).pop().expect("a delivery");
    assert_eq!(done.last_failure.as_deref(), Some("refused-address"));
    assert!(target.received().is_empty());
    // Unless the carrier says so.
    world.seconds_pass(60);
    let allowed = target.sender_with(Fixed::of(&["8.8.8.8"]), &["127.0.0.1/32"]);
    assert_eq!(round(&world, &allowed)[0].state, DeliveryState::Delivered);
    assert_eq!(target.received().len(), 1);
}

fn an_allowed_nat64_does_not_lead_inside(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    for (inside, allowed) in [
        ("64:ff9b::7f00:1", "64:ff9b::/96"),
        ("64:ff9b::a9fe:a9fe", "64:ff9b::/96"),
        ("64:ff9b::a00:1", "64:ff9b::/96"),
        ("64:ff9b:1::7f00:1", "64:ff9b:1::/96"),
        ("2002:7f00:1::1", "2002::/16"),
    ] {
        let sender = target.sender_with(Fixed::of(&[inside]), &[allowed]);
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(
            done.last_failure.as_deref(),
            Some("refused-address"),
            "{inside}"
        );
        world.seconds_pass(4 * 3_600);
    }
    // A public IPv4 address is not refused by the guard. Whether it is reached is up to the network.
    let guard = target.sender_with(Fixed::of(&[]), &[]);
    let public = "64:ff9b::808:808".parse().expect("an address");
    assert!(guard.guard().allows(public));
}

fn a_name_is_looked_up_once_for_each_attempt(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let names = Fixed::in_turn(&[&["127.0.0.1"], &["169.254.169.254"], &[]]);
    let asked = Arc::clone(&names.asked);
    let sender = target.sender_with(names, &["127.0.0.0/8"]);
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    for (number, failure) in [
        ("+12125551001", None),
        ("+12125551002", Some("refused-address")),
    ] {
        ports(&world, number);
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(done.last_failure.as_deref(), failure);
    }
    world.seconds_pass(60);
    let done = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(done.last_failure.as_deref(), Some("no-address"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(target.received().len(), 1);
}
