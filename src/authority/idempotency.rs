//! Requests that may come again, with a key: each is done once, and answered in the same way.
//!
//! What an answer looks like is not known here. Whoever asks hands in what makes and encrypts it, and it is kept in the
//! transaction that does what was asked; or, where it needs a signature, after that one, and before anybody gets it.

use super::{Authority, ChangeError};
use crate::domain::issuance::{KeyedRequest, Replay};
use crate::store::{StoreError, Tx};

/// How many keys are forgotten in one transaction: so few that nobody waits for it.
const FORGOTTEN_AT_ONCE: u32 = 500;

/// By whom something is asked, of the authority if nothing else is said.
pub type ChangeRequester<'a, T, E = ChangeError> = crate::store::Requester<'a, T, E>;

impl Authority {
    /// What answers a request in place of doing it, as far as it is known already. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn replay(&self, keyed: &KeyedRequest) -> Result<Option<Replay>, StoreError> {
        self.store.read(|tx| tx.replay(keyed))
    }

    /// Takes the key of a request whose answer does not come out of one transaction.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the request is not to be done.
    pub async fn take_key(&self, keyed: KeyedRequest) -> Result<(), StoreError> {
        let take = move |tx: &mut Tx<'_>| tx.take_key(&keyed);
        self.store.write_alongside("take-key", take).await
    }

    /// Keeps the answer of a request that holds its key. Without that, the answer must not be given.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if another request has taken the key in the meantime.
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

    /// Lets go of a key that is not to be answered, so that the next request with it need not wait; with `forget`, also one
    /// that says something else, unless a grant was recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it; then the next one waits until the lease is over.
    pub async fn let_go_of_key(&self, keyed: KeyedRequest, forget: bool) -> Result<(), StoreError> {
        let let_go = move |tx: &mut Tx<'_>| tx.let_go_of_key(&keyed, forget);
        self.store.write_alongside("let-go-of-key", let_go).await
    }

    /// Forgets some of the keys whose time is over. Says whether there may be more.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub async fn forget_keys(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let forget = move |tx: &mut Tx<'_>| tx.forget_keys(now, FORGOTTEN_AT_ONCE);
        let forgotten = self.store.write_alongside("forget-keys", forget).await?;
        Ok(forgotten >= FORGOTTEN_AT_ONCE as usize)
    }
}
