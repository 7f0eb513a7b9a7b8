//! Roles of PostgreSQL that may use the tables of the service, and not make any.

use tn_authority::store::{DatabaseUrl, OpenError, Store};

use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, PgServer, PgVersion};

/// The role of the service, which owns nothing and may create nothing.
fn user(server: &PgServer, db: &Db) -> DatabaseUrl {
    let url = server.carrier_role(db);
    db.execute(
        "REVOKE CREATE ON SCHEMA public FROM carrier; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    url.parse().expect("a URL")
}

#[test]
fn a_role_that_may_not_create_tables_needs_to_only_if_there_is_one_to_create() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Db::on(server.url());
    let url = user(&server, &db);
    Store::check(&url).expect("the schema of this version");
    let applied = Store::migrate(&url).expect("nothing to apply");
    assert!(applied.is_empty(), "{applied:?}");

    // One is missing, and the role may neither create what it creates nor alter what it alters.
    let newest = "DELETE FROM __diesel_schema_migrations WHERE version = \
                  (SELECT max(version) FROM __diesel_schema_migrations)";
    db.execute(newest);
    let lacks = |part: &str| {
        let refused = Store::migrate(&url).expect_err("no migration");
        assert!(matches!(refused, OpenError::Privileges(_)), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(part) && text.contains("`carrier`"), "{text}");
    };
    lacks("may not create tables in the schema `public`");
    db.execute("GRANT CREATE ON SCHEMA public TO carrier");
    lacks("does not own `");
    db.execute("REVOKE ALL ON SCHEMA public FROM carrier; REVOKE ALL ON SCHEMA public FROM PUBLIC");
    lacks("has no schema that it may use");
}

/// A role that may not read which migrations were applied is not said to have failed one.
#[test]
fn a_version_that_cannot_be_read_is_no_migration_that_failed() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Db::on(server.url());
    let url = user(&server, &db);
    db.execute("REVOKE ALL ON __diesel_schema_migrations FROM carrier");
    for refused in [
        Store::check(&url).expect_err("unknown"),
        Store::migrate(&url).expect_err("unknown"),
    ] {
        let text = refused.to_string();
        assert!(
            text.contains("the version of the schema cannot be read")
                && text.contains("__diesel_schema_migrations"),
            "{text}"
        );
    }
}

/// `check` reads the keys. What refuses that has let it in.
#[test]
fn a_table_that_may_not_be_read_is_no_database_that_cannot_be_reached() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Db::on(server.url());
    let carrier = Carrier::over(&db);
    let url = server.carrier_role(&db);
    db.execute("REVOKE SELECT ON api_keys FROM carrier");
    let mut check = carrier.command(&["check"]);
    check.env("TN_AUTHORITY__DATABASE__URL", url);
    let said = check.output().expect("the command").stdout;
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("api_keys (SELECT)"), "{said}");
    assert!(said.contains("the database cannot be read"), "{said}");
    assert!(!said.contains("cannot be reached"), "{said}");
}

/// Reading it must not create it.
#[test]
fn a_check_of_an_empty_database_leaves_it_empty() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let db = Db::empty(kind);
        if kind == Kind::Sqlite {
            std::fs::write(db.text_url().trim_start_matches("sqlite:"), "").expect("a file");
        }
        let refused = Store::check(&db.url()).expect_err("no schema");
        assert!(matches!(refused, OpenError::OldSchema { .. }), "{refused}");
        db.execute("CREATE TABLE __diesel_schema_migrations (version text)");
    }
}
