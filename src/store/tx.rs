//! A transaction, as an opaque handle with one method for each query or change. It is all that
//! `authority` and the rest of the store see of the database.

use diesel::connection::Connection as _;
use diesel::result::{Error as DieselError, QueryResult};

use super::connection::AnyConnection;
use super::error::{Remedy, StoreError};

/// An open transaction. Its methods are in the files of the tables.
pub struct Tx<'a> {
    pub(super) connection: &'a mut AnyConnection,
    /// How to recover from the first statement that failed; if set, the transaction must not be
    /// committed.
    pub(super) remedy: Option<Remedy>,
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("remedy", &self.remedy)
            .finish_non_exhaustive()
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(connection: &'a mut AnyConnection) -> Self {
        Self {
            connection,
            remedy: None,
        }
    }

    /// Runs one statement, and records how to recover if it fails.
    pub(super) fn run<T>(
        &mut self,
        statement: impl FnOnce(&mut AnyConnection) -> QueryResult<T>,
    ) -> Result<T, StoreError> {
        statement(self.connection).map_err(|error| {
            // Later statements fail only because of the first, so its remedy is kept.
            self.remedy.get_or_insert(Remedy::for_error(&error));
            StoreError::Unavailable(error.to_string())
        })
    }

    /// Runs `work` in a savepoint: if it fails, only its own statements are rolled back.
    ///
    /// # Errors
    /// The error of `work`, or [`StoreError`] if the savepoint failed.
    pub fn savepoint<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (mut outcome, mut remedy) = (None, None);
        let ended = self
            .connection
            .transaction::<(), DieselError, _>(|connection| {
                let mut tx = Tx::new(connection);
                let done = work(&mut tx);
                remedy = tx.remedy;
                let failed = done.is_err();
                outcome = Some(done);
                // diesel commits the savepoint unless it gets an error of its own type.
                if failed {
                    Err(DieselError::RollbackTransaction)
                } else {
                    Ok(())
                }
            });
        self.remedy = self.remedy.or(remedy);
        match (outcome, ended) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => {
                self.remedy.get_or_insert(Remedy::for_error(&error));
                Err(StoreError::Unavailable(error.to_string()).into())
            }
            (None, Ok(())) => Err(StoreError::Unavailable("nothing was run".to_owned()).into()),
        }
    }
}
