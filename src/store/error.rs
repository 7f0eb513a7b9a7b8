//! Errors of the store, and how to recover from a failed statement.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

use crate::domain::issuance::Replay;

/// Why the store cannot be opened, and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the database URL {0}")]
    Url(&'static str),
    #[error("the database URL {0}")]
    PostgresUrl(String),
    #[error(
        "there is no database at `{}` (`database.url`): name the configuration with `--config`, or \
         run in the folder of the database; `tn-authority migrate` creates a new one",
        .0.display()
    )]
    NoDatabase(PathBuf),
    #[error(
        "another `tn-authority serve` uses the database: it holds `{}`; SQLite is for one serving \
         process, so stop the other one, or use PostgreSQL for several replicas",
        .0.display()
    )]
    Served(PathBuf),
    #[error("`{}` cannot be locked: {error}", path.display())]
    Lock {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the database cannot be reached: {0}")]
    Connect(String),
    #[error("the database refuses the service: {0}; correct `database.url`")]
    Refused(String),
    #[error("the database cannot be written to: {0}")]
    ReadOnly(String),
    #[error("a migration failed: {0}")]
    Migrate(String),
    #[error("the database schema lacks {missing} migration(s); run `tn-authority migrate`")]
    OldSchema { missing: usize },
    #[error(
        "the database schema has migration `{0}`, which this version does not know; run a newer version"
    )]
    NewSchema(String),
    #[error("the writer thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a store call failed. [`ProofEnded`](Self::ProofEnded) and [`Replay`](Self::Replay) are the
/// caller's doing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The caller's credential ended before the transaction began. The audit trail says why.
    #[error("the caller's credential ended while the request waited")]
    ProofEnded,
    /// The queue of the writer is full; retry later.
    #[error("too many requests are waiting for the database; retry later")]
    Busy,
    /// The database cannot be reached, or the transaction failed.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A row that this service did not write, or that was altered.
    #[error("the database contains an invalid row: {0}")]
    Corrupt(String),
    /// The idempotency key of the request was used before.
    #[error(transparent)]
    Replay(#[from] Replay),
}

impl StoreError {
    /// Wraps the error of parsing a column.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that it can be passed to `map_err`"
    )]
    pub(super) fn corrupt(error: impl ToString) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// How to recover from a failed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It conflicted with another transaction: run it again.
    Repeat,
    /// The connection is lost: open a new one, and run it again.
    Reconnect,
    /// Running it again will not help; without the job that failed, others of its batch may
    /// succeed.
    GiveUp,
    /// No job of the batch may run again, or none could succeed: fail all of them.
    FailBatch,
}

impl Remedy {
    /// How to recover from this error; never [`Remedy::FailBatch`], which only the writer decides.
    ///
    /// Diesel exposes no SQLSTATE, and has no kind for PostgreSQL's 40P01 (deadlock) and 57P01
    /// (shutdown), nor for SQLite's `SQLITE_BUSY`
    /// (<https://github.com/diesel-rs/diesel/issues/1612>). They are recognised by their messages,
    /// so the server has to write these in English: `tn-authority check` checks its `lc_messages`.
    pub(super) fn for_error(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Self::Repeat,
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
            | DieselError::BrokenTransactionManager => Self::Reconnect,
            DieselError::DatabaseError(_, info) => match info.message() {
                // PostgreSQL 40P01 and SQLite's SQLITE_BUSY.
                m if m.contains("deadlock detected") || m.contains("database is locked") => {
                    Self::Repeat
                }
                // PostgreSQL 57P01 and 57P03: the server is being restarted.
                m if m.contains("terminating connection") || m.contains("shutting down") => {
                    Self::Reconnect
                }
                _ => Self::GiveUp,
            },
            _ => Self::GiveUp,
        }
    }
}
