//! Applies the migrations of both databases. Takes a lock, since replicas can start at the same
//! time and diesel takes none.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::{Pg, PgConnection};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::compatible_migrations::first_incompatible;
use super::connection::{AnyConnection, begin_writing, commit, roll_back};
use super::connector::IfMissing;
use super::database_url::DatabaseUrl;
use super::error::OpenError;
use super::locks::{Hold, MIGRATIONS_LOCK, acquire};
use super::timeouts::{Timeouts, TransactionKind, millis};

/// How long a migration waits for the lock of a table. As long as it waits, it keeps the service
/// from that table.
const MAX_TABLE_WAIT: Duration = Duration::from_secs(5);

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Applies missing migrations and returns their names. A missing SQLite file is created.
pub(super) fn run(url: &DatabaseUrl, timeouts: &Timeouts) -> Result<Vec<String>, OpenError> {
    url.missing_file()?;
    let mut connection = url.connect(IfMissing::Create)?;
    locked(&mut connection, timeouts, |connection| {
        let pending = missing(connection)?;
        match connection {
            AnyConnection::Postgres(c) => c.run_pending_migrations(POSTGRES).map(drop),
            AnyConnection::Sqlite(c) => c.run_pending_migrations(SQLITE).map(drop),
        }
        .map_err(|e| OpenError::Migrate(e.to_string()))?;
        Ok(pending)
    })
}

/// The versions of the migrations that this version knows, in order.
pub(super) fn known_versions() -> Result<Vec<String>, OpenError> {
    let names = names::<_, Pg>(&POSTGRES)?;
    Ok(names.iter().map(|name| version_of(name)).collect())
}

/// Fails unless the schema is the one of this version, or a newer one that it may write beside.
pub(super) fn check(connection: &mut AnyConnection) -> Result<(), OpenError> {
    let missing = match connection {
        // Within bounds: another process may be changing the table of the migrations.
        AnyConnection::Postgres(_) => {
            let failed = |e: diesel::result::Error| OpenError::Connect(e.to_string());
            begin_writing(connection, &Timeouts::default(), TransactionKind::Request)
                .map_err(failed)?;
            let found = missing(connection);
            roll_back(connection).map_err(failed)?;
            found?
        }
        AnyConnection::Sqlite(_) => missing(connection)?,
    }
    .len();
    if missing > 0 {
        return Err(OpenError::OldSchema { missing });
    }
    Ok(())
}

/// The migrations that the database lacks. Fails if it has one that this version does not know, and
/// must not write beside.
fn missing(connection: &mut AnyConnection) -> Result<Vec<String>, OpenError> {
    let (known, applied) = match connection {
        AnyConnection::Postgres(c) => (names::<_, Pg>(&POSTGRES), c.applied_migrations()),
        AnyConnection::Sqlite(c) => (names::<_, Sqlite>(&SQLITE), c.applied_migrations()),
    };
    let known = known?;
    let applied = applied.map_err(|e| OpenError::Migrate(e.to_string()))?;
    let version = |name: &String| MigrationVersion::from(version_of(name));
    if let Some(unknown) = applied
        .iter()
        .find(|v| !known.iter().any(|name| version(name) == **v))
    {
        let versions: Vec<String> = known.iter().map(|name| version_of(name)).collect();
        // Without the table, which is older than any such migration, nothing says that it may.
        match first_incompatible(connection, &versions) {
            Ok(None) => {}
            Ok(Some(first)) => return Err(OpenError::NewSchema(first)),
            Err(_) => return Err(OpenError::NewSchema(unknown.to_string())),
        }
    }
    Ok(known
        .into_iter()
        .filter(|name| !applied.contains(&version(name)))
        .collect())
}

/// `0001`, given `0001_main_job`.
fn version_of(name: &str) -> String {
    name.split('_').next().unwrap_or(name).to_owned()
}

fn names<S, DB>(source: &S) -> Result<Vec<String>, OpenError>
where
    S: MigrationSource<DB>,
    DB: diesel::backend::Backend,
{
    let migrations = source
        .migrations()
        .map_err(|e| OpenError::Migrate(e.to_string()))?;
    let mut names: Vec<String> = migrations.iter().map(|m| m.name().to_string()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Runs `work` in a transaction, under a lock that one process holds at a time. The migrations are
/// savepoints in it. PostgreSQL: an advisory lock of the transaction, which a pooler cannot lose.
/// SQLite: its write lock.
fn locked<T>(
    connection: &mut AnyConnection,
    timeouts: &Timeouts,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let failed = |e: diesel::result::Error| OpenError::Migrate(e.to_string());
    begin_writing(connection, timeouts, TransactionKind::Long).map_err(failed)?;
    let locked = match connection {
        AnyConnection::Postgres(c) => lock_alone(c, timeouts),
        AnyConnection::Sqlite(_) => Ok(()),
    };
    match locked.and_then(|()| work(connection)) {
        Ok(done) => commit(connection).map_err(failed).map(|()| done),
        Err(error) => {
            let _ = roll_back(connection);
            Err(error)
        }
    }
}

/// Waits until no other process applies migrations.
fn lock_alone(connection: &mut PgConnection, timeouts: &Timeouts) -> Result<(), OpenError> {
    let failed = |e: diesel::result::Error| OpenError::Migrate(e.to_string());
    let patience = timeouts.long_statement;
    if !acquire(connection, MIGRATIONS_LOCK, Hold::Exclusive, patience).map_err(failed)? {
        return Err(OpenError::Migrate(
            "another process has been applying migrations for too long; wait until it has ended"
                .to_owned(),
        ));
    }
    let settings = format!("SET LOCAL lock_timeout = {}", millis(MAX_TABLE_WAIT));
    connection.batch_execute(&settings).map_err(failed)
}
