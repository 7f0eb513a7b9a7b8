//! Another session holds the lock that orders minting and changes: a replica that is frozen inside a transaction, or a
//! person with psql.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use tn_authority::authority::{ChangeError, StoreError};
use tn_authority::store::AUTHORITY_LOCK;

use super::{is_busy, lends_a_block, mints, ports_out, short, timed};
use crate::support::{Kind, Setup, World, at_once};

fn world() -> World {
    let setup = Setup {
        postgres: short(),
        ..Setup::default()
    };
    let world = World::new(Kind::Postgres, setup);
    lends_a_block(&world);
    world
}

/// A session of somebody else, in a transaction that holds the lock.
fn holds(world: &World, function: &str) -> PgConnection {
    let mut session = PgConnection::establish(&world.db.text_url()).expect("PostgreSQL");
    let statement = format!("BEGIN; SELECT {function}({AUTHORITY_LOCK})");
    session.batch_execute(&statement).expect("the lock");
    session
}

#[test]
fn while_it_is_shared_every_token_is_had_and_a_change_is_refused_in_time() {
    let world = world();
    let mut session = holds(&world, "pg_advisory_xact_lock_shared");
    let done = AtomicBool::new(false);
    let found = at_once(4, |n| {
        if n < 2 {
            // One after the other, so that there is always a change that wants the lock.
            let all = (0..3).map(|_| timed(|| ports_out(&world, "+12125551002")));
            let all: Vec<_> = all.collect();
            done.store(true, Ordering::SeqCst);
            for (took, refused) in &all {
                let busy = matches!(refused, Err(ChangeError::Store(StoreError::Busy)));
                assert!(busy, "{refused:?}");
                assert!(*took < Duration::from_secs(2), "{took:?}");
            }
            return (Duration::ZERO, 0);
        }
        let (mut longest, mut tokens) = (Duration::ZERO, 0);
        while !done.load(Ordering::SeqCst) {
            let (took, token) = timed(|| mints(&world));
            token.expect("a token");
            // Requests are late, but not too many: none is refused as overload.
            let expected = world.authority.expected_wait(1);
            assert!(expected < Duration::from_millis(100), "{expected:?}");
            (longest, tokens) = (longest.max(took), tokens + 1);
        }
        (longest, tokens)
    });
    println!("longest wait and tokens: {:?}", &found[2..]);
    for (longest, tokens) in &found[2..] {
        assert!(*longest < Duration::from_secs(2), "{longest:?}");
        assert!(*tokens >= 5, "{tokens}");
    }

    session.batch_execute("ROLLBACK").expect("an end");
    ports_out(&world, "+12125551002").expect("a port-out");
}

#[test]
fn the_periodic_agreement_on_signers_takes_no_lock_when_there_is_nothing_to_change() {
    let world = world();
    let mut session = holds(&world, "pg_advisory_xact_lock_shared");
    let (took, ()) = timed(|| world.looks_for_signers(tn_authority::authority::ScanMode::Asked));
    assert!(took < Duration::from_millis(500), "{took:?}");
    session.batch_execute("ROLLBACK").expect("an end");
}

#[test]
fn while_it_is_held_alone_all_are_refused_in_time_at_once_and_served_when_it_ends() {
    let world = world();
    let mut session = holds(&world, "pg_advisory_xact_lock");
    let (took, answers) = timed(|| at_once(16, |_| mints(&world)));
    assert!(answers.iter().all(is_busy), "{answers:?}");
    // All of them together, and not one after the other.
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (took, refused) = timed(|| ports_out(&world, "+12125551002"));
    assert!(matches!(refused, Err(ChangeError::Store(StoreError::Busy))));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(
        world
            .authority
            .store()
            .writer_health()
            .blocked_since
            .is_some()
    );

    session.batch_execute("ROLLBACK").expect("an end");
    let (took, token) = timed(|| mints(&world));
    token.expect("a token");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(world.authority.store().writer_health().blocked_since, None);
    assert_eq!(world.grants().len(), 1);
}

/// So a frozen replica cannot keep the others from their work for long.
#[test]
fn a_transaction_has_bounds_that_the_server_keeps() {
    let world = world();
    let setting = "SELECT 1 / (current_setting('idle_in_transaction_session_timeout') = '10s')::int, \
                   1 / (current_setting('lock_timeout') = '1s')::int, \
                   1 / (current_setting('statement_timeout') = '2s')::int";
    world
        .db
        .execute(&format!(
            "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {}; RETURN NEW; END $$; \
             CREATE TRIGGER look BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION look()",
            &setting["SELECT ".len()..]
        ));
    mints(&world).expect("a token of a transaction with bounds");
}
