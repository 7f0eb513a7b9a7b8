//! Who is asking: proofs in, one [`Caller`] out.
//!
//! API keys today. A key is `tna_ID_SECRET`: the id finds its row, the secret is 256 random bits, and what is stored is
//! HMAC-SHA256 of the secret under a key that is not in the database. Knows openssl; what a caller may do is decided
//! elsewhere.

mod api_key;
mod flood;
mod pepper;
mod session;

pub use api_key::{ApiKeyError, NewApiKey, ShownApiKey};
pub use flood::FloodGate;
pub use pepper::{Pepper, PepperError};
pub use session::AccessToken;

use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::{Caller, Clock};
use crate::store::{ApiKey, Store, StoreError, Tx};
use api_key::PresentedKey;

/// Why nobody is proven.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unproven {
    /// Nothing was offered: 401, with a challenge (RFC 9110 §15.5.2).
    #[error("no credentials were given")]
    Missing,
    /// Something was offered that proves nothing: 403 (RFC 9448 §5.5). Why it does not is nobody's business.
    #[error("the credentials are not valid")]
    Invalid,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Proves callers, and makes the keys that prove them.
#[derive(Debug)]
pub struct Callers {
    store: Arc<Store>,
    pepper: Pepper,
    clock: Clock,
}

impl Callers {
    /// Proves callers by the keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>, pepper: Pepper, clock: Clock) -> Self {
        Self {
            store,
            pepper,
            clock,
        }
    }

    /// Proves who sent this `Authorization` field. Blocks.
    ///
    /// # Errors
    /// [`Unproven`] if nobody is.
    pub fn prove(&self, authorization: Option<&str>, request_id: Uuid) -> Result<Caller, Unproven> {
        let authorization = authorization.ok_or(Unproven::Missing)?;
        // The scheme's name is case-insensitive (RFC 9110 §11.1).
        let key = match authorization.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim_start(),
            _ => return Err(Unproven::Invalid),
        };
        let key = PresentedKey::parse(key).ok_or(Unproven::Invalid)?;
        let known = self.store.read(|tx| tx.api_key(key.id()))?;
        let proven = known.filter(|known| {
            let right = self.pepper.matches(&key, &known.secret_hash);
            right
                && known
                    .revoked_at
                    .is_none_or(|revoked| self.clock.now() < revoked)
        });
        let known = proven.ok_or(Unproven::Invalid)?;
        Ok(caller(known, request_id))
    }

    /// Makes a key. What is returned is the only time that it is shown.
    ///
    /// # Errors
    /// [`ApiKeyError`] if the role and the accounts do not go together, or an account is unknown.
    pub async fn create(&self, new: NewApiKey) -> Result<ShownApiKey, ApiKeyError> {
        api_key::create(&self.store, &self.pepper, new, self.clock.now()).await
    }

    /// Makes a key useless from now on. Says whether there was one to revoke.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub async fn revoke(&self, id: String) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let work = move |tx: &mut Tx<'_>| tx.revoke_api_key(&id, now);
        self.store.change("revoke-api-key", work).await
    }
}

/// The caller whom a key proves.
fn caller(known: ApiKey, request_id: Uuid) -> Caller {
    Caller {
        id: known.id,
        role: known.role,
        accounts: known.accounts,
        request_id,
    }
}
