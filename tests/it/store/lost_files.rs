//! An SQLite file that is removed, replaced or cut off under the running service: no token is released whose grant
//! is in a file that nobody finds again.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use serde_json::json;
use tn_authority::store::{Page, StoreError};

use crate::support::service::{Api, asking};
use crate::support::{Db, Kind, Setup, World, wait};

/// The file of the database, or one beside it.
fn named(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What happens, and how.
type Accident = (&'static str, fn(&Path));

/// What an operator, a clean-up job or a backup tool does to the file at this path.
const ACCIDENTS: [Accident; 8] = [
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
];

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

        happens(&api.world.db.sqlite_path());
        for _ in 0..3 {
            assert_eq!(operations.get("/readyz").status, 503, "{accident}");
            let token = api.ask(&asking(&["one:12125551001"]));
            assert_eq!(token.status, 503, "{accident}");
            assert_eq!(port_out("+12125551003"), 503, "{accident}");
        }
        let said = api.world.authority.store().ready().expect_err(accident);
        assert!(said.to_string().contains("restart"), "{said}");
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
