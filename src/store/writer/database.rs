//! The transactions of the writer: how they begin and end, and how to recover from a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::result::Error as DieselError;

use super::super::connection::{AnyConnection, begin_writing, commit};
use super::super::connector::{ConnectFailure, DatabaseConnector};
use super::super::error::{Remedy, StoreError};
use super::super::locks::{self, AUTHORITY_LOCK, Hold};
use super::super::sqlite_checkpoints::WrittenJobs;
use super::super::sqlite_file::SqliteFile;
use super::super::sqlite_locks::WriteTurns;
use super::super::timelines::BegunOn;
use super::super::timeouts::TransactionKind;

/// SQLite waited for its `busy_timeout`. Another ten seconds would keep each request waiting too.
const LOCKED: &str = "another process has been writing to the SQLite file for ten seconds, which \
     keeps all others from writing; stop it, or retry when it has ended";

/// How long a request for the exclusive lock stays in the lock's queue. Meanwhile nothing is minted
/// that comes after it, on any replica; so it gives way soon, and is repeated.
const EXCLUSIVE_TURN: Duration = Duration::from_millis(250);

/// How long minting waits for the lock at least, even if it has been refused for long.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// Why a transaction was not committed, and how to recover.
pub(super) struct BatchFailure {
    pub(super) remedy: Remedy,
    pub(super) error: StoreError,
    /// Whether a job was begun: if not, no job can be what failed.
    pub(super) begun: bool,
}

impl BatchFailure {
    /// No job can succeed now, or it is unknown whether they have.
    pub(super) fn of_all(error: StoreError) -> Self {
        Self {
            remedy: Remedy::FailBatch,
            error,
            begun: true,
        }
    }

    /// The session of the server is of no use, such as one of a server that was demoted.
    fn of_session(error: &DieselError) -> Self {
        Self {
            remedy: Remedy::Reconnect,
            error: StoreError::Unavailable(error.to_string()),
            begun: false,
        }
    }
}

/// The database that the writer writes to.
#[derive(Debug, Clone)]
pub(in crate::store) struct WriterDatabase {
    pub(in crate::store) connector: DatabaseConnector,
    /// On SQLite.
    pub(in crate::store) file: Option<Arc<SqliteFile>>,
    /// On SQLite.
    pub(in crate::store) turns: Option<Arc<WriteTurns>>,
    /// On SQLite.
    pub(in crate::store) written: Option<Arc<WrittenJobs>>,
}

impl WriterDatabase {
    pub(super) fn connect(&self) -> Result<AnyConnection, ConnectFailure> {
        self.connector.connect_writer()
    }

    /// Begins a transaction, in turn with other processes. Returns whether it has the lock that
    /// orders minting and changes among all replicas, which it holds until its end.
    pub(super) fn begin(
        &self,
        connection: &mut AnyConnection,
        kind: TransactionKind,
        hold: Hold,
    ) -> Result<(BegunOn, bool), BatchFailure> {
        let turn = self.turns.as_ref().map(|turns| turns.wait());
        let (timeouts, timelines) = (&self.connector.timeouts, &self.connector.timelines);
        let begun = match connection {
            AnyConnection::Sqlite(_) => {
                begin_writing(connection, timeouts, kind).map(|()| (BegunOn::default(), true))
            }
            AnyConnection::Postgres(c) => {
                let lock = hold.attempt(AUTHORITY_LOCK);
                timelines.begin_writing(c, &timeouts.writing_settings(kind), &lock)
            }
        };
        drop(turn);
        let begun = begun.map_err(|error| match connection {
            AnyConnection::Sqlite(_) if Remedy::for_error(&error) == Remedy::Repeat => {
                BatchFailure::of_all(StoreError::Unavailable(LOCKED.to_owned()))
            }
            AnyConnection::Sqlite(_) => BatchFailure {
                remedy: Remedy::for_error(&error),
                error: StoreError::Unavailable(error.to_string()),
                begun: true,
            },
            AnyConnection::Postgres(_) => BatchFailure::of_session(&error),
        })?;
        self.check_file()?;
        Ok(begun)
    }

    /// Waits for the lock, which another process has. Returns whether it was obtained in time.
    /// `refused_since` is when another process was first found to have it.
    pub(super) fn wait_for_lock(
        &self,
        connection: &mut AnyConnection,
        hold: Hold,
        refused_since: Option<Instant>,
    ) -> Result<bool, BatchFailure> {
        let timeouts = &self.connector.timeouts;
        // The statement that waits must not be what ends first.
        let longest = timeouts.lock.min(timeouts.statement * 3 / 4);
        let patience = match hold {
            // Later jobs do not wait anew.
            Hold::Shared => {
                let waited = refused_since.map_or(Duration::ZERO, |since| since.elapsed());
                longest
                    .saturating_sub(waited)
                    .max(SHORTEST_WAIT.min(longest))
            }
            Hold::Exclusive => EXCLUSIVE_TURN.min(longest),
        };
        match connection {
            AnyConnection::Sqlite(_) => Ok(true),
            AnyConnection::Postgres(c) => locks::wait(c, AUTHORITY_LOCK, hold, patience)
                .map_err(|error| BatchFailure::of_session(&error)),
        }
    }

    pub(super) fn commit(
        &self,
        connection: &mut AnyConnection,
        begun: BegunOn,
    ) -> Result<(), BatchFailure> {
        self.check_file()?;
        if !self.connector.timelines.is_newest(begun) {
            return Err(BatchFailure {
                remedy: Remedy::Reconnect,
                error: StoreError::Unavailable("the primary was replaced by another".to_owned()),
                begun: true,
            });
        }
        commit(connection).map_err(|error| BatchFailure {
            remedy: match Remedy::for_error(&error) {
                Remedy::Repeat => Remedy::Repeat,
                // Only a conflict proves that nothing was committed. After any other error the
                // transaction may have been committed, so it must not run again.
                Remedy::RepeatOnce | Remedy::Reconnect | Remedy::GiveUp | Remedy::FailBatch => {
                    Remedy::FailBatch
                }
            },
            error: StoreError::Unavailable(error.to_string()),
            begun: true,
        })?;
        // If the file was removed during COMMIT, it is unknown which came first.
        self.check_file()
    }

    /// Notes that jobs were committed, for what is done later with the log of SQLite.
    pub(super) fn committed(&self, jobs: usize, kind: TransactionKind) {
        if let Some(written) = &self.written {
            written.add(jobs, kind);
        }
    }

    /// Fails if what is committed now would be lost.
    pub(super) fn check_file(&self) -> Result<(), BatchFailure> {
        let checked = self.file.as_ref().map_or(Ok(()), |file| file.check());
        checked.map_err(BatchFailure::of_all)
    }
}
