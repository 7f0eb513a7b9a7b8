//! Replicas whose clocks differ: a code is valid for minutes, and by the clock that they have in common.

use tn_authority::authority::{ChangeError, Confirmation, ReferenceClock};
use tn_authority::domain::Clock;
use tn_authority::domain::control::proof::{ControlProof, ProofState};
use tn_authority::store::StoreError;
use uuid::Uuid;

use crate::gateways::asking::{acme, asks, carrier, confirms, proof, state, takes};
use crate::support::{Kind, Setup, World, wait};

both!(
    a_replica_with_a_wrong_clock_neither_ends_nor_extends_a_proof,
    replicas_whose_clocks_differ_by_seconds_work_together,
    the_clock_of_the_database_is_the_one_in_common,
);

const ONE: Uuid = Uuid::from_u128(1);

/// Another replica over the same database. The world's clock is right, and this one is off by some seconds.
fn replica(world: &World, seconds: i64) -> World {
    let replica = World::over(
        world.db.clone(),
        Setup {
            reference: Some(ReferenceClock::Given(world.clock.clone())),
            ..Setup::default()
        },
    );
    replica.clock.set(world.in_seconds(seconds));
    replica
}

fn code_of(world: &World, proof: &ControlProof) -> String {
    let room = [("sms-gateway".to_owned(), 1)].into();
    let code = wait(world.authority.take_codes(ONE, &room)).expect("codes");
    let message = &code.first().expect("a code").message;
    assert_eq!(message.proof, proof.id);
    let codes = &world.authority.control().codes;
    let opened = codes.open(message.proof, &message.gateway, &message.sealed);
    opened.expect("a code").expose().to_owned()
}

#[track_caller]
fn stands_back<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    match outcome {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("the clock of"), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn a_replica_with_a_wrong_clock_neither_ends_nor_extends_a_proof(kind: Kind) {
    for hour in [3_600, -3_600] {
        let world = carrier(kind);
        let asked = asks(&world, 1).remove(0);
        let wrong = replica(&world, hour);
        // An hour ahead, it would give up the code, and report a failure.
        let room = [("sms-gateway".to_owned(), 1)].into();
        stands_back_or_idles(wait(wrong.authority.take_codes(ONE, &room)));
        assert_eq!(state(&world, asked.id), ProofState::Pending);
        let code = code_of(&world, &asked);
        let refused = confirms(&wrong, asked.id, &code);
        assert!(matches!(refused, Err(ChangeError::Store(_))), "{refused:?}");
        let refused = wrong.asks("acme", &["+12125551003"]);
        assert!(matches!(refused, Err(ChangeError::Store(_))), "{refused:?}");
        assert_eq!(proof(&world, asked.id).tries, 0);
        // Eleven minutes later the code has expired. An hour behind, it would still be valid.
        world.seconds_pass(660);
        wrong.seconds_pass(660);
        let late = confirms(&wrong, asked.id, &code);
        assert!(matches!(late, Err(ChangeError::Store(_))), "{late:?}");
        let late = confirms(&world, asked.id, &code).expect("an answer");
        assert!(matches!(late, Confirmation::Refused(_)), "{late:?}");
        assert_eq!(state(&world, asked.id), ProofState::Expired);
    }
}

/// Without anything that is due by its clock there is nothing to stand back from.
#[track_caller]
fn stands_back_or_idles<T: std::fmt::Debug>(outcome: Result<Vec<T>, StoreError>) {
    match outcome {
        Ok(codes) => assert!(codes.is_empty(), "{codes:?}"),
        failed => stands_back(failed),
    }
}

fn replicas_whose_clocks_differ_by_seconds_work_together(kind: Kind) {
    for seconds in [50, -50] {
        let world = carrier(kind);
        // The other replica's clock may show a time before the delegation.
        world.seconds_pass(100);
        let asked = asks(&world, 1).remove(0);
        let other = replica(&world, seconds);
        let code = code_of(&world, &asked);
        let confirmed = confirms(&other, asked.id, &code).expect("an answer");
        assert!(
            matches!(confirmed, Confirmation::Confirmed(_)),
            "{confirmed:?}"
        );
        assert_eq!(state(&world, asked.id), ProofState::Confirmed);
    }
}

fn of_database(kind: Kind) -> World {
    let world = World::new(
        kind,
        Setup {
            certificate_lasts: 3_650 * 86_400,
            reference: Some(ReferenceClock::Database),
            ..Setup::default()
        },
    );
    world.clock.set(Clock::system().now());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world
}

fn the_clock_of_the_database_is_the_one_in_common(kind: Kind) {
    let world = of_database(kind);
    let asked = asks(&world, 1).remove(0);
    let code = code_of(&world, &asked);
    let confirmed = confirms(&world, asked.id, &code).expect("an answer");
    assert!(
        matches!(confirmed, Confirmation::Confirmed(_)),
        "{confirmed:?}"
    );
}

/// SQLite has no clock but this machine's, so only PostgreSQL can tell.
#[test]
fn an_hour_from_postgresql_is_too_far() {
    let world = of_database(Kind::Postgres);
    let proof = asks(&world, 1).remove(0);
    for seconds in [3_600, -7_200] {
        world.seconds_pass(seconds);
        let found = world.authority.proof_to_confirm(&acme(&world), proof.id);
        assert!(matches!(found, Err(ChangeError::Store(_))), "{found:?}");
    }
    world.seconds_pass(3_600);
    assert_eq!(takes(&world, ONE, 1).len(), 1);
    let found = world.authority.proof_to_confirm(&acme(&world), proof.id);
    assert!(found.is_ok(), "{found:?}");
}
