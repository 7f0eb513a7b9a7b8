//! What can go wrong in the store, and what that means to those who asked.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

use crate::domain::issuance::Replay;

/// Why the store cannot be opened. Says what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the database URL is neither `sqlite:PATH` nor `postgres://..`")]
    Url,
    #[error("the database cannot be reached: {0}")]
    Connect(String),
    #[error("the database cannot be written to: {0}")]
    ReadOnly(String),
    #[error("a migration failed: {0}")]
    Migrate(String),
    #[error("the database's schema lacks {missing} migration(s); run `tn-authority migrate`")]
    OldSchema { missing: usize },
    #[error(
        "the database's schema has migration `{0}`, which this version does not know; run a newer version"
    )]
    NewSchema(String),
    #[error("the thread that writes cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why an answer from the store is not to be had. Only the first and the last are the asker's affair.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// What proved the caller has ended before the transaction began. That, and why, is in the audit trail.
    #[error("the caller's credentials ended while the request waited")]
    ProofEnded,
    /// As many requests wait as may; come again.
    #[error("too many requests wait for the database")]
    Busy,
    /// The database is out of reach, or the transaction could not be finished.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A row that this service did not write, or that somebody has changed.
    #[error("the database holds a row that cannot be understood: {0}")]
    Corrupt(String),
    /// The idempotency key of the request was used before.
    #[error(transparent)]
    Replay(#[from] Replay),
}

impl StoreError {
    /// Wraps what a row's text did not parse to.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that `map_err` takes it as it is"
    )]
    pub(super) fn corrupt(error: impl ToString) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// What a failed statement asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Other transactions were in the way: the same again will do.
    Repeat,
    /// The connection is gone: a new one, and the same again.
    Reconnect,
    /// The same again will not help; without the job that failed, others of its batch may succeed.
    GiveUp,
    /// No job of the batch may be run again, or none could succeed: all of them fail.
    FailBatch,
}

impl Remedy {
    /// What helps after a failed statement; never [`Remedy::FailBatch`], which only the writer knows.
    ///
    /// Diesel gives no SQLSTATE, and has no kind for PostgreSQL's 40P01 (deadlock) and 57P01 (shutdown), nor for SQLite's
    /// `SQLITE_BUSY` (<https://github.com/diesel-rs/diesel/issues/1612>). They are recognised by their messages, so the
    /// server has to write them in English: `tn-authority check` looks at its `lc_messages`.
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
