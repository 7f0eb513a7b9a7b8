//! Who is asking: proofs in, one [`Caller`] out.
//!
//! API keys today. A key is `tna_ID_SECRET`: the id finds its row, the secret is 256 random bits, and what is stored is
//! HMAC-SHA256 of the secret under a key that is not in the database. Knows openssl; what a caller may do is decided
//! elsewhere.
//!
//! Why credentials prove nothing goes into the log and a metric; the answer is the same for all.

mod api_key;
mod pepper;

pub use api_key::{ApiKeyError, ApiKeys, LONGEST_OVERLAP, NewApiKey, ShownApiKey, USUAL_OVERLAP};
pub use pepper::{Pepper, PepperError};

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::{Caller, Clock};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

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

/// What a request offers as proof.
#[derive(Debug, Clone)]
pub struct Offered {
    /// The value of its one `Authorization` field.
    pub authorization: Option<String>,
    /// The address of whoever asks: at the other end of the connection, and so that of the proxy, if there is one that is
    /// not trusted to say for whom it asks. Lists of networks are held against it.
    pub from: Option<IpAddr>,
}

/// Proves callers, and makes the keys that prove them.
#[derive(Debug)]
pub struct Callers {
    api_keys: ApiKeys,
}

impl Callers {
    /// Proves callers by the keys of this store.
    #[must_use]
    pub fn new(store: Arc<Store>, pepper: Pepper, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            api_keys: ApiKeys::new(store, pepper, clock, metrics),
        }
    }

    /// Proves who sent a request, by what the database says now: whoever reads must not see more than is allowed now.
    /// Blocks.
    ///
    /// # Errors
    /// [`Unproven`] if nobody is.
    pub fn prove(&self, offered: &Offered, request_id: Uuid) -> Result<Caller, Unproven> {
        let authorization = offered.authorization.as_deref();
        let bearer = bearer(authorization.ok_or(Unproven::Missing)?);
        self.api_keys.prove(bearer, offered.from, request_id)
    }

    /// Proves who sent a request, by what was read not long ago, without a look into the database; `None` if memory does
    /// not prove anybody. Right for what is done in a transaction alone, which looks again: see `store::Acting`.
    #[must_use]
    pub fn recall(&self, offered: &Offered, request_id: Uuid) -> Option<Caller> {
        let bearer = bearer(offered.authorization.as_deref()?)?;
        self.api_keys.recall(bearer, offered.from, request_id)
    }

    /// Forgets what was read of a caller, when a transaction has found that its proof has ended.
    pub fn forget(&self, caller: &Caller) {
        self.api_keys.forget(&caller.id);
    }

    /// The API keys, to be kept by whoever may.
    #[must_use]
    pub const fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }
}

/// The token of an `Authorization` field with the scheme Bearer, whose name is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_start()),
        _ => None,
    }
}
