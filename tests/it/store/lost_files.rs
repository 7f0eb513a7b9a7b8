//! An SQLite file that is removed, replaced or cut off under the running service: no token is released whose grant
//! is in a file that nobody finds again, and no stop makes it worse.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, sql_query};
use serde_json::json;
use tn_authority::store::{DatabaseUrl, Page, Purpose, Store, StoreError};

use super::processes::open;
use crate::crash::kill::{Carrier, free_port};
use crate::support::service::{Api, asking};
use crate::support::{Db, Kind, Setup, Signal, World, send_signal, wait};

/// The file of the database, or one beside it.
fn named(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What happens, and how.
type Accident = (&'static str, fn(&Path));

/// What an operator, a clean-up job or a backup tool does to the file at this path.
const ACCIDENTS: [Accident; 11] = [
    ("the file is removed", |path| {
        fs::remove_file(path).expect("removed");
    }),
    ("the file is moved away", |path| {
        fs::rename(path, named(path, ".away")).expect("moved");
    }),
    ("the folder is moved", |path| {
        let folder = path.parent().expect("a folder");
        fs::rename(folder, named(folder, ".away")).expect("moved");
    }),
    ("a copy is moved over it", |path| {
        let copy = named(path, ".copy");
        fs::copy(path, &copy).expect("a copy");
        fs::rename(copy, path).expect("moved");
    }),
    ("an empty file is in its place", |path| {
        fs::remove_file(path).expect("removed");
        fs::write(path, "").expect("a file");
    }),
    ("it is truncated", |path| {
        let file = OpenOptions::new().write(true).open(path).expect("the file");
        file.set_len(4096).expect("truncated");
    }),
    ("its log is removed", |path| {
        fs::remove_file(named(path, "-wal")).expect("removed");
    }),
    ("its log is replaced", |path| {
        let (wal, copy) = (named(path, "-wal"), named(path, ".copy"));
        fs::copy(&wal, &copy).expect("a copy");
        fs::rename(copy, wal).expect("moved");
    }),
    ("its log is truncated", |path| {
        truncate(&named(path, "-wal"));
    }),
    ("another file is copied into its log", |path| {
        fs::write(named(path, "-wal"), "another file").expect("written");
    }),
    ("it gets a second name", |path| {
        fs::hard_link(path, named(path, ".link")).expect("a link");
    }),
];

fn truncate(file: &Path) {
    let file = OpenOptions::new().write(true).open(file).expect("the file");
    file.set_len(0).expect("truncated");
}

/// What SQLite says about the content of a file, without a log.
fn integrity(file: &Path) -> String {
    #[derive(QueryableByName)]
    struct Integrity {
        #[diesel(sql_type = Text)]
        integrity_check: String,
    }
    let copy = named(file, ".examined");
    fs::copy(file, &copy).expect("a copy");
    let mut opened = SqliteConnection::establish(&copy.to_string_lossy()).expect("SQLite");
    let found = sql_query("PRAGMA integrity_check").get_result::<Integrity>(&mut opened);
    found.map_or_else(|e| e.to_string(), |found| found.integrity_check)
}

#[test]
fn nothing_is_issued_or_changed_when_the_file_is_not_the_one_that_was_opened() {
    for (accident, happens) in ACCIDENTS {
        let api = Api::from(Kind::Sqlite);
        let operations = api.operations();
        let port_out = |number: &str| {
            let body = json!({ "start": number, "count": 1, "reason": "ported-out" });
            api.post(&api.provisioner, "/v1/exclusions", &body).status
        };
        assert_eq!(api.ask(&asking(&["one:12125551001"])).status, 200);
        assert_eq!(port_out("+12125551002"), 201);
        assert_eq!(operations.get("/readyz").status, 200, "{accident}");

        let path = api.world.db.sqlite_path();
        happens(&path);
        for _ in 0..3 {
            assert_eq!(operations.get("/readyz").status, 503, "{accident}");
            let token = api.ask(&asking(&["one:12125551001"]));
            assert_eq!(token.status, 503, "{accident}");
            assert_eq!(port_out("+12125551003"), 503, "{accident}");
        }
        let said = api.world.authority.store().ready().expect_err(accident);
        assert!(said.to_string().contains("restart"), "{said}");
        // Where nothing else removes it.
        let moved = named(path.parent().expect("a folder"), ".away");
        if moved.exists() {
            fs::remove_dir_all(moved).expect("removed");
        }
    }
}

#[test]
fn a_file_that_returns_is_used_again_after_a_restart_and_lacks_nothing_that_was_answered() {
    let db = std::sync::Arc::new(Db::from(Kind::Sqlite));
    let world = World::over(db.clone(), Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let answered = world.mints("acme", &["one:12125551001"]).expect("a token");
    let (path, away) = (db.sqlite_path(), named(&db.sqlite_path(), ".away"));
    fs::rename(&path, &away).expect("moved");
    assert!(world.mints("acme", &["one:12125551001"]).is_err());
    fs::rename(&away, &path).expect("moved back");
    // Another process may have written to it meanwhile.
    assert!(world.mints("acme", &["one:12125551001"]).is_err());
    drop(world);

    let world = World::over(db, Setup::default());
    let grants: Vec<_> = world.grants().into_iter().map(|grant| grant.jti).collect();
    assert_eq!(grants, [answered.jti]);
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

/// SQLite still has the log open, and writes it into the database when the service is stopped in order.
#[test]
fn a_log_that_was_removed_is_in_the_file_after_a_stop() {
    let db = std::sync::Arc::new(Db::from(Kind::Sqlite));
    let world = World::over(db.clone(), Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let answered = world.mints("acme", &["one:12125551001"]).expect("a token");
    fs::remove_file(named(&db.sqlite_path(), "-wal")).expect("removed");
    assert!(world.mints("acme", &["one:12125551001"]).is_err());
    drop(world);
    let grants = World::over(db, Setup::default()).grants();
    let grants: Vec<_> = grants.into_iter().map(|grant| grant.jti).collect();
    assert_eq!(grants, [answered.jti]);
}

#[test]
fn a_change_is_not_answered_when_the_file_goes_while_it_is_made() {
    let world = World::from(Kind::Sqlite);
    let path = world.db.sqlite_path();
    let mut runs = 0;
    let change = world.authority.store().change(
        world.acting(),
        "test",
        move |tx| -> Result<usize, StoreError> {
            runs += 1;
            let seen = tx.list_accounts(None, &Page::new(1, None))?.items.len();
            fs::rename(&path, named(&path, ".away")).expect("moved");
            assert_eq!(runs, 1, "it is not run again");
            Ok(seen)
        },
    );
    let lost = wait(change).expect_err("an unknown outcome");
    assert!(matches!(lost, StoreError::Unavailable(_)), "{lost}");
}

#[test]
fn a_log_that_was_truncated_is_not_written_into_the_file_at_a_stop() {
    for noticed in [true, false] {
        let db = Arc::new(Db::from(Kind::Sqlite));
        let world = World::over(Arc::clone(&db), Setup::default());
        world.carrier_holds("1.212.555.1XXX");
        world.lends("acme", "+12125551001");
        world.mints("acme", &["one:12125551001"]).expect("a token");
        let wal = named(&db.sqlite_path(), "-wal");
        let content = fs::read(&wal).expect("the log");
        truncate(&wal);
        if noticed {
            assert!(world.mints("acme", &["one:12125551001"]).is_err());
            // It is final, even if the content returns.
            fs::write(&wal, content).expect("written");
            assert!(world.mints("acme", &["one:12125551001"]).is_err());
            assert!(world.authority.store().ready().is_err());
            truncate(&wal);
        }
        drop(world);
        assert_eq!(integrity(&db.sqlite_path()), "ok", "noticed: {noticed}");
    }
}

#[test]
fn a_service_whose_log_was_truncated_ends_at_sigterm_and_leaves_a_database() {
    let db = Db::from(Kind::Sqlite);
    let carrier = Carrier::over(&db);
    let mut service = carrier.serve(free_port());
    carrier.run(&["account", "create", "beside"]);
    let wal = named(&db.sqlite_path(), "-wal");
    assert!(fs::metadata(&wal).expect("the log").len() > 0);
    truncate(&wal);
    send_signal(&service, Signal::TERM);
    assert!(service.wait().expect("the end of the service").success());
    assert_eq!(integrity(&db.sqlite_path()), "ok");
    // The next one has what was in the file: not this account.
    let mut next = carrier.serve(free_port());
    carrier.run(&["account", "create", "beside"]);
    send_signal(&next, Signal::TERM);
    assert!(next.wait().expect("the end of the service").success());
    assert_eq!(integrity(&db.sqlite_path()), "ok");
}

/// SQLite itself truncates it only then.
#[test]
fn a_log_that_sqlite_truncates_after_a_checkpoint_is_no_accident() {
    let world = World::from(Kind::Sqlite);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let wal = named(&world.db.sqlite_path(), "-wal");
    for _ in 0..3 {
        world.mints("acme", &["one:12125551001"]).expect("a token");
        world.db.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        assert_eq!(fs::metadata(&wal).expect("the log").len(), 0);
        world.authority.store().ready().expect("ready");
    }
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

#[test]
fn a_file_with_a_second_name_is_opened_by_neither() {
    let db = Db::from(Kind::Sqlite);
    let link = named(&db.sqlite_path(), ".link");
    fs::hard_link(db.sqlite_path(), &link).expect("a link");
    for name in [db.sqlite_path(), link.clone()] {
        let url = DatabaseUrl::Sqlite(name);
        let mut refusals = vec![Store::migrate(&url).err(), Store::check(&url).err()];
        for purpose in [Purpose::Serve, Purpose::FirstStep, Purpose::Command] {
            refusals.push(open(url.clone(), purpose).err());
        }
        for refused in refusals {
            let said = refused.expect("a refusal").to_string();
            assert!(
                said.contains("a hard link") && said.contains("remove"),
                "{said}"
            );
        }
    }
    for suffix in [".lock", "-wal"] {
        assert!(!named(&link, suffix).exists(), "{suffix}");
    }
    fs::remove_file(link).expect("removed");
    open(db.url(), Purpose::Serve).expect("a service");
}
