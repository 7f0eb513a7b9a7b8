//! Migrations: applied once, whoever comes first, and a schema that is not ours is refused.

use std::sync::Arc;

use tn_authority::store::{OpenError, PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use crate::support::{Db, Kind, at_once};

both! {
    many_replicas_migrate_a_fresh_database_at_once,
    an_empty_database_is_refused_unless_it_may_be_migrated,
    a_database_of_a_newer_version_is_refused,
    a_server_that_writes_english_is_not_warned_of,
}

fn open(db: &Db, migrate: bool) -> Result<Store, OpenError> {
    let settings = Settings {
        url: db.url(),
        purpose: Purpose::FirstStep,
        pool_size: 1,
        migrate,
        queue: 1,
        batch: 1,
        postgres: PostgresSettings::default(),
    };
    Store::open(&settings, Arc::new(Metrics::new().expect("metrics")))
}

fn many_replicas_migrate_a_fresh_database_at_once(kind: Kind) {
    for _ in 0..3 {
        let db = Db::empty(kind);
        let applied = at_once(8, |_| Store::migrate(&db.url()).expect("migrations"));
        assert_eq!(
            applied.iter().filter(|names| !names.is_empty()).count(),
            1,
            "{applied:?}"
        );
        assert!(
            applied
                .iter()
                .any(|names| names.first().is_some_and(|name| name == "0001_main_job"))
        );
        Store::check(&db.url()).expect("the schema of this version");
    }
    let db = Db::empty(kind);
    assert!(
        at_once(4, |_| open(&db, true).is_ok())
            .into_iter()
            .all(|opened| opened)
    );
}

fn an_empty_database_is_refused_unless_it_may_be_migrated(kind: Kind) {
    let db = Db::empty(kind);
    // On SQLite there is no file yet, which looking does not make.
    let lacks_all = |refused: Option<OpenError>| {
        matches!(
            refused,
            Some(OpenError::OldSchema { missing: 1.. } | OpenError::NoDatabase(_))
        )
    };
    for _ in 0..2 {
        assert!(lacks_all(Store::check(&db.url()).err()));
        assert!(lacks_all(open(&db, false).err()));
    }
    open(&db, true).expect("a store").ready().expect("ready");
    open(&db, false).expect("a store").ready().expect("ready");
}

fn a_database_of_a_newer_version_is_refused(db: Db) {
    db.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    for migrate in [false, true] {
        assert!(matches!(open(&db, migrate), Err(OpenError::NewSchema(name)) if name == "9999"));
    }
    assert!(matches!(
        Store::check(&db.url()),
        Err(OpenError::NewSchema(_))
    ));
    assert!(matches!(
        Store::migrate(&db.url()),
        Err(OpenError::NewSchema(_))
    ));
}

fn a_server_that_writes_english_is_not_warned_of(db: Db) {
    if db.kind() == Kind::Postgres {
        db.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lc_messages = %L', current_database(), 'C'); END $$",
        );
    }
    assert_eq!(Store::check(&db.url()).expect("the schema"), [""; 0]);
}

#[test]
fn an_sqlite_file_without_a_schema_is_refused_unless_it_may_be_migrated() {
    let db = Db::empty(Kind::Sqlite);
    std::fs::write(db.sqlite_path(), "").expect("a file");
    for _ in 0..2 {
        assert!(matches!(
            open(&db, false),
            Err(OpenError::OldSchema { missing: 1.. })
        ));
    }
    open(&db, true).expect("a store").ready().expect("ready");
}
