//! Replicas that differ in what all must have in common: the one that started later is refused.

use std::sync::Arc;

use chrono::TimeDelta;
use tn_authority::authority::{IssueError, ReadinessCheck};
use tn_authority::domain::replica::{SharedSettings, SpcList};
use tn_authority::domain::{Clock, Spc};

use crate::support::{Db, Kind, Setup, World, readiness_settings, wait};

fn list(spcs: &[&str]) -> SpcList {
    let spcs = spcs.iter().map(|spc| spc.parse().expect("a code"));
    SpcList::new(&spcs.collect::<Vec<Spc>>())
}

fn shared(secrets: &[&str], spcs: &[&str]) -> SharedSettings {
    SharedSettings {
        secrets: secrets.iter().map(|&s| s.to_owned()).collect(),
        spcs: list(spcs),
        previous_spcs: None,
    }
}

fn replica(db: &Arc<Db>, name: &str, shared: SharedSettings) -> World {
    let mut readiness = readiness_settings();
    (readiness.name, readiness.shared) = (name.to_owned(), shared);
    let setup = Setup {
        readiness,
        ..Setup::default()
    };
    World::over(Arc::clone(db), setup)
}

fn beats(world: &World) {
    wait(world.authority.beat()).expect("a heartbeat");
}

/// What `/readyz` says of the other replicas.
fn refusal(world: &World) -> Option<String> {
    let report = world.authority.readiness();
    let mut checks = report.checks.into_iter();
    let check = checks.find(|one| one.check == ReadinessCheck::Replicas);
    check.expect("the check").failure
}

#[test]
fn a_replica_with_another_secret_or_other_codes_is_refused_and_the_other_one_named() {
    let usual = || shared(&["aaaa"], &["1234"]);
    for (other, setting, says) in [
        (
            shared(&["bbbb"], &["1234"]),
            "api-key-secret",
            "API key secret",
        ),
        (
            shared(&["aaaa"], &["1234", "5678"]),
            "spcs",
            "`1234`, and this one has `1234 5678`",
        ),
    ] {
        let db = Arc::new(Db::from(Kind::Postgres));
        let first = replica(&db, "first", usual());
        first.carrier_holds("1.212.555.1XXX");
        first.lends("acme", "+12125551001");
        beats(&first);
        db.execute("UPDATE replicas SET started_at = started_at - 10");
        let second = replica(&db, "second", other);
        beats(&second);
        beats(&first);

        let said = refusal(&second).expect("a refusal");
        assert!(said.contains("`first`") && said.contains(says), "{said}");
        assert!(!said.contains("aaaa") && !said.contains("bbbb"), "{said}");
        assert!(!second.authority.readiness().is_ready());
        let refused = second.mints("acme", &["one:12125551001"]);
        assert!(matches!(refused, Err(IssueError::Store(_))), "{refused:?}");
        let differences = format!("replica_differences{{setting=\"{setting}\"}}");
        assert_eq!(second.count(&differences), 1);

        // The first one goes on, and its operators can see the difference, too.
        assert_eq!(refusal(&first), None);
        assert_eq!(first.count(&differences), 1);
        first.mints("acme", &["one:12125551001"]).expect("a token");

        // It is gone: by an orderly stop, or after a while.
        if setting == "spcs" {
            wait(first.authority.leave()).expect("gone");
        } else {
            db.execute("UPDATE replicas SET seen_at = seen_at - 31 WHERE name = 'first'");
        }
        beats(&second);
        assert_eq!(refusal(&second), None);
        assert_eq!(second.count(&differences), 0);
    }
}

#[test]
fn codes_and_secrets_are_changed_one_replica_after_the_other() {
    let db = Arc::new(Db::from(Kind::Postgres));
    let old = replica(&db, "old", shared(&["aaaa"], &["1234"]));
    beats(&old);
    let mut next = shared(&["bbbb", "aaaa"], &["1234", "5678"]);
    next.previous_spcs = Some(list(&["1234"]));
    let new = replica(&db, "new", next);
    beats(&new);
    beats(&old);
    assert_eq!((refusal(&old), refusal(&new)), (None, None));
}

/// On SQLite one process serves: what is left of one that was killed refuses nobody.
#[test]
fn a_row_that_a_killed_process_left_on_sqlite_refuses_nobody() {
    let db = Arc::new(Db::from(Kind::Sqlite));
    let killed = replica(&db, "killed", shared(&["aaaa"], &["1234"]));
    beats(&killed);
    drop(killed);
    let next = replica(&db, "next", shared(&["bbbb"], &["1234"]));
    beats(&next);
    assert_eq!(refusal(&next), None);
}

#[test]
fn a_database_whose_clock_runs_an_hour_ahead_is_noticed() {
    let world = World::from(Kind::Postgres);
    world.clock.set(Clock::system().now() - TimeDelta::hours(1));
    beats(&world);
    let offset = world.metric("clock_offset_seconds");
    assert!((3_595.0..3_605.0).contains(&offset), "{offset}");
    world.clock.set(Clock::system().now());
    beats(&world);
    let offset = world.metric("clock_offset_seconds");
    assert!(offset.abs() < 5.0, "{offset}");
}

/// A newer version has migrated the database during a rolling upgrade; its migration says which
/// versions may still write.
fn a_newer_schema_says_who_may_write(db: Db) {
    let db = Arc::new(db);
    let world = replica(&db, "older", shared(&["aaaa"], &["1234"]));
    beats(&world);
    let schema = |world: &World| {
        let mut checks = world.authority.readiness().checks.into_iter();
        let check = checks.find(|one| one.check == ReadinessCheck::Schema);
        check.expect("the check").failure
    };
    assert_eq!(schema(&world), None);
    db.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')");
    beats(&world);
    assert!(schema(&world).expect("a refusal").contains("`9998`"));
    let refused = world.mints("acme", &["one:12125551001"]);
    assert!(matches!(refused, Err(IssueError::Store(_))), "{refused:?}");
    db.execute("INSERT INTO compatible_migrations (version, needs) VALUES ('9998', '0020')");
    beats(&world);
    assert_eq!(schema(&world), None);
    tn_authority::store::Store::check(&db.url()).expect("a schema that it may write");
    db.execute("UPDATE compatible_migrations SET needs = '9997'");
    beats(&world);
    assert!(schema(&world).is_some());
}

both!(a_newer_schema_says_who_may_write);
