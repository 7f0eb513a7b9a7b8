//! Applies the migrations of both databases. Takes a lock, since replicas can start at the same
//! time and diesel takes none.

use diesel::connection::SimpleConnection as _;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::compatible_migrations::first_incompatible;
use super::connection::{AnyConnection, IfMissing, begin_writing, commit, roll_back};
use super::database_url::DatabaseUrl;
use super::error::OpenError;
use super::locks::MIGRATIONS_LOCK;

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Applies missing migrations and returns their names. A missing SQLite file is created.
pub(super) fn run(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
    url.missing_file()?;
    let mut connection = url
        .connect(IfMissing::Create)
        .map_err(|e| OpenError::Connect(url.without_secrets(&e)))?;
    locked(&mut connection, |connection| {
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
    let missing = missing(connection)?.len();
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

/// Runs `work` under a lock that one process holds at a time. PostgreSQL: an advisory lock of the
/// session. SQLite: the write lock of a transaction, in which the migrations are savepoints.
fn locked<T>(
    connection: &mut AnyConnection,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let failed = |e: diesel::result::Error| OpenError::Migrate(e.to_string());
    if let AnyConnection::Postgres(c) = connection {
        c.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATIONS_LOCK})"))
            .map_err(failed)?;
        // The session, and the lock with it, ends when this connection is dropped.
        return work(connection);
    }
    begin_writing(connection).map_err(failed)?;
    match work(connection) {
        Ok(done) => commit(connection).map_err(failed).map(|()| done),
        Err(error) => {
            let _ = roll_back(connection);
            Err(error)
        }
    }
}
