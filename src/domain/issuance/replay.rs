//! Requests that come with an idempotency key, so that a client can safely retry them.
//!
//! A key belongs to one request of one tenant, and one process at a time holds it. Once a grant is recorded for a key, that
//! grant is signed for every retry, or nothing is: there is one grant for a key, whatever process stops when.

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use super::decided::Decided;
use crate::domain::clock::Time;
use crate::domain::decision::denial::Denial;
use crate::domain::tokens::grant::{Grant, GrantState, Jti};

/// A request that came with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// What the key is stored as; no two tenants have the same.
    pub name: String,
    /// Digest of all that the request says.
    pub request: String,
    /// Tells this request from all others with the key.
    pub holder: Uuid,
    pub at: Time,
    /// Until when retries wait for its answer.
    pub lease_until: Time,
    /// Until when the key is kept.
    pub keep_until: Time,
}

impl KeyedRequest {
    /// One of the requests of a bulk, which has a key of its own since it is decided for itself. Whoever holds the key of
    /// the bulk may take it at once.
    #[must_use]
    pub fn part(&self, index: usize) -> Self {
        let name = hex::encode(Sha256::digest(format!("{}/{index}", self.name)));
        Self {
            name,
            lease_until: self.at,
            ..self.clone()
        }
    }
}

/// The answer to a request whose key was used before, in place of doing what it asks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Replay {
    /// This, as the API has encrypted it.
    #[error("the request was answered before")]
    Answered(Vec<u8>),
    #[error("the first request with this key is still at work; come again")]
    InFlight,
    #[error("the key came with another request before; a new request needs a new key")]
    OtherRequest,
    /// The service stopped between the record of the grant and the answer, and the grant may not be signed any more.
    #[error(
        "the grant that was recorded for this key was withdrawn, has expired or would not be given any more, before its token \
         was answered; ask with a new key"
    )]
    GrantEnded,
}

/// What is known of a key when a request with it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStatus {
    /// Nothing; or the request has no key.
    New,
    /// Its holder has stopped, or the key has expired; with the grant that was recorded for it.
    Abandoned { holder: String, jti: Option<Jti> },
    /// The request is not to be done.
    Used(Replay),
}

impl KeyStatus {
    /// The grant that was recorded for the key, and whose token was not answered.
    #[must_use]
    pub const fn recorded(&self) -> Option<&Jti> {
        match self {
            Self::Abandoned { jti, .. } => jti.as_ref(),
            Self::New | Self::Used(_) => None,
        }
    }
}

/// Decides an order whose grant was recorded before and not answered: that grant is signed, if all of it would be given
/// again. `decide_now` is the decision that the order would get if it were new.
pub fn decide_again(
    recorded: Option<&Grant>,
    now: Time,
    decide_now: impl FnOnce() -> Result<Grant, Denial>,
) -> Decided {
    let Some(recorded) = recorded.filter(|grant| grant.state(now) == GrantState::Active) else {
        return Decided::Replayed(Replay::GrantEnded);
    };
    match decide_now() {
        Ok(grant) if grant.expires_at >= recorded.expires_at => Decided::Granted(recorded.clone()),
        // The service lacks a certificate, which is temporary.
        Err(denial @ Denial::NoCertificate(_)) => Decided::Denied(denial),
        Ok(_) | Err(_) => Decided::Replayed(Replay::GrantEnded),
    }
}
