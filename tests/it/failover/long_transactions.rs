//! A transaction that does not end, although each of its statements does: a replica that is lost in its work.

use std::sync::Arc;
use std::time::Duration;

use tn_authority::authority::StoreError;
use tn_authority::store::{Page, Tx};

use super::{lends_a_block, mints, short, timed};
use crate::support::{Db, PgServer, PgVersion, Setup, World};

/// Longer than such a transaction may last with the bounds that it is run with.
const LONG: Duration = Duration::from_secs(4);

/// A world on this server, whose requests have half a second.
fn world(server: &PgServer, parameters: &str) -> World {
    let db = Arc::new(Db::on(server.url()));
    let mut postgres = short();
    postgres.timeouts.request = Duration::from_millis(500);
    let url = format!("{}{parameters}", db.text_url());
    let setup = Setup {
        postgres,
        database: Some(url.parse().expect("a URL")),
        ..Setup::default()
    };
    let world = World::over(db, setup);
    lends_a_block(&world);
    world
}

/// Reads for as long as it may, and a little longer than `LONG` at most.
fn reads_on_and_on(world: &World) -> (Duration, Result<(), StoreError>) {
    let work = |tx: &mut Tx<'_>| {
        for _ in 0..LONG.as_millis() / 50 {
            tx.list_accounts(None, &Page::new(1, None))?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    timed(|| world.authority.store().read(work))
}

#[test]
fn a_server_that_can_ends_a_transaction_that_goes_on() {
    let server = PgServer::start(PgVersion::Newest);
    let replica = world(&server, "");
    let (took, ended) = reads_on_and_on(&replica);
    let error = ended.expect_err("an end");
    assert!(matches!(&error, StoreError::Unavailable(_)), "{error}");
    assert!(took < LONG, "{took:?}");
    // It costs no later request.
    mints(&replica).expect("a token");
    drop(replica);
}

#[test]
fn the_operator_s_own_bound_of_a_transaction_is_kept() {
    let server = PgServer::start(PgVersion::Newest);
    let replica = world(&server, "?options=-c%20transaction_timeout%3D30s");
    let (took, done) = reads_on_and_on(&replica);
    done.expect("time enough");
    assert!(took >= LONG, "{took:?}");
    drop(replica);
}

/// It has no such setting, and an unknown one would fail every transaction.
#[test]
fn an_older_server_is_not_asked_for_what_it_does_not_know() {
    let server = PgServer::start(PgVersion::Oldest);
    let replica = world(&server, "");
    mints(&replica).expect("a token");
    reads_on_and_on(&replica).1.expect("no bound");
    drop(replica);
}
