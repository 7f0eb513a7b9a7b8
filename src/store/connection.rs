//! Connections to either database: one enum, its session settings, and the pool of read
//! connections.

use std::time::{Duration, Instant};

use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection, TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::r2d2::ManageConnection;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::database_url::{DatabaseUrl, existing_file_uri};
use super::error::Remedy;
use super::sqlite_file::refuse_hard_links;

/// As long as `busy_timeout`.
const MAX_SETUP_TIME: Duration = Duration::from_secs(10);
const SETUP_RETRY_INTERVAL: Duration = Duration::from_millis(25);

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

/// Whether opening a connection may create the file of an SQLite database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMissing {
    Create,
    Fail,
}

impl DatabaseUrl {
    /// Opens a connection and applies the session settings that the service relies on.
    pub(super) fn connect(
        &self,
        if_missing: IfMissing,
    ) -> Result<AnyConnection, diesel::ConnectionError> {
        refuse_hard_links(self)?;
        let mut connection = match self {
            Self::Sqlite(path) => {
                let name = match if_missing {
                    IfMissing::Create => path.to_string_lossy().into_owned(),
                    IfMissing::Fail => existing_file_uri(path),
                };
                AnyConnection::Sqlite(SqliteConnection::establish(&name)?)
            }
            Self::Postgres(url) => AnyConnection::Postgres(PgConnection::establish(url)?),
        };
        let settings = match self {
            // `busy_timeout` comes first, since the other settings can already have to wait. With
            // `FULL`, the grant of a released token survives a power cut; `NORMAL` could lose it.
            Self::Sqlite(_) => {
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
            }
            // The overlap query is written in the order in which it must run, as a nested loop over
            // an index. Without fresh statistics the planner would choose a worse plan, and would
            // keep a scan that it chose while a table was small. With `synchronous_commit` off, a
            // crash could lose the grant of a released token.
            Self::Postgres(_) => {
                "SET join_collapse_limit = 1; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                 SET enable_seqscan = off; SET jit = off; SET TIME ZONE 'UTC'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off';"
            }
        };
        set_up(&mut connection, settings)
            .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }
}

/// Applies the settings of a new connection. Connections that open a fresh SQLite file at the same
/// time conflict when they switch it to WAL, and `busy_timeout` does not cover that: SQLite reports
/// the file as locked immediately.
fn set_up(connection: &mut AnyConnection, settings: &str) -> QueryResult<()> {
    let started = Instant::now();
    loop {
        match connection.batch_execute(settings) {
            Err(error)
                if started.elapsed() < MAX_SETUP_TIME
                    && Remedy::for_error(&error) == Remedy::Repeat =>
            {
                std::thread::sleep(SETUP_RETRY_INTERVAL);
            }
            done => return done,
        }
    }
}

/// Starts a write transaction. SQLite takes its write lock immediately, so that no later statement
/// finds it taken.
pub(super) fn begin_writing(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(
            // After waiting for the writer's lock, each statement must see what was committed
            // meanwhile. A server with a stricter default level would show the state from when the
            // wait began.
            c,
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        ),
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")
        }
    }
}

/// Starts a read transaction, which sees one snapshot of the database.
pub(super) fn begin_reading(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(
            c,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ),
        AnyConnection::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN"),
    }
}

pub(super) fn commit(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)
}

/// Rolls back. An error means that the connection cannot be used any more.
pub(super) fn roll_back(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)
}

/// Opens the connections of the read pool.
#[derive(Debug)]
pub(super) struct Readers(pub(super) DatabaseUrl);

impl ManageConnection for Readers {
    type Connection = AnyConnection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, Self::Error> {
        self.0
            .connect(IfMissing::Fail)
            .map_err(diesel::r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), Self::Error> {
        connection
            .batch_execute("SELECT 1")
            .map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        use diesel::r2d2::R2D2Connection as _;
        // A panic can leave a transaction open.
        std::thread::panicking() || connection.is_broken()
    }
}
