//! `backup`: a copy of an SQLite database that lacks nothing, taken while another process writes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;
use tn_authority::domain::tokens::grant::Jti;
use tn_authority::store::{DatabaseUrl, PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use crate::support::{Kind, Logged as _, World};

/// Backs up the database of a world, which stays open. Whether it succeeded, and what it said.
fn backup(world: &World, file: &Path, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tn-authority"));
    command.arg("backup").arg(file).args(more);
    let output = command
        .env("TN_AUTHORITY__DATABASE__URL", world.db.text_url())
        .logged_output();
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// Opens a database that is in no other process, as the service would.
fn restore(file: &Path) -> Store {
    let settings = Settings {
        url: DatabaseUrl::Sqlite(file.to_owned()),
        purpose: Purpose::Serve,
        pool_size: 1,
        migrate: false,
        queue: 1,
        batch: 1,
        postgres: PostgresSettings::default(),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Store::open(&settings, metrics).expect("the copy")
}

fn carrier() -> World {
    let world = World::from(Kind::Sqlite);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world
}

fn mint(world: &World) -> Jti {
    world
        .mints("acme", &["one:12125551001"])
        .expect("a token")
        .jti
}

fn has(store: &Store, jti: &Jti) -> bool {
    store
        .read(|tx| tx.grant(jti))
        .expect("the ledger")
        .is_some()
}

#[test]
fn a_backup_has_every_token_that_was_released_before_it() {
    let world = carrier();
    let dir = TempDir::new().expect("a folder");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // It goes on minting meanwhile.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                mint(&world);
            }
        });
        for round in 0..3 {
            let jti = mint(&world);
            let file = dir.path().join(format!("{round}.sqlite"));
            let (done, said) = backup(&world, &file, &[]);
            assert!(done && said.contains("intact"), "{said}");
            assert!(
                said.contains("rows: accounts 1, allocations 1, delegations 1"),
                "{said}"
            );
            assert!(said.contains("authority.db.api-key-secret"), "{said}");
            assert!(has(&restore(&file), &jti), "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    // A token that is newer than the backup is what a restore loses.
    let newer = mint(&world);
    assert!(!has(&restore(&dir.path().join("2.sqlite")), &newer));
    let left: Vec<_> = fs::read_dir(dir.path())
        .expect("a folder")
        .filter_map(|entry| entry.expect("a file").file_name().into_string().ok())
        .filter(|name| name.starts_with(".tn-authority"))
        .collect();
    assert_eq!(left, [""; 0], "nothing is left of the work");
}

/// Why there is a command: what is newest is in the log beside the file.
#[test]
fn a_plain_copy_of_the_file_lacks_tokens() {
    let world = carrier();
    let jti = mint(&world);
    let copy = world.dir.path().join("copy.sqlite");
    fs::copy(world.db.sqlite_path(), &copy).expect("a copy");
    assert!(!has(&restore(&copy), &jti));
}

#[test]
fn a_file_that_exists_is_replaced_only_when_asked_for() {
    let world = carrier();
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("latest.sqlite");
    fs::write(&file, "something else").expect("a file");
    let (done, said) = backup(&world, &file, &[]);
    assert!(
        !done && said.contains("exists; name another file"),
        "{said}"
    );
    // A slip of the hand: this could be the configuration, or a key.
    let (done, said) = backup(&world, &file, &["--replace"]);
    assert!(!done && said.contains("no SQLite database"), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "something else");
    fs::remove_file(&file).expect("removed");
    assert!(backup(&world, &file, &[]).0);
    let jti = mint(&world);
    let (done, said) = backup(&world, &file, &["--replace"]);
    assert!(done, "{said}");
    let restored = restore(&file);
    assert!(has(&restored, &jti));

    // A database in use is not replaced, nor what belongs to it.
    let (done, said) = backup(&world, &file, &["--replace"]);
    assert!(
        !done && said.contains("belongs to a database in use"),
        "{said}"
    );
    let own = world.db.sqlite_path();
    for suffix in ["", "-wal", "-shm"] {
        let mut target = own.clone().into_os_string();
        target.push(suffix);
        let (done, said) = backup(&world, Path::new(&target), &["--replace"]);
        assert!(
            !done && said.contains("belongs to a database in use"),
            "{said}"
        );
    }
    let nowhere = dir.path().join("nowhere/latest.sqlite");
    let (done, said) = backup(&world, &nowhere, &[]);
    assert!(!done && said.contains("cannot be written"), "{said}");
    mint(&world);
}

#[test]
fn a_damaged_database_makes_no_backup() {
    let world = carrier();
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("copy.sqlite");
    world
        .db
        .execute("DROP TABLE grant_numbers; DROP TABLE grants");
    let (done, said) = backup(&world, &file, &[]);
    assert!(!done && said.contains("not intact"), "{said}");
    assert!(fs::read_dir(dir.path()).expect("a folder").next().is_none());
}

#[test]
fn on_postgresql_it_names_the_tool() {
    let world = World::from(Kind::Postgres);
    let file = world.dir.path().join("copy");
    let (done, said) = backup(&world, &file, &[]);
    assert!(!done && said.contains("pg_dump"), "{said}");
    assert!(!file.exists());
}
