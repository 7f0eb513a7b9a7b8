//! Connections to either database: one enum, and how its transactions begin and end.

use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection, TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::timelines::{BegunOn, Timelines};
use super::timeouts::{DatabaseTimeouts, TransactionKind};

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(super) enum AnyConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl AnyConnection {
    /// Begins a write transaction and rolls it back.
    pub(super) fn check_writable(&mut self) -> QueryResult<()> {
        self.batch_execute(match self {
            Self::Postgres(_) => "BEGIN READ WRITE; ROLLBACK",
            Self::Sqlite(_) => "BEGIN IMMEDIATE; ROLLBACK",
        })
    }
}

/// Expands one diesel expression for whichever database it is. The derive of `AnyConnection`
/// supports no booleans, no multi-row inserts and no arrays; each arm here has a concrete
/// connection type, which does.
macro_rules! on_either {
    ($connection:expr, $c:ident => $body:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Postgres($c) => $body,
            $crate::store::connection::AnyConnection::Sqlite($c) => $body,
        }
    };
}
pub(super) use on_either;

/// Starts a write transaction. SQLite takes its write lock immediately, so that no later statement
/// finds it taken.
pub(super) fn begin_writing(
    connection: &mut AnyConnection,
    timeouts: &DatabaseTimeouts,
    kind: TransactionKind,
) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(c) => begin(c, &timeouts.begin_writing(kind)),
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")
        }
    }
}

/// Starts a read transaction, which sees one snapshot of the database; on PostgreSQL, not on an
/// older one of `timelines`.
pub(super) fn begin_reading(
    connection: &mut AnyConnection,
    timeouts: &DatabaseTimeouts,
    kind: TransactionKind,
    timelines: Option<&Timelines>,
) -> QueryResult<BegunOn> {
    match connection {
        AnyConnection::Postgres(c) => {
            let sql = timeouts.begin_reading(kind);
            let Some(timelines) = timelines else {
                begin(c, &sql)?;
                return Ok(BegunOn::default());
            };
            timelines.begin(c, |connection, column| {
                begin(connection, &format!("{sql}{column}"))
            })
        }
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN")?;
            Ok(BegunOn::default())
        }
    }
}

/// If a later statement of `sql` fails, the server has a transaction that diesel does not know of.
fn begin(connection: &mut PgConnection, sql: &str) -> QueryResult<()> {
    let begun = AnsiTransactionManager::begin_transaction_sql(connection, sql);
    if begun.is_err() {
        let _ = connection.batch_execute("ROLLBACK");
    }
    begun
}

pub(super) fn commit(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)
}

/// Rolls back. An error means that the connection cannot be used any more.
pub(super) fn roll_back(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)
}
