//! Opens connections: with what bounds, and what is asked of the server first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, Connection as _, SimpleConnection as _};
use diesel::pg::PgConnection;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;
use thiserror::Error;

use super::connection::AnyConnection;
use super::database_url::{DatabaseUrl, existing_file_uri};
use super::error::{OpenError, Remedy};
use super::inspection;
use super::postgres_url;
use super::sqlite_file::refuse_hard_links;
use super::timelines::Timelines;
use super::timeouts::{DatabaseTimeouts, SOCKET_SETTINGS};

/// As long as `busy_timeout`.
const MAX_SETUP_TIME: Duration = Duration::from_secs(10);
const SETUP_RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// What the writer of an SQLite database has in addition.
///
/// A batch of mints changes pages all over the indexes of the ledger. Without room for them, SQLite
/// would write them to the log before COMMIT, read them again, and write them once more. Readers
/// need no such room: each transaction of the writer makes theirs void.
///
/// The log is copied by `sqlite_checkpoints`; only if that fails, by a COMMIT.
const SQLITE_WRITER_SETTINGS: &str =
    "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 32000;";

/// What [`Settings`](super::Settings) has for PostgreSQL alone, except for the timeout of a
/// request.
#[derive(Debug, Clone, Default)]
pub struct PostgresSettings {
    pub timeouts: DatabaseTimeouts,
    pub prepared_statements: PreparedMode,
    /// Where migrations are applied, if not at the URL of the store, such as the server behind a
    /// pooler.
    pub migrate_url: Option<DatabaseUrl>,
}

/// Whether statements are prepared once for a connection, and then repeated by their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreparedMode {
    /// Unless a pooler in transaction mode is found.
    #[default]
    Auto,
    Off,
}

/// Whether opening a connection may create the file of an SQLite database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMissing {
    Create,
    Fail,
}

/// Why a connection cannot be opened. It has no secret, so it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct ConnectFailure(String);

impl ConnectFailure {
    pub(super) fn because(why: &(impl ToString + ?Sized)) -> Self {
        Self(why.to_string())
    }
}

impl From<ConnectFailure> for OpenError {
    fn from(failure: ConnectFailure) -> Self {
        Self::Connect(failure.0)
    }
}

/// Opens the connections of a store.
#[derive(Debug, Clone)]
pub(super) struct DatabaseConnector {
    url: DatabaseUrl,
    pub(super) timeouts: DatabaseTimeouts,
    /// Whether a session is our own, so that prepared statements and settings of the socket last.
    owns_sessions: Arc<AtomicBool>,
    prepared_statements: PreparedMode,
    /// Of all connections of this process.
    pub(super) timelines: Arc<Timelines>,
    /// The host of the last connection, by its place in the URL.
    last_host: Arc<AtomicUsize>,
}

impl DatabaseConnector {
    /// Until [`Self::inspect`] has found that its sessions are its own, nothing relies on that.
    pub(super) fn new(url: &DatabaseUrl, settings: &PostgresSettings) -> Self {
        Self {
            url: url.with_timeouts(&settings.timeouts),
            timeouts: settings.timeouts,
            owns_sessions: Arc::default(),
            prepared_statements: settings.prepared_statements,
            timelines: Arc::default(),
            last_host: Arc::default(),
        }
    }

    /// Statements that are used once are not worth to be prepared.
    pub(super) fn for_command(url: &DatabaseUrl) -> Self {
        let settings = PostgresSettings {
            prepared_statements: PreparedMode::Off,
            ..PostgresSettings::default()
        };
        Self::new(url, &settings)
    }

    /// Opens the connection of the writer.
    pub(super) fn connect_writer(&self) -> Result<AnyConnection, ConnectFailure> {
        let mut connection = self.connect(IfMissing::Fail)?;
        match &mut connection {
            AnyConnection::Sqlite(c) => c
                .batch_execute(SQLITE_WRITER_SETTINGS)
                .map_err(|error| ConnectFailure(error.to_string()))?,
            AnyConnection::Postgres(_) => {}
        }
        Ok(connection)
    }

    pub(super) fn connect(&self, if_missing: IfMissing) -> Result<AnyConnection, ConnectFailure> {
        let opened = self.open(if_missing);
        // libpq repeats parts of the URL.
        opened.map_err(|error| ConnectFailure(self.url.without_secrets(&error)))
    }

    fn open(&self, if_missing: IfMissing) -> Result<AnyConnection, diesel::ConnectionError> {
        refuse_hard_links(&self.url)?;
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let name = match if_missing {
                    IfMissing::Create => path.to_string_lossy().into_owned(),
                    IfMissing::Fail => existing_file_uri(path),
                };
                let mut connection = SqliteConnection::establish(&name)?;
                set_up(&mut connection)
                    .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
                Ok(AnyConnection::Sqlite(connection))
            }
            DatabaseUrl::Postgres(url) => {
                let mut connection = self.open_primary(url)?;
                self.settle(&mut connection);
                Ok(AnyConnection::Postgres(connection))
            }
        }
    }

    /// Connects to one of the hosts: first to the one that was the primary the last time, since
    /// each that is silent costs the timeout of a login.
    fn open_primary(&self, url: &str) -> Result<PgConnection, diesel::ConnectionError> {
        let in_environment = |name: &str| std::env::var_os(name).is_some();
        let hosts = postgres_url::each_host(url, in_environment);
        let first = self.last_host.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for at in (0..hosts.len()).map(|n| (first + n) % hosts.len()) {
            match self.open_host(&hosts[at]) {
                Ok(connection) => {
                    self.last_host.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) if hosts.len() == 1 => return Err(error),
                Err(error) => failures.push(error.to_string().trim().to_owned()),
            }
        }
        failures.dedup();
        let all = failures.join("; ");
        Err(diesel::ConnectionError::BadConnection(all))
    }

    fn open_host(&self, url: &str) -> Result<PgConnection, diesel::ConnectionError> {
        let mut connection = PgConnection::establish(url)?;
        let admitted = self.timelines.admit(&mut connection);
        admitted.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    /// Asks the server what it does with sessions and locks, on this connection and another one.
    ///
    /// # Errors
    /// If its locks do not exclude each other, or it cannot be asked.
    pub(super) fn inspect(&self, connection: &mut AnyConnection) -> Result<(), OpenError> {
        let AnyConnection::Postgres(first) = connection else {
            return Ok(());
        };
        let mut second = match self.connect(IfMissing::Fail)? {
            AnyConnection::Postgres(second) => second,
            AnyConnection::Sqlite(_) => return Ok(()),
        };
        let failed = |error: diesel::result::Error| {
            OpenError::of_query(&error, |why| OpenError::Locks(format!("it says: {why}")))
        };
        let shared = inspection::share_sessions(first, &mut second).map_err(failed)?;
        inspection::check_locks(first, &mut second, &self.timeouts)?;
        if shared {
            log::info!(
                "connections to the database go through a pooler in transaction mode: statements are not prepared"
            );
        }
        self.owns_sessions.store(!shared, Ordering::Relaxed);
        self.settle(first);
        Ok(())
    }

    /// Applies what depends on whose session it is.
    fn settle(&self, connection: &mut PgConnection) {
        let owned = self.owns_sessions.load(Ordering::Relaxed);
        let prepares = owned && self.prepared_statements == PreparedMode::Auto;
        connection.set_prepared_statement_cache_size(if prepares {
            CacheSize::Unbounded
        } else {
            CacheSize::Disabled
        });
        if owned && let Err(error) = connection.batch_execute(SOCKET_SETTINGS) {
            // They only shorten the time until the server notices that a client has gone.
            log::debug!("the server cannot watch its clients: {error}");
        }
    }
}

/// Applies the settings of a new connection to SQLite. Connections that open a fresh file at the
/// same time conflict when they switch it to WAL, and `busy_timeout` does not cover that: SQLite
/// reports the file as locked immediately.
///
/// `busy_timeout` comes first, since the other settings can already have to wait. With `FULL`, the
/// grant of a released token survives a power cut; `NORMAL` could lose it.
fn set_up(connection: &mut SqliteConnection) -> QueryResult<()> {
    const SETTINGS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
         PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;";
    let started = Instant::now();
    loop {
        match connection.batch_execute(SETTINGS) {
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

#[cfg(test)]
mod tests {
    use diesel::sql_types::{BigInt, Nullable};
    use diesel::{QueryableByName, RunQueryDsl as _, sql_query};

    use super::*;
    use crate::domain::Tn;
    use crate::domain::clock::from_unix;
    use crate::store::Store;
    use crate::store::schema::departures;
    use crate::store::tables::overlap::{OverlapQuery, Versions};
    use crate::store::tables::range_probes::RangeProbes;

    #[derive(Debug, PartialEq, QueryableByName)]
    struct StatementUse {
        #[diesel(sql_type = Nullable<BigInt>)]
        runs: Option<i64>,
        /// How often SQLite has prepared it anew, by itself.
        #[diesel(sql_type = Nullable<BigInt>)]
        prepared_anew: Option<i64>,
    }

    /// With statistics, SQLite could make another plan for each value. Only the SQLite of the build
    /// is sure to count, and not to.
    #[cfg(feature = "bundled")]
    #[test]
    fn sqlite_prepares_a_query_once_whatever_its_values_and_statistics() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let url = DatabaseUrl::Sqlite(dir.path().join("prepared.sqlite"));
        Store::migrate(&url).expect("migrations");
        let connector = DatabaseConnector::new(&url, &PostgresSettings::default());
        let Ok(AnyConnection::Sqlite(mut connection)) = connector.connect_writer() else {
            panic!("SQLite")
        };
        connection
            .batch_execute(
                "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999) \
                 INSERT INTO departures (id, kind, cause_id, first_position, last_position, span, \
                   valid_from, sequence, recorded_at) \
                 SELECT 'd' || n, 'ported-out', '', n, n, 1, 0, n, 0 FROM n; ANALYZE",
            )
            .expect("departures");
        for n in 0..20 {
            let number: Tn = format!("+1212555100{}", n % 10).parse().expect("a number");
            let versions = Versions::HoldingIn {
                from: from_unix(n),
                until: None,
            };
            let probes = RangeProbes::of(&[number.into()]);
            let limit = usize::try_from(100 + n).expect("a limit");
            OverlapQuery::<departures::table>::new("departures", probes, versions, limit)
                .execute(&mut connection)
                .expect("a query");
        }
        let used: StatementUse = sql_query(
            "SELECT sum(run) AS runs, sum(reprep) AS prepared_anew FROM sqlite_stmt \
             WHERE sql LIKE 'WITH RECURSIVE spans%'",
        )
        .get_result(&mut connection)
        .expect("the statements");
        let expected = StatementUse {
            runs: Some(20),
            prepared_anew: Some(0),
        };
        assert_eq!(used, expected);
    }
}
