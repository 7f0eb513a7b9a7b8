//! Replicas: what one publishes all publish, and all sign with the same certificate.

use std::sync::Arc;

use chrono::TimeDelta;
use tn_authority::authority::{ScanMode, StoreError};

use super::{DAY, chains, lender, mint, signed_by, states};
use crate::support::{Db, Kind, Setup, World, clock_starts};

both! {
    replicas_agree_and_publish_for_each_other,
    a_replica_whose_key_is_late_stays_with_the_one_before,
    a_certificate_that_was_given_up_is_taken_up_again,
}

fn replicas_agree_and_publish_for_each_other(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let one = lender(Arc::clone(&db), Setup::default());
    let shared = || Setup {
        publication_delay: 60,
        signers: Some(one.signers.clone()),
        ..Setup::default()
    };
    let two = World::over(db, shared());
    assert_eq!(chains(&one), chains(&two));
    assert_eq!(signed_by(&one, &mint(&two)), signed_by(&two, &mint(&one)));

    one.certificate_comes("next", "1234", 7 * DAY);
    one.looks_for_signers(ScanMode::Asked);
    let next = chains(&one)[1].1.clone();
    // The second has not looked yet, and a CA may ask it all the same.
    assert!(two.authority.published_chain(&next).is_none());
    let asked = two
        .authority
        .chain_published_elsewhere(&next)
        .expect("published");
    assert_eq!(asked, one.authority.published_chain(&next));
    // It does not ask twice within a second, so it does not know.
    let unknown = "0".repeat(64);
    let again = two.authority.chain_published_elsewhere(&unknown);
    assert_eq!(again, Err(StoreError::Busy));
    two.looks_for_signers(ScanMode::Asked);
    assert_eq!(chains(&one), chains(&two), "published once");
    assert_eq!(two.trail(&next).len(), 1);
    for (second, expected) in [(59, "active"), (60, "retiring")] {
        let now = clock_starts() + TimeDelta::seconds(second);
        one.clock.set(now);
        two.clock.set(now);
        assert_eq!(states(&one)[0], expected);
        let (a, b) = (mint(&one), mint(&two));
        assert_eq!(signed_by(&two, &a), signed_by(&one, &b));
        assert_eq!(signed_by(&two, &a) == next, second == 60);
    }
}

fn a_replica_whose_key_is_late_stays_with_the_one_before(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let one = lender(Arc::clone(&db), Setup::default());
    let two = World::over(
        db,
        Setup {
            publication_delay: 60,
            signers: Some(one.signers.clone()),
            ..Setup::default()
        },
    );
    let first = signed_by(&two, &mint(&two));
    // The new files come to the first replica alone.
    let elsewhere = tempfile::tempdir().expect("a folder");
    one.certificate_comes("next", "1234", 7 * DAY);
    one.looks_for_signers(ScanMode::Asked);
    for name in ["next.key", "next.pem"] {
        std::fs::rename(one.signers.join(name), elsewhere.path().join(name)).expect("moved");
    }
    two.looks_for_signers(ScanMode::Asked);
    one.seconds_pass(61);
    two.seconds_pass(61);
    let next = signed_by(&one, &mint(&one));
    assert_ne!(next, first);
    let behind = mint(&two);
    assert_eq!(
        signed_by(&one, &behind),
        first,
        "valid, and published everywhere"
    );
    one.seconds_pass(3540);
    two.seconds_pass(3540);
    mint(&two);
    one.looks_for_signers(ScanMode::Asked);
    assert_eq!(
        states(&one),
        ["retiring", "active"],
        "a token of it can still be redeemed"
    );
    for name in ["next.key", "next.pem"] {
        std::fs::rename(elsewhere.path().join(name), one.signers.join(name)).expect("moved");
    }
    two.looks_for_signers(ScanMode::Asked);
    assert_eq!(signed_by(&one, &mint(&two)), next);
}

fn a_certificate_that_was_given_up_is_taken_up_again(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let world = lender(Arc::clone(&db), Setup::default());
    world.certificate_comes("next", "1234", 7 * DAY);
    world.looks_for_signers(ScanMode::Asked);
    for _ in 0..4 {
        world.seconds_pass(61);
        world.looks_for_signers(ScanMode::Polled);
    }
    assert_eq!(states(&world), ["retired", "active"]);
    let first = chains(&world)[0].1.clone();
    // Somebody goes back: the service starts again with the old files alone.
    for name in ["next.key", "next.pem"] {
        std::fs::remove_file(world.signers.join(name)).expect("gone");
    }
    let again = World::over(
        db,
        Setup {
            publication_delay: 60,
            signers: Some(world.signers.clone()),
            ..Setup::default()
        },
    );
    again.clock.set(world.now());
    again.looks_for_signers(ScanMode::Asked);
    again.seconds_pass(61);
    assert_eq!(signed_by(&again, &mint(&again)), first);
}
