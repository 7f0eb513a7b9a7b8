//! For whom a transaction is, and whether what proved them still holds: a key that is revoked, expired or rotated away while
//! a request waits must not get anything done.
//!
//! Nobody can change anything without an [`Acting`], and each transaction asks for it first, so that no verb can forget to.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use super::error::StoreError;
use super::new_id;
use super::tables::audit_events::{AuditEvent, with_trace};
use super::tx::Tx;
use crate::domain::credentials::api_key::Ended;
use crate::domain::{AccountId, Caller, Clock, Proof, Time};
use crate::telemetry;

/// Whoever a transaction is for.
#[derive(Debug, Clone)]
pub struct Acting {
    caller: String,
    proof: Proof,
    request_id: Uuid,
    /// The account that the caller is confined to, if there is one.
    account: Option<AccountId>,
    /// The trace that the request is a part of.
    trace: Option<String>,
    /// When the proof ends by itself.
    expires: Option<Time>,
    /// Time goes on while a request waits.
    clock: Clock,
}

impl Acting {
    /// Somebody who was proven.
    #[must_use]
    pub fn new(caller: &Caller, clock: &Clock) -> Self {
        Self {
            caller: caller.id.clone(),
            proof: caller.proof,
            request_id: caller.request_id,
            account: caller.confined_to().cloned(),
            trace: telemetry::trace_id(),
            expires: caller.expires,
            clock: clock.clone(),
        }
    }

    /// What goes into the audit trail, and on a grant.
    pub(super) fn caller(&self) -> &str {
        &self.caller
    }

    pub(super) const fn request_id(&self) -> Uuid {
        self.request_id
    }

    pub(super) const fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    pub(super) fn trace(&self) -> Option<&str> {
        self.trace.as_deref()
    }

    /// The lane in which the caller waits for the writer: that of its account, so that more keys are no more turns.
    #[must_use]
    pub fn lane(&self) -> String {
        match &self.account {
            Some(account) => lane_of(account),
            None => format!("caller {}", self.caller),
        }
    }

    /// The id of the API key that has to be looked at again, and the number of the secret that was shown.
    fn key(&self) -> Option<(&str, i32)> {
        match self.proof {
            Proof::ApiKey { secret } => Some((&self.caller, secret)),
            Proof::Presence | Proof::AccessToken | Proof::Certificate => None,
        }
    }

    /// The event of a change that was refused for this.
    pub(super) fn refusal(&self, action: &str, ended: Ended) -> AuditEvent {
        let at = self.clock.now();
        AuditEvent {
            id: new_id(at),
            at,
            caller: self.caller.clone(),
            action: action.to_owned(),
            subject: self.caller.clone(),
            outcome: "forbidden".to_owned(),
            detail: with_trace(json!({ "reason": ended.as_str() }), self.trace()),
            request_id: self.request_id,
            account: self.account.clone(),
            caller_account: self.account.clone(),
        }
    }
}

/// The lane of an account, also when a portal asks for it: the customers behind a portal take turns as well.
#[must_use]
pub fn lane_of(account: &AccountId) -> String {
    format!("account {account}")
}

impl Tx<'_> {
    /// Why each of these is proven no longer, in their order: one question for all of them, and none if nobody came by an
    /// API key.
    pub(super) fn ended(&mut self, acting: &[&Acting]) -> Result<Vec<Option<Ended>>, StoreError> {
        let mut ids: Vec<&str> = acting
            .iter()
            .filter_map(|one| one.key())
            .map(|(id, _)| id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let known: HashMap<String, _> = if ids.is_empty() {
            HashMap::new()
        } else {
            self.key_validities(&ids)?.into_iter().collect()
        };
        let mut now: Option<Time> = None;
        let ended = acting.iter().map(|one| {
            if one.expires.is_none() && one.key().is_none() {
                return None;
            }
            let now = *now.get_or_insert_with(|| one.clock.now());
            if one.expires.is_some_and(|end| end <= now) {
                return Some(Ended::Expired);
            }
            let (id, secret) = one.key()?;
            match known.get(id) {
                Some(validity) => validity.ended_for(secret, now),
                None => Some(Ended::Unknown),
            }
        });
        Ok(ended.collect())
    }
}
