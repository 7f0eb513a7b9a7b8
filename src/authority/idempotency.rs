//! Requests with an idempotency key: each is done once, and a retry gets the same answer.
//!
//! This module does not know the format of an answer: the caller passes a closure that renders and
//! encrypts it. The answer of a change is kept in the transaction of that change. The answer of a
//! token request needs a signature, so it is kept in a second transaction, before it is sent.

use super::{Authority, ChangeError};
use crate::domain::issuance::{KeyedRequest, Replay};
use crate::store::{StoreError, Tx};

/// How many keys one transaction deletes: few enough not to delay other writes.
const MAX_DELETED_AT_ONCE: u32 = 500;

/// The caller of a change, with its idempotency key if it sent one.
pub type ChangeRequester<'a, T, E = ChangeError> = crate::store::Requester<'a, T, E>;

impl Authority {
    /// The reason not to do a request, such as a kept answer, if there is one. Blocks.
    pub fn replay(&self, keyed: &KeyedRequest) -> Result<Option<Replay>, StoreError> {
        self.store.read(|tx| tx.replay(keyed))
    }

    /// Whether a key of this name is in use, answered or not. Blocks.
    pub fn knows_key(&self, keyed: &KeyedRequest) -> Result<bool, StoreError> {
        self.store.read(|tx| tx.knows_key(keyed))
    }

    /// Claims the key of a request that takes more than one transaction.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the request must not be done.
    pub async fn take_key(&self, keyed: KeyedRequest) -> Result<(), StoreError> {
        let take = move |tx: &mut Tx<'_>| tx.take_key(&keyed);
        self.store.write_alongside("take-key", take).await
    }

    /// Keeps the answer of a request that has claimed its key. If this fails, the answer must not
    /// be sent.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if another request has taken over the key in the meantime.
    pub async fn keep_answer(
        &self,
        keyed: KeyedRequest,
        answer: Vec<u8>,
    ) -> Result<(), StoreError> {
        let keep = move |tx: &mut Tx<'_>| {
            if tx.keep_answer(&keyed, &answer)? {
                Ok(())
            } else {
                Err(Replay::InFlight.into())
            }
        };
        self.store.write_alongside("keep-answer", keep).await
    }

    /// Releases a key without an answer, so that the next request with it need not wait for the
    /// lease to end. With `forget`, the key can then be used for a different request too, unless a
    /// grant was recorded for it.
    ///
    /// # Errors
    /// If the store fails; the next request then waits until the lease ends.
    pub async fn let_go_of_key(&self, keyed: KeyedRequest, forget: bool) -> Result<(), StoreError> {
        let let_go = move |tx: &mut Tx<'_>| tx.let_go_of_key(&keyed, forget);
        self.store.write_alongside("let-go-of-key", let_go).await
    }

    /// Deletes some of the expired keys. Returns whether there may be more.
    pub async fn forget_keys(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let forget = move |tx: &mut Tx<'_>| tx.forget_keys(now, MAX_DELETED_AT_ONCE);
        let forgotten = self.store.write_alongside("forget-keys", forget).await?;
        Ok(forgotten >= MAX_DELETED_AT_ONCE as usize)
    }
}
