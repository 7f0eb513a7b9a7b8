//! The outbox: each code is sent once, by one replica, and given up when it no longer helps.

use std::collections::BTreeSet;

use tn_authority::authority::{AssignedCode, AttemptResult};
use tn_authority::domain::AuditEvent;
use tn_authority::domain::control::proof::{ProofEnd, ProofState};
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::domain::inventory::Reason;
use tn_authority::store::{EventFilter, Page};
use uuid::Uuid;

use super::asking::{
    Scripted, asks, attempted, carrier, code_in, confirms, proof, sends_scripted, state, takes,
    until, waiting,
};
use crate::support::{Kind, Setup, World, account, at_once, wait};

both!(
    replicas_share_the_codes,
    a_code_is_taken_over_once_its_process_is_gone,
    a_code_that_cannot_be_sent_is_given_up_when_it_expires,
    a_refused_code_is_given_up_at_once,
    an_unclear_code_is_not_sent_again_and_again,
    a_code_that_no_gateway_takes_is_given_up,
    a_number_that_has_left_is_not_asked,
    a_suspended_account_asks_nobody,
    the_code_comes_back_and_the_outbox_keeps_nothing,
    a_name_is_only_a_name_in_the_message,
    a_name_with_a_link_is_not_in_the_message,
);

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const LATER: SendOutcome = SendOutcome::Later(SendFailure::Unreachable, None);

fn ids(codes: &[AssignedCode]) -> Vec<Uuid> {
    codes.iter().map(|code| code.proof.id).collect()
}

/// What the trail says about the sending of codes.
pub fn sendings(world: &World) -> Vec<AuditEvent> {
    let filter = EventFilter {
        action: Some("send-control-code".to_owned()),
        ..EventFilter::default()
    };
    let page = Page::new(100, None);
    let events = world
        .authority
        .audit_events(&world.provisioner(), filter, &page);
    events.expect("events").items
}

fn replicas_share_the_codes(kind: Kind) {
    let world = carrier(kind);
    let replica = World::over(world.db.clone(), Setup::default());
    let proofs = asks(&world, 40);
    let worlds = [&world, &replica];
    let taken = at_once(6, |n| {
        let process = Uuid::from_u128(100 + n as u128);
        ids(&takes(worlds[n % 2], process, 9))
    });
    let all: Vec<Uuid> = taken.into_iter().flatten().collect();
    let different: BTreeSet<Uuid> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "a code was leased twice");
    // Whoever takes now gets the rest, and nobody what is leased.
    let rest = ids(&takes(&world, ONE, 100));
    assert_eq!(all.len() + rest.len(), proofs.len());
    assert!(rest.iter().all(|id| !different.contains(id)));
    assert!(takes(&replica, OTHER, 100).is_empty());
}

/// The process dies between lease and sending, or after sending and before it said so.
fn a_code_is_taken_over_once_its_process_is_gone(kind: Kind) {
    let world = carrier(kind);
    asks(&world, 1);
    let first = takes(&world, ONE, 1).pop().expect("a code");
    assert_eq!(first.message.attempts, 1);
    world.seconds_pass(89);
    assert!(takes(&world, OTHER, 1).is_empty(), "it is still leased");
    world.seconds_pass(1);
    let second = takes(&world, OTHER, 1).pop().expect("a code");
    assert_eq!(
        (second.proof.id, second.message.attempts),
        (first.proof.id, 2)
    );
    // The first one was only slow. What it says about its failure counts no longer.
    assert_eq!(
        attempted(&world, ONE, &first, LATER),
        AttemptResult::NotOurs
    );
    assert_eq!(waiting(&world), 1);
    // That it was sent is true whoever says it, and the other one decides about its own attempt.
    let late = attempted(&world, ONE, &first, SendOutcome::Accepted);
    assert_eq!(late, AttemptResult::NotOurs);
    assert!(proof(&world, first.proof.id).sent_at.is_some());
    let refused = SendOutcome::Refused(SendFailure::Refused);
    assert_eq!(
        attempted(&world, OTHER, &second, refused),
        AttemptResult::GivenUp
    );
    assert_eq!(
        (waiting(&world), state(&world, first.proof.id)),
        (0, ProofState::Pending)
    );
}

fn a_code_that_cannot_be_sent_is_given_up_when_it_expires(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let mut waits = Vec::new();
    loop {
        let code = takes(&world, ONE, 1).pop().expect("a code");
        let AttemptResult::RetriedAt(at) = attempted(&world, ONE, &code, LATER) else {
            break;
        };
        assert_eq!(proof(&world, id).failure.as_deref(), Some("unreachable"));
        let wait = (at - world.now()).num_seconds();
        waits.push(wait);
        world.seconds_pass(wait - 1);
        assert!(takes(&world, ONE, 1).is_empty(), "too early");
        world.seconds_pass(1);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60]);
    let given_up = proof(&world, id);
    assert_eq!(
        given_up.end.map(|(_, reason)| reason),
        Some(ProofEnd::NotSent)
    );
    assert_eq!(
        (state(&world, id), waiting(&world)),
        (ProofState::Failed, 0)
    );
    let events = sendings(&world);
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].subject.clone(), events[0].outcome.as_str()),
        (id.to_string(), "unreachable")
    );
    assert_eq!(events[0].account, Some(account("acme")));
    assert!(world.metrics.render().expect("text").contains(
        "tn_authority_control_gateway_errors_total{gateway=\"sms-gateway\",kind=\"unreachable\"} 14"
    ));
}

fn a_refused_code_is_given_up_at_once(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let code = takes(&world, ONE, 1).pop().expect("a code");
    let refused = SendOutcome::Refused(SendFailure::Refused);
    assert_eq!(
        attempted(&world, ONE, &code, refused),
        AttemptResult::GivenUp
    );
    assert_eq!(
        (state(&world, id), waiting(&world)),
        (ProofState::Failed, 0)
    );
    // So the next one can be asked for.
    assert_eq!(asks(&world, 1).len(), 1);
}

/// A gateway that sends and does not say so must not fill a victim's phone. What it sent counts all the same.
fn an_unclear_code_is_not_sent_again_and_again(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let unclear = SendOutcome::Unclear(SendFailure::Timeout, None);
    let (mut attempts, mut code) = (Vec::new(), None);
    for second in 0..300 {
        for taken in takes(&world, ONE, 1) {
            attempted(&world, ONE, &taken, unclear);
            attempts.push(second);
            code = Some(taken.message);
        }
        world.seconds_pass(1);
    }
    assert_eq!((attempts, waiting(&world)), (vec![0, 30, 60], 0));
    assert_eq!(
        (sendings(&world).len(), sendings(&world)[0].outcome.as_str()),
        (1, "timeout")
    );
    assert_eq!(state(&world, id), ProofState::Pending);
    let message = code.expect("a code");
    let codes = &world.authority.control().codes;
    let secret = codes.open(message.proof, &message.gateway, &message.sealed);
    confirms(&world, id, secret.expect("a code").expose()).expect("confirmed");
    assert_eq!(state(&world, id), ProofState::Confirmed);
}

fn a_code_that_no_gateway_takes_is_given_up(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    world.seconds_pass(599);
    assert!(takes(&world, ONE, 0).is_empty());
    assert_eq!(
        (state(&world, id), waiting(&world)),
        (ProofState::Pending, 1)
    );
    world.seconds_pass(1);
    assert!(takes(&world, ONE, 0).is_empty());
    assert_eq!(
        (state(&world, id), waiting(&world)),
        (ProofState::Failed, 0)
    );
    assert_eq!(sendings(&world)[0].outcome, "not-attempted");
}

/// The message would reach whoever has the number now.
fn a_number_that_has_left_is_not_asked(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 2)[0].id;
    world.excludes("+12125551000", Reason::PortedOut, None);
    let taken = ids(&takes(&world, ONE, 10));
    assert_eq!((taken.len(), taken.contains(&id)), (1, false));
    assert_eq!(waiting(&world), 1);
}

fn a_suspended_account_asks_nobody(kind: Kind) {
    let world = carrier(kind);
    asks(&world, 3);
    world.suspends("acme");
    assert!(takes(&world, ONE, 10).is_empty());
    assert_eq!(waiting(&world), 0);
}

fn the_code_comes_back_and_the_outbox_keeps_nothing(kind: Kind) {
    let world = carrier(kind);
    let gateway = Scripted::with(&[LATER, SendOutcome::Accepted]);
    let _threads = sends_scripted(&world, &gateway);
    let id = asks(&world, 1)[0].id;
    until("a first attempt", || proof(&world, id).failure.is_some());
    world.seconds_pass(2);
    until("a second attempt", || proof(&world, id).sent_at.is_some());
    assert_eq!(waiting(&world), 0);
    let sent = gateway.sent.lock().clone();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].text, sent[1].text);
    let code = code_in(&sent[1].text);
    assert_eq!(
        sent[1].text,
        format!("{code} is the code with which acme shows that it uses +12125551000.")
    );
    confirms(&world, id, &code).expect("confirmed");
    assert_eq!(state(&world, id), ProofState::Confirmed);
}

fn a_name_is_only_a_name_in_the_message(kind: Kind) {
    let world = carrier(kind);
    let name = "{code}{number} \"&to=1900'; é".to_owned();
    let provisioner = world.provisioner();
    let put = world
        .authority
        .put_account(&provisioner, account("acme"), Some(name.clone()), None);
    wait(put).expect("an account");
    let gateway = Scripted::with(&[]);
    let _threads = sends_scripted(&world, &gateway);
    asks(&world, 1);
    until("a message", || !gateway.sent.lock().is_empty());
    let text = gateway.sent.lock()[0].text.clone();
    let code = code_in(&text);
    assert_eq!(
        text,
        format!("{code} is the code with which {name} shows that it uses +12125551000.")
    );
    assert_eq!(code.len(), 6);
}

/// Phones make links of what looks like one, and people trust the carrier's message.
fn a_name_with_a_link_is_not_in_the_message(kind: Kind) {
    let world = carrier(kind);
    let provisioner = world.provisioner();
    let gateway = Scripted::with(&[]);
    let _threads = sends_scripted(&world, &gateway);
    for (n, (name, shown)) in [
        ("Bank https://evil.example", "acme"),
        ("Bank www.evil", "acme"),
        ("Verify at evil.example now", "acme"),
        ("Verify at evil\u{fe52}example now", "acme"),
        ("Call +1 900 555 0123 now", "acme"),
        ("000000 is the code", "acme"),
        ("Acme, Inc.", "Acme, Inc."),
    ]
    .into_iter()
    .enumerate()
    {
        let name = Some(name.to_owned());
        let put = world
            .authority
            .put_account(&provisioner, account("acme"), name, None);
        wait(put).expect("an account");
        asks(&world, 1);
        until("a message", || gateway.sent.lock().len() > n);
        let text = gateway.sent.lock()[n].text.clone();
        let expected = format!(" is the code with which {shown} shows that it uses +12125551000.");
        assert!(text.ends_with(&expected), "{text}");
        world.seconds_pass(3_600);
    }
}
