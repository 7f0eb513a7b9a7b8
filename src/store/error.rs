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
    Refused(&'static str),
    #[error("the database cannot be written to: {0}")]
    ReadOnly(String),
    #[error("a migration failed: {0}")]
    Migrate(String),
    #[error("the role of the service lacks privileges: {0}")]
    Privileges(String),
    #[error("the database cannot be read: {0}")]
    Read(StoreError),
    #[error("the version of the schema cannot be read: {0}")]
    SchemaUnknown(String),
    #[error("the database schema lacks {missing} migration(s); run `tn-authority migrate`")]
    OldSchema { missing: usize },
    #[error(
        "the database schema has migration `{0}`, which this version does not know; run a newer version"
    )]
    NewSchema(String),
    #[error(
        "the locks of the database do not work as those of PostgreSQL do, so a number that is \
         ported out could still get a token: {0}; use PostgreSQL 15 or later, or SQLite"
    )]
    Locks(String),
    #[error("the writer thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl OpenError {
    /// Why a statement failed: if the connection is lost, or the server writes nothing, that is
    /// why, and otherwise what `other` makes of it.
    pub(super) fn of_query(error: &DieselError, other: impl FnOnce(String) -> Self) -> Self {
        let text = error.to_string();
        match (Remedy::for_error(error), error) {
            (_, DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)) => {
                Self::ReadOnly(text)
            }
            (Remedy::Reconnect, _) => Self::Connect(text),
            (Remedy::Repeat | Remedy::RepeatOnce | Remedy::GiveUp | Remedy::FailBatch, _) => {
                other(text)
            }
        }
    }
}

/// Why a store call failed. [`ProofEnded`](Self::ProofEnded) and [`Replay`](Self::Replay) are the
/// caller's doing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The caller's credential ended before the transaction began. The audit trail says why.
    #[error("the caller's credential ended while the request waited")]
    ProofEnded,
    /// The queue of the writer is full, the lock was not obtained in time, or the database did not
    /// come back in time: nothing was done; retry later.
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
    /// The request has waited for too long. What it asked for may have been done.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::Unavailable("it did not answer in time".to_owned())
    }

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
    /// The reason is not known, and the connection works: run all of it again, once. It could have
    /// been a deadlock.
    RepeatOnce,
    /// The connection is lost, or its server does not write: open a new one, and run it again.
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
    /// Diesel hides the SQLSTATE, but names the kinds that matter by it, and knows whether the
    /// connection still works: a server that shuts down ends it. The texts are no help, since they
    /// are in the language of the server. What is left, such as a deadlock (40P01), is repeated
    /// once. SQLite has one language, and no kind for `SQLITE_BUSY`
    /// (<https://github.com/diesel-rs/diesel/issues/1612>).
    pub(super) fn for_error(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::SerializationFailure => Self::Repeat,
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                // The server was demoted.
                | DatabaseErrorKind::ReadOnlyTransaction => Self::Reconnect,
                DatabaseErrorKind::Unknown if info.message() == SQLITE_BUSY => Self::Repeat,
                DatabaseErrorKind::Unknown => Self::RepeatOnce,
                // Violated constraints.
                _ => Self::GiveUp,
            },
            // The connection may be inside a transaction that diesel does not know of.
            DieselError::BrokenTransactionManager
            | DieselError::AlreadyInTransaction
            | DieselError::NotInTransaction
            | DieselError::RollbackErrorOnCommit { .. } => Self::Reconnect,
            _ => Self::GiveUp,
        }
    }
}

/// What SQLite says when another connection writes.
const SQLITE_BUSY: &str = "database is locked";

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: DatabaseErrorKind, text: &str) -> Remedy {
        let text: Box<String> = Box::new(text.to_owned());
        Remedy::for_error(&DieselError::DatabaseError(kind, text))
    }

    #[test]
    fn the_language_of_the_server_decides_nothing() {
        for text in ["deadlock detected", "Verklemmung (Deadlock) entdeckt"] {
            let unknown = failed(DatabaseErrorKind::Unknown, text);
            assert_eq!(unknown, Remedy::RepeatOnce, "{text}");
        }
        for text in [
            "terminating connection due to administrator command",
            "Verbindung wird abgebrochen aufgrund von Anweisung des Administrators",
        ] {
            let lost = failed(DatabaseErrorKind::ClosedConnection, text);
            assert_eq!(lost, Remedy::Reconnect, "{text}");
            // The connection works, so it is the text of something else.
            assert_ne!(failed(DatabaseErrorKind::Unknown, text), Remedy::Reconnect);
        }
    }

    #[test]
    fn a_server_that_was_demoted_is_left() {
        let refused = failed(DatabaseErrorKind::ReadOnlyTransaction, "");
        assert_eq!(refused, Remedy::Reconnect);
        let unsent = failed(DatabaseErrorKind::UnableToSendCommand, "");
        assert_eq!(unsent, Remedy::Reconnect);
    }

    #[test]
    fn a_lost_connection_is_no_failure_of_what_it_was_used_for() {
        let of = |kind| {
            let text: Box<String> = Box::new("why".to_owned());
            OpenError::of_query(&DieselError::DatabaseError(kind, text), OpenError::Locks)
        };
        let lost = of(DatabaseErrorKind::ClosedConnection);
        assert!(matches!(lost, OpenError::Connect(_)), "{lost}");
        let demoted = of(DatabaseErrorKind::ReadOnlyTransaction);
        assert!(matches!(demoted, OpenError::ReadOnly(_)), "{demoted}");
        let other = of(DatabaseErrorKind::Unknown);
        assert!(matches!(other, OpenError::Locks(_)), "{other}");
        let broken = DieselError::BrokenTransactionManager;
        let broken = OpenError::of_query(&broken, OpenError::Migrate);
        assert!(matches!(broken, OpenError::Connect(_)), "{broken}");
    }

    #[test]
    fn sqlite_that_is_locked_is_tried_again() {
        let locked = failed(DatabaseErrorKind::Unknown, SQLITE_BUSY);
        assert_eq!(locked, Remedy::Repeat);
        let broken = failed(DatabaseErrorKind::UniqueViolation, "");
        assert_eq!(broken, Remedy::GiveUp);
    }
}
