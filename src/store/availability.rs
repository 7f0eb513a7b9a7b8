//! What shows whether the store can be used now: the heartbeat, and what is known without asking.

use uuid::Uuid;

use super::Store;
use super::error::StoreError;
use super::tables::replicas::{Heartbeat, ReplicaIdentity};
use super::tx::Tx;
use crate::domain::Clock;

impl Store {
    /// Writes the row of this replica through the writer, as any other change is written. This
    /// shows that tokens can be recorded. Returns what the other replicas and the server say.
    pub async fn beat(&self, own: ReplicaIdentity, clock: Clock) -> Result<Heartbeat, StoreError> {
        self.write_alongside("heartbeat", move |tx: &mut Tx<'_>| tx.beat(&own, &clock))
            .await
    }

    /// Removes the row of this replica, which stops.
    pub async fn leave(&self, own: Uuid) -> Result<(), StoreError> {
        let id = own.to_string();
        self.write_alongside("leave", move |tx: &mut Tx<'_>| tx.remove_replica(&id))
            .await
    }

    /// Checks what needs no wait: that the writer thread is alive, and that the file of an SQLite
    /// database is the one that was opened.
    ///
    /// # Errors
    /// Says which is not so.
    pub fn is_usable(&self) -> Result<(), StoreError> {
        if self.is_writing() {
            self.check_file()
        } else {
            Err(StoreError::Unavailable(
                "the writer thread has ended".to_owned(),
            ))
        }
    }

    /// Whether the writer thread is running.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.writer.is_alive()
    }

    /// Connections of the read pool: those in use, and those that wait for use.
    #[must_use]
    pub fn readers(&self) -> (u32, u32) {
        self.readers.busy_and_idle()
    }
}
