//! A primary that was frozen, and replaced by another, runs on: it takes reads and writes over the connections that it
//! has, and knows nothing of what was done since.

use std::sync::Arc;
use std::time::Duration;

use tn_authority::authority::{ChangeError, GrantStatus, StoreError};
use tn_authority::domain::tokens::grant::{GrantState, Jti};

use super::{lends_a_block, mints, ports_out, short};
use crate::support::{Db, PgServer, PgVersion, Setup, TcpProxy, World, at_once};

#[test]
fn a_primary_that_was_replaced_answers_nothing() {
    answers_nothing_when_replaced(PgVersion::Oldest);
}

#[test]
fn a_primary_of_the_newest_version_answers_nothing_either() {
    answers_nothing_when_replaced(PgVersion::Newest);
}

fn answers_nothing_when_replaced(version: PgVersion) {
    let Replaced {
        old,
        new,
        proxy,
        db,
        world,
        ..
    } = Replaced::of(version);
    let known = retried(|| mints(&world).ok()).jti;
    let found = at_once(4, |_| status(&world, &known));
    assert!(found.iter().all(Result::is_ok), "{found:?}");

    proxy.fail_over_to(new.address);
    // The writer finds the new primary, while the readers have connections to the old one.
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT'");
    let token = retried(|| mints(&world).ok());
    for _ in 0..20 {
        let found = status(&world, &token.jti);
        assert_eq!(found.expect("a grant").state, GrantState::Active);
    }

    // Nothing is decided by it even if it is the only one that answers.
    proxy.fail_over_to(old.address);
    drop(new);
    for _ in 0..3 {
        let refused = status(&world, &known);
        assert!(
            matches!(refused, Err(ChangeError::Store(StoreError::Unavailable(_)))),
            "{refused:?}"
        );
        mints(&world).expect_err("no token");
    }
    drop(world);
}

#[test]
fn the_new_primary_is_found_behind_the_old_one_in_the_list_of_hosts() {
    let Replaced {
        old,
        new,
        proxy,
        db,
        ..
    } = Replaced::of(PgVersion::Oldest);
    let hosts = format!("{},{}", proxy.address, new.address);
    let url = db.text_url().replacen(&old.address.to_string(), &hosts, 1);
    proxy.fail_over_to(new.address);
    let world = world_at(&db, &url);
    let known = mints(&world).expect("a token").jti;

    proxy.fail_over_to(old.address);
    new.execute(&[
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> 'postgres'",
    ]);
    retried(|| mints(&world).ok());
    for _ in 0..5 {
        status(&world, &known).expect("a grant of the new primary");
    }
    drop(world);
}

/// The statement that begins a transaction was on its way when the primary was frozen.
#[test]
fn what_hung_in_the_old_primary_is_not_answered_by_it_later() {
    let Replaced {
        old: _old,
        new,
        proxy,
        db: _db,
        world,
        known,
    } = Replaced::of(PgVersion::Oldest);
    status(&world, &known).expect("a grant");
    proxy.fail_over_to(new.address);
    proxy.fail_over();
    let answer = std::thread::scope(|scope| {
        let reading = scope.spawn(|| status(&world, &known));
        retried(|| ports_out(&world, "+12125551001").ok());
        assert!(!reading.is_finished());
        proxy.resume();
        reading.join().expect("an answer")
    });
    match answer {
        Ok(found) => assert_eq!(found.state, GrantState::Withdrawn),
        Err(error) => assert!(matches!(error, ChangeError::Store(_)), "{error}"),
    }
    drop(world);
}

#[test]
fn a_standby_in_front_of_the_primary_is_passed_over_whatever_the_url_says() {
    let Replaced {
        old,
        new,
        db,
        world,
        ..
    } = Replaced::of(PgVersion::Oldest);
    drop(world);
    old.demote();
    let hosts = format!("{},{}", old.address, new.address);
    let url = db.text_url().replacen(&old.address.to_string(), &hosts, 1);
    let url = format!("{url}?target_session_attrs=any");
    let world = world_at(&db, &url);
    mints(&world).expect("a token");
    drop(world);
    old.promote();
}

#[test]
fn a_server_that_does_not_tell_its_timeline_is_used() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Arc::new(Db::on(server.url()));
    let url = server.carrier_role(&db);
    db.execute("REVOKE EXECUTE ON FUNCTION pg_walfile_name FROM PUBLIC");
    let world = world_at(&db, &url);
    lends_a_block(&world);
    let token = mints(&world).expect("a token");
    status(&world, &token.jti).expect("a grant");
    drop(world);
}

/// A primary that was replaced, and the service, which has a token of it and is connected by a proxy.
struct Replaced {
    world: World,
    db: Arc<Db>,
    proxy: TcpProxy,
    new: PgServer,
    old: PgServer,
    /// Of the token.
    known: Jti,
}

impl Replaced {
    fn of(version: PgVersion) -> Self {
        let old = PgServer::start(version);
        let db = Arc::new(Db::on(old.url()));
        let proxy = TcpProxy::to(old.address);
        let world = world_at(&db, &db.text_url_at(proxy.address));
        lends_a_block(&world);
        let known = mints(&world).expect("a token").jti;
        let new = old.promote_copy();
        retried(|| mints(&world).ok());
        Self {
            world,
            db,
            proxy,
            new,
            old,
            known,
        }
    }
}

/// The service, whose database has this URL.
fn world_at(db: &Arc<Db>, url: &str) -> World {
    let setup = Setup {
        postgres: short(),
        database: Some(url.parse().expect("a URL")),
        ..Setup::default()
    };
    World::over(Arc::clone(db), setup)
}

fn status(world: &World, jti: &Jti) -> Result<GrantStatus, ChangeError> {
    world.authority.grant_status(jti)
}

fn retried<T>(mut work: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(100);
    (0..100)
        .find_map(|_| {
            work().or_else(|| {
                std::thread::sleep(pause);
                None
            })
        })
        .expect("an answer in time")
}
