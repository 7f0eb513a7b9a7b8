//! Copies the log into the database file, and has it begin anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{BigInt, Integer};
use diesel::{QueryResult, QueryableByName, RunQueryDsl as _, sql_query};

use crate::store::connection::{AnyConnection, on_either};
use crate::store::connector::{DatabaseConnector, IfMissing};
use crate::store::sqlite_file::SqliteFile;
use crate::store::sqlite_locks::WriteTurns;
use crate::telemetry::{Metrics, RunningTask};

/// Between two copies, so that a page that each transaction changes is copied once for many.
const PAUSE: Duration = Duration::from_millis(500);
/// For how long the writer is kept waiting for others to end, at most.
const PATIENCE_MS: u64 = 250;
/// After others did not end in time.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How many copies without locks precede one in a turn of the writer's.
const MAX_PASSES: u32 = 3;
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Numbers of pages.
#[derive(Debug, Clone, Copy)]
struct LogBounds {
    /// What may be copied in a turn of the writer's.
    in_a_turn: i64,
    /// From this length on, the log should begin anew.
    restart: i64,
    /// From this length on, the file of the log is also truncated.
    truncate: i64,
    /// From this length on, there is a warning.
    warn: i64,
}

/// A new beginning of the log keeps the writer waiting for some 50 ms, and so all requests of that
/// moment: with 64 MiB between two of them, that is fewer than one request in a hundred.
const BOUNDS: LogBounds = LogBounds {
    in_a_turn: 500,
    restart: 16_000,
    truncate: 64_000,
    warn: 256_000,
};

/// The answer of `PRAGMA wal_checkpoint`.
#[derive(Debug, Clone, Copy, QueryableByName)]
struct LogState {
    /// Whether others kept it from being complete.
    #[diesel(sql_type = Integer)]
    busy: i32,
    /// The pages in the log.
    #[diesel(sql_type = BigInt)]
    log: i64,
    /// Those of them that are in the file.
    #[diesel(sql_type = BigInt)]
    checkpointed: i64,
}

impl LogState {
    const fn left(&self) -> i64 {
        self.log - self.checkpointed
    }
}

pub(super) struct LogCopier {
    connector: DatabaseConnector,
    file: Arc<SqliteFile>,
    /// Not that of the writer, since one process does not exclude itself from a file.
    turns: WriteTurns,
    connection: Option<AnyConnection>,
    bounds: LogBounds,
    /// When the log is next tried to be begun anew, if readers prevented that.
    retry_at: Option<Instant>,
    warned_at: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl LogCopier {
    pub(super) fn new(
        connector: DatabaseConnector,
        file: Arc<SqliteFile>,
        turns: WriteTurns,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            connector,
            file,
            turns,
            connection: None,
            bounds: BOUNDS,
            retry_at: None,
            warned_at: None,
            metrics,
        }
    }

    /// Returns for how long to do nothing afterwards.
    pub(super) fn run(&mut self, task: &RunningTask) -> Duration {
        let done = task.attempt(|| self.copy());
        if let Some(Err(why)) = &done {
            task.failed(why);
        }
        if matches!(done, Some(Ok(()))) {
            return PAUSE;
        }
        self.connection = None;
        RETRY_INTERVAL
    }

    fn copy(&mut self) -> Result<(), String> {
        let mut state = None;
        for _ in 0..MAX_PASSES {
            // A damaged log must not be copied. The fault is logged where it is found.
            if self.file.check().is_err() {
                return Ok(());
            }
            let found = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)")?;
            state = Some(found);
            if self.fits_in_a_turn(found) {
                break;
            }
        }
        let Some(state) = state else { return Ok(()) };
        if !self.fits_in_a_turn(state) {
            self.warn_of_readers(state);
        } else if self.is_to_end(state) {
            self.end(state)?;
        }
        Ok(())
    }

    /// Whether what is left is little: also beside the log, since a fast writer always adds some.
    fn fits_in_a_turn(&self, state: LogState) -> bool {
        state.left() <= self.bounds.in_a_turn.max(state.log / 8)
    }

    /// Whether it is worth a turn of the writer's.
    fn is_to_end(&self, state: LogState) -> bool {
        let may_retry = self.retry_at.is_none_or(|at| at <= Instant::now());
        // With nothing left, the writer begins the log anew by itself.
        let is_long = state.log >= self.bounds.restart && state.left() > 0;
        may_retry && (is_long || state.log >= self.bounds.truncate)
    }

    /// Copies what is left while the writer waits. The log begins anew with what is written next;
    /// the writer does that, since it would lose its cache if another connection did.
    fn end(&mut self, before: LogState) -> Result<(), String> {
        // Otherwise a log that becomes smaller is taken for a damaged one.
        let truncates = before.log >= self.bounds.truncate && self.file.log_may_shrink();
        let turns = &self.turns;
        let turn = turns.wait();
        if self.file.check().is_err() {
            return Ok(());
        }
        let query = if truncates {
            "PRAGMA wal_checkpoint(TRUNCATE)"
        } else {
            "PRAGMA wal_checkpoint(FULL)"
        };
        let state = run(&mut self.connection, query);
        drop(turn);
        let state = state.map_err(|error| error.to_string())?;
        self.metrics.availability.sqlite_log_pages.set(state.log);
        self.retry_at = (state.busy != 0).then(|| Instant::now() + RETRY_INTERVAL);
        Ok(())
    }

    fn checkpoint(&mut self, query: &str) -> Result<LogState, String> {
        if self.connection.is_none() {
            let opened = self.connector.connect(IfMissing::Fail);
            let mut opened = opened.map_err(|error| error.to_string())?;
            let patience = format!("PRAGMA busy_timeout = {PATIENCE_MS}");
            let set = opened.batch_execute(&patience);
            set.map_err(|error| error.to_string())?;
            self.connection = Some(opened);
        }
        let state = run(&mut self.connection, query).map_err(|error| error.to_string())?;
        self.metrics.availability.sqlite_log_pages.set(state.log);
        Ok(state)
    }

    /// A reader still needs what the file has, so that it cannot be overwritten.
    fn warn_of_readers(&mut self, state: LogState) {
        let is_due = self
            .warned_at
            .is_none_or(|at| at.elapsed() >= WARN_INTERVAL);
        if state.log >= self.bounds.warn && is_due {
            self.warned_at = Some(Instant::now());
            log::warn!(
                "the log of the SQLite database has {} pages, and grows until a reader ends that began long ago, such as \
                 an open transaction of another tool",
                state.log
            );
        }
    }
}

fn run(connection: &mut Option<AnyConnection>, query: &str) -> QueryResult<LogState> {
    match connection {
        Some(connection) => on_either!(connection, c => sql_query(query).get_result(c)),
        None => Err(diesel::result::Error::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;
    use crate::store::connector::PostgresSettings;
    use crate::store::{DatabaseUrl, Store};

    struct World {
        writer: AnyConnection,
        copier: LogCopier,
        database: std::path::PathBuf,
        _dir: tempfile::TempDir,
    }

    fn world(bounds: LogBounds) -> World {
        let dir = tempfile::TempDir::new().expect("a folder");
        let database = dir.path().join("log.sqlite");
        let url = DatabaseUrl::Sqlite(database.clone());
        Store::migrate(&url).expect("migrations");
        let connector = DatabaseConnector::new(&url, &PostgresSettings::default());
        let file = SqliteFile::open(&url).expect("a file").expect("SQLite");
        let mut writer = connector.connect_writer().expect("a connection");
        let table = "CREATE TABLE pages (x BLOB NOT NULL)";
        writer.batch_execute(table).expect("a table");
        let turns = WriteTurns::open(&url).expect("turns").expect("SQLite");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let copier = LogCopier {
            bounds,
            ..LogCopier::new(connector, Arc::new(file), turns, metrics)
        };
        World {
            writer,
            copier,
            database,
            _dir: dir,
        }
    }

    const NEVER: LogBounds = LogBounds {
        in_a_turn: 0,
        restart: i64::MAX,
        truncate: i64::MAX,
        warn: i64::MAX,
    };

    impl World {
        /// Some 100 pages in a transaction.
        fn write(&mut self) {
            let insert = "INSERT INTO pages VALUES (randomblob(400000))";
            self.writer.batch_execute(insert).expect("written");
        }

        fn reader(&self) -> AnyConnection {
            let opened = self.copier.connector.connect(IfMissing::Fail);
            let mut reader = opened.expect("a connection");
            let snapshot = "BEGIN; SELECT count(*) FROM pages";
            reader.batch_execute(snapshot).expect("a snapshot");
            reader
        }

        fn state(&mut self) -> LogState {
            let found = self.copier.checkpoint("PRAGMA wal_checkpoint(NOOP)");
            found.expect("a state")
        }

        fn log_size(&self) -> u64 {
            fs::metadata(format!("{}-wal", self.database.display()))
                .expect("a log")
                .len()
        }
    }

    #[test]
    fn a_commit_copies_nothing_and_the_log_begins_anew_after_a_copy() {
        let mut world = world(NEVER);
        for _ in 0..30 {
            world.write();
        }
        let before = world.state();
        assert!(before.log > 2_000 && before.checkpointed == 0, "{before:?}");
        world.copier.copy().expect("copied");
        assert_eq!(world.state().left(), 0);
        world.write();
        assert!(world.state().log < 200, "{:?}", world.state());
        let pages = &world.copier.metrics.availability.sqlite_log_pages;
        assert!(pages.get() > 0);
    }

    #[test]
    fn a_reader_of_an_old_snapshot_keeps_no_one_waiting_and_the_log_shrinks_after_it() {
        let mut world = world(LogBounds {
            restart: 1,
            truncate: 1_000,
            ..NEVER
        });
        world.write();
        let reader = world.reader();
        for _ in 0..15 {
            world.write();
        }
        world.copier.copy().expect("copied in part");
        assert!(world.copier.retry_at.is_none(), "nothing waited for it");
        assert!(world.state().left() > 1_000);
        drop(reader);
        world.copier.copy().expect("copied");
        assert_eq!((world.state().log, world.log_size()), (0, 0));
        world.copier.file.check().expect("no accident");
        world.write();
        world.copier.file.check().expect("no accident");
    }

    #[test]
    fn the_writer_does_not_wait_again_at_once_for_a_reader_that_did_not_end() {
        let mut world = world(LogBounds {
            in_a_turn: i64::MAX,
            restart: 1,
            ..NEVER
        });
        world.write();
        let reader = world.reader();
        world.write();
        world.copier.copy().expect("copied in part");
        assert!(world.copier.retry_at.is_some_and(|at| at > Instant::now()));
        let state = world.state();
        assert!(!world.copier.is_to_end(state));
        drop(reader);
        world.copier.retry_at = None;
        world.copier.copy().expect("copied");
        assert_eq!(world.state().left(), 0);
    }

    #[test]
    fn a_damaged_log_is_not_copied() {
        let mut world = world(NEVER);
        world.write();
        world.copier.file.check().expect("sound");
        let before = fs::read(&world.database).expect("the file");
        let log = format!("{}-wal", world.database.display());
        let log = OpenOptions::new().write(true).open(log).expect("the log");
        log.set_len(5_000).expect("truncated");
        world.copier.copy().expect("nothing is done");
        assert!(world.copier.connection.is_none());
        assert_eq!(before, fs::read(&world.database).expect("the file"));
        std::mem::forget(world.writer);
    }
}
