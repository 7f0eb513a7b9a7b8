//! Several processes over one SQLite file: one serves, and commands write beside it without starving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tn_authority::store::{DatabaseUrl, OpenError, PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use super::writer::transactions;
use crate::support::{Db, Kind, Raw, Setup, World};
use diesel::connection::SimpleConnection as _;

/// Changes that a command makes, each in a transaction.
const CHANGES: u32 = 25;

both!(a_second_service_is_refused_on_sqlite_and_shares_postgresql);

pub fn open(url: DatabaseUrl, purpose: Purpose) -> Result<Store, OpenError> {
    let settings = Settings {
        url,
        purpose,
        pool_size: 1,
        migrate: true,
        queue: 16,
        batch: 16,
        postgres: PostgresSettings::default(),
    };
    Store::open(&settings, Arc::new(Metrics::new().expect("metrics")))
}

fn a_second_service_is_refused_on_sqlite_and_shares_postgresql(db: Db) {
    let first = open(db.url(), Purpose::Serve).expect("the service");
    let second = open(db.url(), Purpose::Serve);
    match (db.kind(), second) {
        (Kind::Postgres, second) => second.expect("a replica").ready().expect("ready"),
        (Kind::Sqlite, Ok(_)) => panic!("two services on one file"),
        (Kind::Sqlite, Err(refused)) => {
            let said = refused.to_string();
            assert!(matches!(refused, OpenError::Served(_)), "{said}");
            assert!(
                said.contains("authority.db.lock") && said.contains("PostgreSQL"),
                "{said}"
            );
            // Nor by another name.
            let link = db.sqlite_path().with_extension("link");
            std::os::unix::fs::symlink(db.sqlite_path(), &link).expect("a link");
            let by_link = open(DatabaseUrl::Sqlite(link), Purpose::Serve);
            assert!(matches!(by_link, Err(OpenError::Served(_))));
        }
    }
    let command = open(db.url(), Purpose::Command).expect("a command beside it");
    command.ready().expect("ready");
    first.ready().expect("the service goes on");
    drop(first);
    open(db.url(), Purpose::Serve).expect("the next service");
}

/// Root runs a command before the service of another user starts.
#[test]
fn the_files_beside_the_database_have_its_owner_and_mode() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let db = Db::from(Kind::Sqlite);
    let path = db.sqlite_path();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    // Only root can give a file away. Anyone else sees the owner stay.
    let _ = std::os::unix::fs::chown(&path, Some(65_534), Some(65_534));
    let wanted = std::fs::metadata(&path).expect("the database");
    open(db.url(), Purpose::Serve).expect("a service");
    for suffix in ["db.lock", "db.turn"] {
        let found = std::fs::metadata(path.with_extension(suffix)).expect(suffix);
        let of = |file: &std::fs::Metadata| (file.uid(), file.gid(), file.mode() & 0o777);
        assert_eq!(of(&found), of(&wanted), "{suffix}");
    }
}

/// SQLite's lock goes to the process that has just released it. Another one writes all the same, after a
/// transaction or two.
#[test]
fn a_command_that_writes_beside_a_busy_service_is_not_starved() {
    let db = Arc::new(Db::from(Kind::Sqlite));
    let [service, command] = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    service.carrier_holds("1.212.555.1XXX");
    service.lends("acme", "1.212.555.1XXX");
    let ended = AtomicBool::new(false);
    let overtaken: f64 = thread::scope(|scope| {
        for number in 12_125_551_000_u64..12_125_551_004 {
            let (service, ended) = (&service, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let minted = service.mints("acme", &[&format!("one:{number}")]);
                    minted.expect("a token");
                }
            });
        }
        let before = transactions(&service);
        for n in 0..CHANGES {
            command.knows(&format!("account-{n}"));
        }
        let during = transactions(&service) - before;
        ended.store(true, Ordering::Relaxed);
        during
    });
    let each = overtaken / f64::from(CHANGES);
    println!("{each} transactions of the service during a change of the command");
    // On a busy machine some changes wait for a core.
    assert!(each < 20.0, "{each}");
}

#[test]
fn a_write_lock_that_is_never_released_is_waited_for_once_and_named() {
    let world = World::from(Kind::Sqlite);
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.loan("acme", "+12125551001");
    let Raw::Sqlite(mut other) = world.db.connect() else {
        panic!("SQLite")
    };
    other.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    let started = std::time::Instant::now();
    let refused = world.delegates(loan.clone());
    let said = refused.expect_err("a timeout").to_string();
    assert!(said.contains("another process has been writing"), "{said}");
    let waited = started.elapsed().as_secs();
    assert!((9..30).contains(&waited), "{waited} s");
    other.batch_execute("ROLLBACK").expect("released");
    world.delegates(loan).expect("a delegation");
}
