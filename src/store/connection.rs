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

/// Starts a write transaction; on PostgreSQL, not on an older one of `timelines`. SQLite takes its
/// write lock immediately, so that no later statement finds it taken.
pub(super) fn begin_writing(
    connection: &mut AnyConnection,
    timeouts: &DatabaseTimeouts,
    kind: TransactionKind,
    timelines: Option<&Timelines>,
) -> QueryResult<BegunOn> {
    match connection {
        AnyConnection::Postgres(c) => begin(c, &timeouts.begin_writing(kind), timelines),
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?;
            Ok(BegunOn::default())
        }
    }
}

/// Starts a read transaction, which sees one snapshot of the database.
pub(super) fn begin_reading(
    connection: &mut AnyConnection,
    timeouts: &DatabaseTimeouts,
    kind: TransactionKind,
    timelines: Option<&Timelines>,
) -> QueryResult<BegunOn> {
    match connection {
        AnyConnection::Postgres(c) => begin(c, &timeouts.begin_reading(kind), timelines),
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN")?;
            Ok(BegunOn::default())
        }
    }
}

/// If a later statement of `sql` fails, the server has a transaction that diesel does not know of.
fn begin(
    connection: &mut PgConnection,
    sql: &str,
    timelines: Option<&Timelines>,
) -> QueryResult<BegunOn> {
    let begin = |connection: &mut PgConnection, column: &str| {
        let sql = format!("{sql}{column}");
        let begun = AnsiTransactionManager::begin_transaction_sql(connection, &sql);
        if begun.is_err() {
            let _ = connection.batch_execute("ROLLBACK");
        }
        begun
    };
    if let Some(timelines) = timelines {
        return timelines.begin(connection, begin);
    }
    begin(connection, "")?;
    Ok(BegunOn::default())
}

pub(super) fn commit(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)
}

/// Rolls back. An error means that the connection cannot be used any more.
pub(super) fn roll_back(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)
}
