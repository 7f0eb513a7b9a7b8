//! Connections: one enum over the two databases, made ready for use, and a pool of them for reading.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection, TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::r2d2::ManageConnection;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::error::{OpenError, Remedy};

/// Together as long as `busy_timeout`.
const TRIES_TO_SET_UP: u32 = 400;
const BETWEEN_TRIES: Duration = Duration::from_millis(25);

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub(super) enum AnyConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl AnyConnection {
    /// Begins a transaction that writes, and does not go on with it.
    pub(super) fn begin_to_write(&mut self) -> QueryResult<()> {
        self.batch_execute(match self {
            Self::Postgres(_) => "BEGIN READ WRITE; ROLLBACK",
            Self::Sqlite(_) => "BEGIN IMMEDIATE; ROLLBACK",
        })
    }
}

/// Runs one text of diesel on whichever database it is. The derive of `AnyConnection` knows no booleans, no lists of rows
/// and no arrays; each arm here knows all that its database does.
macro_rules! on_either {
    ($connection:expr, $c:ident => $body:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Postgres($c) => $body,
            $crate::store::connection::AnyConnection::Sqlite($c) => $body,
        }
    };
}
pub(super) use on_either;

/// Where the data is: the scheme of the URL decides.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://..` or `postgresql://..`; holds a password, so it is not shown.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://.."),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(url.to_owned()))
            }
            // The URL may hold a password, so it is not repeated.
            _ => Err(OpenError::Url),
        }
    }
}

impl DatabaseUrl {
    /// What went wrong with a connection, without the password that libpq may repeat.
    pub(super) fn without_secrets(&self, error: &dyn ToString) -> String {
        let told = error.to_string();
        let Self::Postgres(url) = self else {
            return told;
        };
        let told = told.replace(url, "postgres://..");
        let user = url
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@'));
        match user.and_then(|(user, _)| user.split_once(':')) {
            // A password with an `@` in it is taken apart by libpq.
            Some((_, password)) => password
                .split('@')
                .filter(|part| !part.is_empty())
                .fold(told, |told, part| told.replace(part, "***")),
            None => told,
        }
    }

    /// Opens a connection and makes it safe to use.
    pub(super) fn connect(&self) -> Result<AnyConnection, diesel::ConnectionError> {
        let mut connection = match self {
            Self::Sqlite(path) => {
                AnyConnection::Sqlite(SqliteConnection::establish(&path.to_string_lossy())?)
            }
            Self::Postgres(url) => AnyConnection::Postgres(PgConnection::establish(url)?),
        };
        let settings = match self {
            // `busy_timeout` first, since the others may already have to wait. `FULL`: a token that was released is in
            // the database after a power cut; `NORMAL` could forget it.
            Self::Sqlite(_) => {
                "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
            }
            // The search for touching ranges is written in the order in which it is to be run, and is a nested loop over
            // an index; a planner without fresh statistics would choose worse, and would stay with a scan that it chose
            // while a table was small. A server that does not wait for its log could forget a released token.
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

/// Applies the settings of a new connection. Several that open a fresh SQLite file at once are in each other's way when
/// they turn it to WAL, and `busy_timeout` does not cover that: SQLite answers at once that the file is locked.
fn set_up(connection: &mut AnyConnection, settings: &str) -> QueryResult<()> {
    let mut tries_left = TRIES_TO_SET_UP;
    loop {
        tries_left -= 1;
        match connection.batch_execute(settings) {
            Err(error) if tries_left > 0 && Remedy::for_error(&error) == Remedy::Repeat => {
                std::thread::sleep(BETWEEN_TRIES);
            }
            done => return done,
        }
    }
}

/// Starts a transaction that will write. SQLite takes its write lock at once, so that no later statement finds it taken.
pub(super) fn begin_writing(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(
            // Behind the writer's lock each statement has to see what was committed before: a server whose default is
            // a stricter level would show what was there when the transaction began to wait.
            c,
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        ),
        AnyConnection::Sqlite(c) => {
            AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")
        }
    }
}

/// Starts a transaction that sees one state of the database throughout.
pub(super) fn begin_reading(connection: &mut AnyConnection) -> QueryResult<()> {
    match connection {
        AnyConnection::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(
            c,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ),
        AnyConnection::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN"),
    }
}

/// Ends the transaction and keeps what it did.
pub(super) fn commit(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::commit_transaction(connection)
}

/// Ends the transaction as if it had not been. Says whether the connection can be used again.
pub(super) fn roll_back(connection: &mut AnyConnection) -> QueryResult<()> {
    <AnyConnection as Connection>::TransactionManager::rollback_transaction(connection)
}

/// What the pool of reading connections is made of.
#[derive(Debug)]
pub(super) struct Readers(pub(super) DatabaseUrl);

impl ManageConnection for Readers {
    type Connection = AnyConnection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, Self::Error> {
        self.0
            .connect()
            .map_err(diesel::r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), Self::Error> {
        connection
            .batch_execute("SELECT 1")
            .map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        use diesel::r2d2::R2D2Connection as _;
        std::thread::panicking() || connection.is_broken()
    }
}
