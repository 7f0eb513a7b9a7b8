//! Applies the migrations of both databases. Takes a lock, since replicas can start at the same
//! time and diesel takes none.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection as _;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::compatible_migrations::first_incompatible;
use super::connection::{AnyConnection, begin_writing, commit, on_either, roll_back};
use super::connector::IfMissing;
use super::database_url::DatabaseUrl;
use super::error::OpenError;
use super::locks::{Hold, MIGRATIONS_LOCK, acquire};
use super::table_access::READ;
use super::timeouts::{DatabaseTimeouts, TransactionKind, millis};

/// How long a migration waits for the lock of a table. As long as it waits, it keeps the service
/// from that table.
const MAX_TABLE_WAIT: Duration = Duration::from_secs(5);

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Applies missing migrations and returns their names. A missing SQLite file is created.
pub(super) fn run(
    url: &DatabaseUrl,
    timeouts: &DatabaseTimeouts,
) -> Result<Vec<String>, OpenError> {
    url.missing_file()?;
    let mut connection = url.connect(IfMissing::Create)?;
    locked(&mut connection, timeouts, |connection| {
        let pending = missing(connection)?;
        if pending.is_empty() {
            return Ok(pending);
        }
        let applied = match connection {
            AnyConnection::Postgres(c) => {
                check_privileges(c)?;
                c.run_pending_migrations(POSTGRES).map(drop)
            }
            AnyConnection::Sqlite(c) => c.run_pending_migrations(SQLITE).map(drop),
        };
        match applied {
            Ok(()) => Ok(pending),
            // Diesel does not show the error of the statement.
            Err(error) if connection.is_broken() => Err(OpenError::Connect(error.to_string())),
            Err(error) => Err(OpenError::Migrate(error.to_string())),
        }
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
            // Such as that it is a standby.
            let failed = |e: DieselError| OpenError::of_query(&e, OpenError::ReadOnly);
            let timeouts = DatabaseTimeouts::default();
            begin_writing(connection, &timeouts, TransactionKind::Request).map_err(failed)?;
            let found = missing(connection);
            let ended = roll_back(connection).map_err(failed);
            let found = found?;
            ended?;
            found
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
    let known = match connection {
        AnyConnection::Postgres(_) => names::<_, Pg>(&POSTGRES),
        AnyConnection::Sqlite(_) => names::<_, Sqlite>(&SQLITE),
    }?;
    let applied = applied(connection)?;
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

/// The versions that were applied. Diesel's own question creates their table if there is none, for
/// which PostgreSQL wants the privilege to create tables even if there is one.
fn applied(connection: &mut AnyConnection) -> Result<Vec<MigrationVersion<'static>>, OpenError> {
    let exists = match connection {
        AnyConnection::Postgres(_) => {
            "SELECT count(to_regclass('__diesel_schema_migrations')) AS n"
        }
        AnyConnection::Sqlite(_) => {
            "SELECT count(*) AS n FROM sqlite_master WHERE name = '__diesel_schema_migrations'"
        }
    };
    let failed = |e: DieselError| OpenError::of_query(&e, OpenError::SchemaUnknown);
    let found: TableCount =
        on_either!(connection, c => sql_query(exists).get_result(c)).map_err(failed)?;
    if found.n == 0 {
        return Ok(Vec::new());
    }
    let versions = "SELECT version FROM __diesel_schema_migrations";
    let rows: Vec<AppliedRow> =
        on_either!(connection, c => sql_query(versions).load(c)).map_err(failed)?;
    Ok(rows.into_iter().map(|row| row.version.into()).collect())
}

/// Says which privileges are missing, before a migration fails for one of them in the language of
/// the server.
fn check_privileges(connection: &mut PgConnection) -> Result<(), OpenError> {
    let tables = READ.map(|table| format!("'{table}'")).join(", ");
    let query = format!(
        "SELECT current_user::text AS role, current_schema()::text AS schema, \
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates, \
           coalesce((SELECT string_agg(relname, '`, `' ORDER BY relname) FROM pg_class \
             WHERE relname IN ({tables}) AND relnamespace = to_regnamespace(current_schema()) \
               AND NOT pg_has_role(relowner, 'USAGE')), '') AS not_owned"
    );
    let found: MigratorRow = sql_query(query)
        .get_result(connection)
        .map_err(|error| OpenError::of_query(&error, OpenError::Migrate))?;
    let role = found.role;
    let Some(schema) = found.schema else {
        return Err(OpenError::Privileges(format!(
            "the search path of `{role}` has no schema that it may use; `GRANT USAGE ON SCHEMA` \
             to it, or set its `search_path`"
        )));
    };
    if !found.creates {
        return Err(OpenError::Privileges(format!(
            "`{role}` may not create tables in the schema `{schema}`, as a migration does; migrate \
             as a role that may (`database.migrate_url`), or `GRANT CREATE ON SCHEMA` to it"
        )));
    }
    if !found.not_owned.is_empty() {
        return Err(OpenError::Privileges(format!(
            "`{role}` does not own `{}`, which a migration can change; migrate as their owner \
             (`database.migrate_url`)",
            found.not_owned
        )));
    }
    Ok(())
}

#[derive(Debug, QueryableByName)]
struct TableCount {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(Debug, QueryableByName)]
struct AppliedRow {
    #[diesel(sql_type = Text)]
    version: String,
}

#[derive(Debug, QueryableByName)]
struct MigratorRow {
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Nullable<Text>)]
    schema: Option<String>,
    #[diesel(sql_type = Bool)]
    creates: bool,
    /// Tables of the service that belong to another role; empty if there is none.
    #[diesel(sql_type = Text)]
    not_owned: String,
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
    timeouts: &DatabaseTimeouts,
    work: impl FnOnce(&mut AnyConnection) -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let failed = |e: DieselError| OpenError::of_query(&e, OpenError::Migrate);
    begin_writing(connection, timeouts, TransactionKind::Migration).map_err(|error| {
        match connection {
            AnyConnection::Postgres(_) => OpenError::of_query(&error, OpenError::ReadOnly),
            AnyConnection::Sqlite(_) => failed(error),
        }
    })?;
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
fn lock_alone(connection: &mut PgConnection, timeouts: &DatabaseTimeouts) -> Result<(), OpenError> {
    let failed = |e: DieselError| OpenError::of_query(&e, OpenError::Migrate);
    let patience = timeouts.long_statement * 3 / 4;
    if !acquire(connection, MIGRATIONS_LOCK, Hold::Exclusive, patience).map_err(failed)? {
        return Err(OpenError::Migrate(
            "another process has been applying migrations for too long; wait until it has ended"
                .to_owned(),
        ));
    }
    let settings = format!("SET LOCAL lock_timeout = {}", millis(MAX_TABLE_WAIT));
    connection.batch_execute(&settings).map_err(failed)
}
