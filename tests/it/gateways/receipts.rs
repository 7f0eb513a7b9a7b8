//! Receipts: whether a code reached its number, at whichever replica it comes, and whatever the id looks like.

use tn_authority::authority::{AttemptResult, CodeReceipt};
use tn_authority::domain::control::proof::ProofState;
use tn_authority::domain::control::receipt_ids::ReceiptMatch;
use tn_authority::domain::control::sending::SendOutcome;
use uuid::Uuid;

use super::asking::{SMS, acme, asks, attempted, carrier, confirms, proof, state, takes};
use super::outbox::sendings;
use crate::authority::idempotency::count;
use crate::support::{Kind, Setup, World, account, wait};

both!(
    a_receipt_says_that_a_code_has_arrived,
    a_receipt_ends_what_will_not_arrive,
    a_receipt_can_come_to_another_replica,
    a_receipt_says_nothing_about_a_code_whose_id_looks_like_it,
    a_receipt_that_comes_before_the_id_is_recorded_is_kept_for_a_minute,
);

const ONE: Uuid = Uuid::from_u128(1);

/// A gateway accepted the code of a proof under this id.
fn awaits(world: &World, id: &str, proof: Uuid) -> ReceiptMatch {
    let awaited = world
        .authority
        .receipt_awaited(SMS, id.to_owned(), proof, None);
    wait(awaited).expect("a record")
}

/// A receipt of a gateway comes.
fn receives(world: &World, gateway: &str, id: &str, is_delivered: bool) -> ReceiptMatch {
    let receipt = CodeReceipt {
        message_id: id.to_owned(),
        is_delivered,
    };
    wait(world.authority.receipt_received(gateway, receipt, None)).expect("a record")
}

/// Two codes are on their way, and both were accepted.
fn two_sent(world: &World) -> Vec<Uuid> {
    let ids: Vec<Uuid> = asks(world, 2).iter().map(|proof| proof.id).collect();
    for code in takes(world, ONE, 2) {
        attempted(world, ONE, &code, SendOutcome::Accepted);
    }
    ids
}

fn a_receipt_says_that_a_code_has_arrived(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let code = takes(&world, ONE, 1).pop().expect("a code");
    assert_eq!(
        attempted(&world, ONE, &code, SendOutcome::Accepted),
        AttemptResult::Sent
    );
    world.seconds_pass(3);
    awaits(&world, "1", id);
    receives(&world, SMS, "1", true);
    let delivered = proof(&world, id);
    assert_eq!(delivered.delivered_at, Some(world.now()));
    assert_eq!(delivered.sent_at, Some(world.in_seconds(-3)));
    assert_eq!(delivered.state(world.now()), ProofState::Pending);
    let events = sendings(&world);
    assert_eq!((events.len(), events[0].outcome.as_str()), (1, "done"));
    assert_eq!(events[0].account, Some(account("acme")));
    // About a proof of somebody else's service.
    awaits(&world, "2", Uuid::from_u128(9));
    assert_eq!(receives(&world, SMS, "2", false), ReceiptMatch::None);
}

fn a_receipt_ends_what_will_not_arrive(kind: Kind) {
    let world = carrier(kind);
    let proofs = asks(&world, 2);
    for code in takes(&world, ONE, 2) {
        attempted(&world, ONE, &code, SendOutcome::Accepted);
        if code.proof.id == proofs[1].id {
            let codes = &world.authority.control().codes;
            let message = &code.message;
            let secret = codes.open(message.proof, &message.gateway, &message.sealed);
            let confirmed = confirms(&world, proofs[1].id, secret.expect("a code").expose());
            confirmed.expect("confirmed");
        }
    }
    for (n, proof) in proofs.iter().enumerate() {
        awaits(&world, &n.to_string(), proof.id);
        receives(&world, SMS, &n.to_string(), false);
    }
    assert_eq!(state(&world, proofs[0].id), ProofState::Failed);
    assert_eq!(
        proof(&world, proofs[0].id).failure.as_deref(),
        Some("undelivered")
    );
    // The code came back, whatever the receipt says.
    assert_eq!(state(&world, proofs[1].id), ProofState::Confirmed);
    assert_eq!(acme(&world).accounts.len(), 1);
}

/// With the threads of a service: a retry, the message, and the code that comes back.
/// One replica sends, and the SMSC reports to the session of the other.
fn a_receipt_can_come_to_another_replica(kind: Kind) {
    let world = carrier(kind);
    let replica = World::over(world.db.clone(), Setup::default());
    let ids: Vec<Uuid> = asks(&world, 3).iter().map(|proof| proof.id).collect();
    for code in takes(&world, ONE, 3) {
        attempted(&world, ONE, &code, SendOutcome::Accepted);
    }
    awaits(&world, "a1", ids[0]);
    awaits(&world, "17", ids[1]);
    // The gateway has used the id before.
    awaits(&world, "2f", ids[1]);
    awaits(&world, "2f", ids[2]);
    receives(&replica, "another-gateway", "a1", true);
    receives(&replica, SMS, "unknown", true);
    assert!(
        ids.iter()
            .all(|id| proof(&world, *id).delivered_at.is_none())
    );
    assert_eq!(receives(&replica, SMS, "a1", true), ReceiptMatch::Exact);
    receives(&replica, SMS, "17", false);
    receives(&replica, SMS, "17", true);
    assert!(proof(&world, ids[0]).delivered_at.is_some());
    assert_eq!(state(&world, ids[1]), ProofState::Failed);
    assert_eq!(proof(&world, ids[1]).delivered_at, None, "it counts once");
    receives(&replica, SMS, "2f", true);
    assert!(proof(&world, ids[2]).delivered_at.is_some());
    // After an hour none is awaited.
    awaits(&world, "77", ids[1]);
    world.seconds_pass(3_601);
    awaits(&world, "78", ids[1]);
    receives(&replica, SMS, "77", true);
    assert_eq!(proof(&world, ids[1]).delivered_at, None);
}

/// An SMSC that counts in decimal: 10 was sent by one replica and 16 by the other, which gets the receipt for 10. The
/// number of 16, which is 10 in hexadecimal, has done nothing.
fn a_receipt_says_nothing_about_a_code_whose_id_looks_like_it(kind: Kind) {
    let world = carrier(kind);
    let replica = World::over(world.db.clone(), Setup::default());
    let ids = two_sent(&world);
    awaits(&world, "10", ids[0]);
    awaits(&replica, "16", ids[1]);
    assert_eq!(receives(&replica, SMS, "10", false), ReceiptMatch::Exact);
    assert_eq!(state(&world, ids[0]), ProofState::Failed);
    assert_eq!(state(&world, ids[1]), ProofState::Pending);
    // Nor does another one for 10, whose code is not awaited any more.
    let again = receives(&replica, SMS, "10", false);
    assert!(matches!(again, ReceiptMatch::Possible(_)), "{again:?}");
    assert_eq!(state(&world, ids[1]), ProofState::Pending);
    assert_eq!(receives(&world, SMS, "16", true), ReceiptMatch::Exact);
    assert!(proof(&world, ids[1]).delivered_at.is_some());
}

/// The replica that has sent the code records its id a moment later than the other one gets the receipt.
fn a_receipt_that_comes_before_the_id_is_recorded_is_kept_for_a_minute(kind: Kind) {
    let world = carrier(kind);
    let replica = World::over(world.db.clone(), Setup::default());
    let ids = two_sent(&world);
    assert_eq!(receives(&replica, SMS, "41", false), ReceiptMatch::None);
    assert_eq!(receives(&replica, SMS, "43", false), ReceiptMatch::None);
    world.seconds_pass(60);
    assert_eq!(awaits(&world, "41", ids[0]), ReceiptMatch::Exact);
    assert_eq!(state(&world, ids[0]), ProofState::Failed);
    assert_eq!(
        proof(&world, ids[0]).failure.as_deref(),
        Some("undelivered")
    );
    // An older one is about something else: the SMSC uses ids again.
    world.seconds_pass(1);
    assert_eq!(awaits(&world, "43", ids[1]), ReceiptMatch::None);
    assert_eq!(state(&world, ids[1]), ProofState::Pending);
    assert_eq!(count(&world.db, "control_early_receipts"), 0);
    // However many come.
    for n in 0..1_010 {
        receives(&world, SMS, &format!("flood-{n}"), true);
    }
    assert_eq!(count(&world.db, "control_early_receipts"), 1_000);
}
