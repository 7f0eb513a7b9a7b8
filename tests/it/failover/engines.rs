//! Engines that speak the protocol of PostgreSQL, and whose advisory locks lock nothing.

use std::sync::Arc;

use tn_authority::store::{OpenError, PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use crate::support::{Db, Kind};

fn opened(db: &Db) -> Result<Store, OpenError> {
    let settings = Settings {
        url: db.url(),
        purpose: Purpose::Serve,
        pool_size: 1,
        migrate: false,
        queue: 1,
        batch: 1,
        postgres: PostgresSettings::default(),
    };
    Store::open(&settings, Arc::new(Metrics::new().expect("metrics")))
}

#[test]
fn an_engine_whose_locks_do_not_lock_is_refused_with_words() {
    let db = Db::from(Kind::Postgres);
    opened(&db).expect("PostgreSQL itself");
    for function in [
        "pg_try_advisory_xact_lock",
        "pg_try_advisory_xact_lock_shared",
    ] {
        db.execute(&format!(
            "CREATE FUNCTION {function}(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); \
             END $$"
        ));
        for refused in [opened(&db).err(), Store::check(&db.url()).err()] {
            let refused = refused.expect("a refusal");
            assert!(matches!(refused, OpenError::Locks(_)), "{refused:?}");
            assert!(refused.to_string().contains("use PostgreSQL"), "{refused}");
        }
        db.execute(&format!("DROP FUNCTION {function}(bigint)"));
    }
    opened(&db).expect("PostgreSQL itself");
}
