//! The limits of the configuration hold for the service itself: a limit means later, not failed. And
//! many rights at once hold up nobody.

use tn_authority::authority::{NewControlProofs, ProofLimits};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::failure::ControlFailure;
use tn_authority::domain::control::proof::{Method, ProofState};
use tn_authority::domain::control::reproofing::Reproofing;
use tn_authority::domain::tokens::renewal::Renewal;
use tn_authority::domain::{Fingerprint, Role, new_id};
use tn_authority::store::{Page, StoreError, Tx};

use super::{
    DAY, HOUR, answers, daily, feed, gives, key, lending, one_run, proofs, renews, wanted, works,
};
use crate::authority::renewals::listed;
use crate::control::proven::{not_older_than, set, setup, tn};
use crate::support::{Kind, Setup, World, account, wait};

both! {
    a_gateway_s_limit_means_later,
    an_account_s_limit_means_later,
    a_number_that_was_asked_too_often_waits,
    what_callers_ask_does_not_keep_the_service_from_asking,
    a_right_whose_proofs_grow_too_old_because_of_limits_is_reported,
    ten_thousand_that_are_due_are_worked_off_in_bounded_steps,
}

fn limited(limits: impl FnOnce(&mut ProofLimits)) -> Setup {
    let mut setup = setup(set(&not_older_than(86_400)), 0);
    limits(&mut setup.control.limits);
    setup
}

fn asked(world: &World) -> usize {
    proofs(world).len()
}

fn a_gateway_s_limit_means_later(kind: Kind) {
    let (world, loan) = lending(kind, limited(|limits| limits.per_gateway_hour = 20));
    // Half of it, for one customer.
    for n in 0..25 {
        let entry = format!("one:12125551{n:03}");
        gives(&world, wanted(&loan, &[&entry], DAY)).expect("a right");
    }
    assert_eq!((works(&world), answers(&world)), (10, 10));
    // Without room it does not even look.
    assert_eq!(one_run(&world).rights, 0);
    for hours in [2, 3] {
        world.seconds_pass(HOUR);
        assert!(works(&world) <= 10);
        answers(&world);
        assert_eq!(asked(&world), (hours * 10).min(25));
    }
    let starts: Vec<i64> = proofs(&world)
        .iter()
        .map(|p| p.started_at.timestamp())
        .collect();
    for at in &starts {
        let within = starts
            .iter()
            .filter(|start| (*at..at + HOUR).contains(start));
        assert!(within.count() <= 10);
    }
    assert_eq!(feed(&world), []);
}

fn an_account_s_limit_means_later(kind: Kind) {
    let (world, loan) = lending(kind, limited(|limits| limits.per_account_hour = 70));
    let other = world.lends("other", "1.212.555.2XXX");
    let right = gives(&world, wanted(&loan, &["range:12125551000+150"], DAY)).expect("a right");
    let theirs = gives(&world, wanted(&other, &["range:12125552000+5"], DAY)).expect("a right");
    // The other account is not held up.
    assert_eq!(works(&world), 75);
    for _ in 0..3 {
        answers(&world);
        world.seconds_pass(HOUR);
        works(&world);
    }
    answers(&world);
    assert_eq!(asked(&world), 150);
    renews(&world, &right).expect("a token");
    // A limit is no failure; those of the other account, which nobody answered, are.
    let failed = feed(&world);
    assert!(failed.len() >= 5, "{}", failed.len());
    assert!(
        failed
            .iter()
            .all(|failed| failed.proof.account == account("other"))
    );
    drop(theirs);
    let metrics = world.metrics.render().expect("metrics");
    assert!(
        metrics.contains("control_reproofs_total{outcome=\"limited\"}"),
        "{metrics}"
    );
}

fn a_number_that_was_asked_too_often_waits(kind: Kind) {
    let (world, loan) = lending(kind, limited(|limits| limits.per_number_hour = 1));
    daily(&world, &loan);
    assert_eq!(works(&world), 1);
    // The code does not come back, and the number is not asked again at once.
    world.seconds_pass(1_300);
    assert_eq!(works(&world), 0);
    world.seconds_pass(HOUR);
    assert_eq!((works(&world), answers(&world)), (1, 1));
}

/// A thief of the account's key starts proofs and cancels them, as often as the limits allow.
fn what_callers_ask_does_not_keep_the_service_from_asking(kind: Kind) {
    let few = |limits: &mut ProofLimits| limits.per_account_hour = 3;
    let (world, loan) = lending(kind, limited(few));
    let thief = world.caller(Role::Account, &["acme"]);
    let asks = || {
        let new = NewControlProofs {
            account: account("acme"),
            numbers: vec![tn("+12125551001")],
            channel: Channel::Sip(Fingerprint::from([0x1f; 32])),
            renewal: None,
        };
        wait(world.authority.start_control(&thief, new))
    };
    for _ in 0..3 {
        let started = asks().expect("a proof");
        wait(world.authority.cancel_control(&thief, started[0].id)).expect("cancelled");
    }
    assert_eq!(
        asks().map_err(|error| error.code()).err(),
        Some("too-many-proofs")
    );
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    renews(&world, &right).expect("a token");
    // Nor does the service keep callers from asking.
    world.seconds_pass(HOUR);
    asks().expect("a proof");
}

/// A right waits, and its carrier and its account hear of it: once a day.
fn a_right_whose_proofs_grow_too_old_because_of_limits_is_reported(kind: Kind) {
    let none = [
        |limits: &mut ProofLimits| limits.per_gateway_hour = 0,
        |limits: &mut ProofLimits| limits.per_account_hour = 0,
    ];
    for limits in none {
        let (world, loan) = lending(kind, limited(limits));
        let right = daily(&world, &loan);
        for _ in 0..23 {
            assert_eq!(works(&world), 0);
            world.seconds_pass(HOUR);
        }
        works(&world);
        assert_eq!(feed(&world), [], "it is not too old yet");
        for _ in 0..12 {
            assert_eq!(works(&world), 0);
            world.seconds_pass(HOUR);
        }
        works(&world);
        let failed = feed(&world);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].failure, ControlFailure::Limited);
        assert_eq!(failed[0].proof.number, tn("+12125551001"));
        assert_eq!(failed[0].proof.renewal, Some(right.id));
        assert_eq!(failed[0].proof.failure.as_deref(), Some("limited"));
        for _ in 0..48 {
            works(&world);
            world.seconds_pass(HOUR);
        }
        assert!(
            (2..=3).contains(&feed(&world).len()),
            "{}",
            feed(&world).len()
        );
    }
}

/// Every right of a carrier is due at once.
fn ten_thousand_that_are_due_are_worked_off_in_bounded_steps(kind: Kind) {
    const RIGHTS: i64 = 10_000;
    let world = World::new(
        kind,
        limited(|limits| {
            limits.per_account_hour = 20_000;
            limits.per_gateway_hour = 20_000;
        }),
    );
    world.carrier_holds("1.212.555.XXXX");
    let loan = world.lends("acme", "1.212.555.XXXX");
    let now = world.now();
    let rights: Vec<Renewal> = (0..RIGHTS)
        .map(|n| Renewal {
            id: new_id(now),
            account: account("acme"),
            delegation: loan.row.id,
            list: listed(&[&format!("one:1212555{n:04}")]),
            fingerprint: key(),
            lifetime: 600,
            not_after: None,
            caller: None,
            created_at: now,
            created_by: "test".to_owned(),
            revoked_at: None,
            control: Some(Reproofing {
                method: Method::Sip,
                max_age: 90 * 86_400,
                due_at: Some(now),
            }),
        })
        .collect();
    let insert = move |tx: &mut Tx<'_>| rights.iter().try_for_each(|one| tx.insert_renewal(one));
    let inserted: Result<(), StoreError> = wait(world.authority.store().change(
        world.acting(),
        "rights",
        insert,
    ));
    inserted.expect("rights");
    let (mut asked, mut runs) = (0, 0);
    loop {
        let run = one_run(&world);
        // However many wait, one transaction takes a few.
        assert!(run.rights <= 5 && run.asked <= 20, "{run:?}");
        if run.rights == 0 {
            break;
        }
        (asked, runs) = (asked + run.asked, runs + 1);
    }
    assert_eq!((asked, runs), (10_000, 2_000));
    let page = Page::new(1_000, None);
    let auditor = world.caller(Role::Auditor, &[]);
    let some = world
        .authority
        .control_proofs(&auditor, &account("acme"), &page);
    let some = some.expect("proofs").items;
    assert!(
        some.iter()
            .all(|proof| proof.state(now) == ProofState::Pending)
    );
    // Each right is checked again when its code has expired, and not before.
    world.seconds_pass(599);
    assert_eq!(one_run(&world).rights, 0);
    world.seconds_pass(1);
    assert_eq!(one_run(&world).rights, 5);
}
