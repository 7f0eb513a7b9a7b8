//! Requests with an `Idempotency-Key`, which a client can safely retry
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! A key belongs to one request of one tenant, and one process at a time holds it. Once a grant is
//! recorded for a key, a retry gets a token for that grant or none: there is never a second grant,
//! whichever process crashes, and when.

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use super::decided::Decided;
use crate::domain::clock::Time;
use crate::domain::decision::denial::Denial;
use crate::domain::tokens::grant::{Grant, GrantState, Jti};

/// A request with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The name under which the key is stored; distinct for each tenant.
    pub name: String,
    /// A digest of the whole request.
    pub request: String,
    /// Distinguishes this request from all others with the same key.
    pub holder: Uuid,
    pub at: Time,
    /// Until when retries are refused, because this request is in progress.
    pub lease_until: Time,
    /// When the key expires.
    pub keep_until: Time,
}

/// How long the key of a refused request is kept at most: a retry of it comes soon, and refusals
/// with ever new keys must not fill the database.
const REFUSAL_KEPT: TimeDelta = TimeDelta::minutes(10);

impl KeyedRequest {
    /// When the key expires if the request is refused.
    #[must_use]
    pub fn refusal_kept_until(&self) -> Time {
        self.keep_until.min(self.at + REFUSAL_KEPT)
    }

    /// One request of a bulk. It is decided separately, so it has a key of its own. Its lease is
    /// over from the start, so the holder of the bulk's key can claim it at once.
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

/// Why a request is not carried out: its key was used before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Replay {
    /// With this answer, as the API encrypted it.
    #[error("the request has already been answered")]
    Answered(Vec<u8>),
    #[error("the first request with this key is still in progress; retry later")]
    InFlight,
    #[error("the key was used for a different request; a new request needs a new key")]
    OtherRequest,
    /// The service stopped after recording the grant and before answering, and the grant can no
    /// longer be signed.
    #[error(
        "the grant recorded for this key was withdrawn, expired or would no longer be given, before \
         its token was sent; retry with a new key"
    )]
    GrantEnded,
}

/// What is known about a key when a request with it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStatus {
    /// Nothing, or the request has no key.
    New,
    /// The holder's lease has ended, or the key has expired. `jti` is the grant that was recorded
    /// for it.
    Abandoned { holder: String, jti: Option<Jti> },
    /// The request must not be carried out.
    Used(Replay),
}

impl KeyStatus {
    /// The grant that was recorded for the key and whose token was never sent.
    #[must_use]
    pub const fn recorded(&self) -> Option<&Jti> {
        match self {
            Self::Abandoned { jti, .. } => jti.as_ref(),
            Self::New | Self::Used(_) => None,
        }
    }
}

/// Decides an order whose grant was recorded before, but never answered. That grant is signed if
/// all of it would be granted again, and the key of its chain is trusted. `decide_now` makes the
/// decision for a new order.
pub fn decide_recorded(
    recorded: Option<&Grant>,
    now: Time,
    distrusts: impl Fn(&str) -> bool,
    decide_now: impl FnOnce() -> Result<Grant, Denial>,
) -> Decided {
    // A sweep may not have withdrawn it yet.
    let may_sign =
        |grant: &&Grant| grant.state(now) == GrantState::Active && !distrusts(&grant.chain);
    let Some(recorded) = recorded.filter(may_sign) else {
        return Decided::Replayed(Replay::GrantEnded);
    };
    match decide_now() {
        Ok(grant) if grant.expires_at >= recorded.expires_at => Decided::Granted(recorded.clone()),
        // A missing certificate is temporary, so the key stays usable.
        Err(denial @ (Denial::NoCertificate(_) | Denial::KeyDistrusted(_))) => {
            Decided::Denied(denial)
        }
        Ok(_) | Err(_) => Decided::Replayed(Replay::GrantEnded),
    }
}
