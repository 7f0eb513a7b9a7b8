//! The transactions of the writer: how they begin and end, and how to recover from a failure.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::result::{Error as DieselError, QueryResult};

use super::super::connection::{AnyConnection, IfMissing, begin_writing, commit};
use super::super::database_url::DatabaseUrl;
use super::super::error::{Remedy, StoreError};
use super::super::locks::AUTHORITY_LOCK;
use super::super::sqlite_file::SqliteFile;
use super::super::sqlite_locks::WriteTurns;

/// SQLite waited for its `busy_timeout`. Another ten seconds would keep each request waiting too.
const LOCKED: &str = "another process has been writing to the SQLite file for ten seconds, which \
     keeps all others from writing; stop it, or retry when it has ended";

/// Why a transaction was not committed, and how to recover.
pub(super) struct BatchFailure {
    pub(super) remedy: Remedy,
    pub(super) error: StoreError,
}

impl BatchFailure {
    /// No job can succeed now, or it is unknown whether they have.
    fn of_all(error: StoreError) -> Self {
        Self {
            remedy: Remedy::FailBatch,
            error,
        }
    }
}

impl From<DieselError> for BatchFailure {
    fn from(error: DieselError) -> Self {
        Self {
            remedy: Remedy::for_error(&error),
            error: StoreError::Unavailable(error.to_string()),
        }
    }
}

/// The database that the writer writes to.
#[derive(Debug)]
pub(in crate::store) struct WriterDatabase {
    pub(in crate::store) url: DatabaseUrl,
    /// On SQLite.
    pub(in crate::store) file: Option<Arc<SqliteFile>>,
    /// On SQLite.
    pub(in crate::store) turns: Option<WriteTurns>,
}

impl WriterDatabase {
    pub(super) fn connect(&self) -> Result<AnyConnection, BatchFailure> {
        self.check_file()?;
        // The database is unreachable, so fail the whole batch: retrying job by job would only
        // delay every answer.
        let connection = self.url.connect(IfMissing::Fail);
        connection.map_err(|error| BatchFailure::of_all(StoreError::Unavailable(error.to_string())))
    }

    /// Begins a transaction, in turn with other processes, and takes the lock that orders minting
    /// and changes.
    pub(super) fn begin(
        &self,
        connection: &mut AnyConnection,
        exclusive: bool,
    ) -> Result<(), BatchFailure> {
        let turn = self.turns.as_ref().map(WriteTurns::wait);
        let begun = begin_writing(connection);
        drop(turn);
        begun.map_err(|error| match connection {
            AnyConnection::Sqlite(_) if Remedy::for_error(&error) == Remedy::Repeat => {
                BatchFailure::of_all(StoreError::Unavailable(LOCKED.to_owned()))
            }
            AnyConnection::Sqlite(_) | AnyConnection::Postgres(_) => error.into(),
        })?;
        self.check_file()?;
        Ok(acquire_lock(connection, exclusive)?)
    }

    pub(super) fn commit(&self, connection: &mut AnyConnection) -> Result<(), BatchFailure> {
        self.check_file()?;
        commit(connection).map_err(|error| BatchFailure {
            remedy: match Remedy::for_error(&error) {
                Remedy::Repeat => Remedy::Repeat,
                // Only a conflict proves that nothing was committed. After any other error the
                // transaction may have been committed, so it must not run again.
                Remedy::Reconnect | Remedy::GiveUp | Remedy::FailBatch => Remedy::FailBatch,
            },
            error: StoreError::Unavailable(error.to_string()),
        })?;
        // If the file was removed during COMMIT, it is unknown which came first.
        self.check_file()
    }

    /// Fails if what is committed now would be lost.
    fn check_file(&self) -> Result<(), BatchFailure> {
        let checked = self.file.as_ref().map_or(Ok(()), |file| file.check());
        checked.map_err(BatchFailure::of_all)
    }
}

/// Takes the lock that orders minting and changes among all replicas. It is released at the end of
/// the transaction.
fn acquire_lock(connection: &mut AnyConnection, exclusive: bool) -> QueryResult<()> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(c) => {
            let lock = if exclusive {
                "pg_advisory_xact_lock"
            } else {
                "pg_advisory_xact_lock_shared"
            };
            c.batch_execute(&format!("SELECT {lock}({AUTHORITY_LOCK})"))
        }
    }
}
