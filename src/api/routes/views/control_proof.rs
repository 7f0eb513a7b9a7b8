//! The view of a proof of control. It never has the code.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::time::Instant;
use crate::domain::Time;
use crate::domain::control::proof::{ControlProof, Method, ProofEnd, ProofState};

/// A proof that an account controls a number: a code that was sent to it, and came back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ControlProof)]
pub(in crate::api) struct ControlProofView {
    id: Uuid,
    #[schema(example = "acme")]
    account: String,
    #[schema(example = "+12125551001")]
    number: String,
    /// How the number is reached: sms, voice or sip
    #[schema(value_type = String, example = "sms")]
    method: Method,
    /// The gateway that sends the code.
    #[schema(example = "smsc")]
    gateway: String,
    /// pending: the code can still be returned. confirmed: it came back. expired: it did not come
    /// back in time. failed: it no longer can. ended: it came back, but the proof no longer counts.
    #[schema(value_type = String, example = "pending")]
    state: ProofState,
    /// The delegation with which it ends.
    delegation: Uuid,
    /// The fingerprint of the ACME account key whose tokens the proof is for; null if it is for
    /// those of every key.
    fingerprint: Option<String>,
    /// The renewal right that started it; null if a caller did.
    renewal: Option<Uuid>,
    started_at: Instant,
    /// Who started it; empty if the caller may not know.
    #[schema(example = "3f9c2b7a51d04e68")]
    started_by: String,
    /// From this instant on, the code is not accepted any more.
    expires_at: Instant,
    /// How many wrong codes are accepted until the proof fails; only while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    tries_left: Option<u32>,
    /// When a gateway accepted the code; null if none has.
    sent_at: Option<Instant>,
    /// When the gateway reported that the code reached the number; null if it has not.
    delivered_at: Option<Instant>,
    /// Why the last attempt to send the code failed; null if it did not.
    failure: Option<String>,
    confirmed_at: Option<Instant>,
    /// Who returned the code; empty if the caller may not know, null if it did not come back.
    confirmed_by: Option<String>,
    /// When the proof stops to count, whatever its age; null if that is not known.
    ends_at: Option<Instant>,
    /// Why: wrong-codes, not-sent, number-excluded, number-left, account-suspended,
    /// delegation-ended, cancelled, revoked, superseded, renewal-revoked
    #[schema(value_type = Option<String>, example = "number-left")]
    end_reason: Option<ProofEnd>,
}

impl ControlProofView {
    /// The proof as it is now, of which `tries` wrong codes make it fail.
    pub(in crate::api) fn at(now: Time, tries: u32) -> impl Fn(ControlProof) -> Self {
        move |proof| {
            let state = proof.state(now);
            let pending = state == ProofState::Pending;
            let (ends_at, end_reason) = proof.end.unzip();
            let (confirmed_at, confirmed_by) = proof
                .confirmed
                .as_ref()
                .map(|by| (by.at, by.by.clone()))
                .unzip();
            Self {
                id: proof.id,
                account: proof.account.to_string(),
                number: proof.number.to_string(),
                method: proof.method,
                state,
                delegation: proof.delegation,
                fingerprint: proof.fingerprint.map(|key| key.to_string()),
                renewal: proof.renewal,
                started_at: proof.started_at.into(),
                expires_at: proof.expires_at.into(),
                tries_left: pending.then(|| proof.tries_left(tries)),
                sent_at: proof.sent_at.map(Instant),
                delivered_at: proof.delivered_at.map(Instant),
                confirmed_at: confirmed_at.map(Instant),
                confirmed_by,
                ends_at: ends_at.map(Instant),
                end_reason,
                gateway: proof.gateway,
                started_by: proof.started_by,
                failure: proof.failure,
            }
        }
    }
}
