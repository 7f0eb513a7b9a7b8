//! The identity that a transaction runs for.
//!
//! A credential that is revoked, expires or is rotated while its request waits must have no effect.
//! So every change needs an [`Actor`], and each transaction checks its credential again.

use serde_json::json;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::audit::{AuditEvent, with_trace};
use crate::domain::clock::{Clock, Time};
use crate::domain::credentials::api_key::{CredentialEnd, KeyValidity};
use crate::domain::credentials::caller::{Caller, Proof, Role};
use crate::domain::ids::new_id;

/// An authenticated caller, with what a transaction needs to check it again.
#[derive(Debug, Clone)]
pub struct Actor {
    caller: String,
    proof: Proof,
    role: Role,
    request_id: Uuid,
    /// The account that the caller is confined to, if there is one.
    account: Option<AccountId>,
    /// The trace that the request belongs to.
    trace: Option<String>,
    /// The expiry of the credential itself, such as the `exp` of an access token.
    expires: Option<Time>,
    /// The clock, since time passes while a request waits.
    clock: Clock,
}

impl Actor {
    /// The actor of an authenticated caller, without a trace.
    #[must_use]
    pub fn new(caller: &Caller, clock: &Clock) -> Self {
        Self {
            caller: caller.id.clone(),
            proof: caller.proof,
            role: caller.role,
            request_id: caller.request_id,
            account: caller.confined_to().cloned(),
            trace: None,
            expires: caller.expires,
            clock: clock.clone(),
        }
    }

    /// With the trace that the request belongs to, if any.
    #[must_use]
    pub fn in_trace(self, trace: Option<String>) -> Self {
        Self { trace, ..self }
    }

    /// The id of the caller, as the audit trail and grants record it.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    #[must_use]
    pub const fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// The account that the caller is confined to, if there is one.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// The trace that the request belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        self.trace.as_deref()
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The lane in which the caller waits for the writer. It is that of its account, so that more
    /// API keys do not get more turns.
    #[must_use]
    pub fn lane(&self) -> String {
        match &self.account {
            Some(account) => lane_of(account),
            None => format!("caller {}", self.caller),
        }
    }

    /// The lane in which the caller waits with an order for one account. The customers of a portal
    /// take turns as well.
    pub(in crate::domain) fn lane_for(&self, account: &AccountId) -> String {
        match self.role {
            Role::Portal => lane_of(account),
            Role::Admin | Role::Provisioner | Role::Account | Role::Auditor | Role::Renewer => {
                self.lane()
            }
        }
    }

    /// The id of the API key, which has to be checked again; `None` for other credentials.
    #[must_use]
    pub fn api_key(&self) -> Option<&str> {
        match self.proof {
            Proof::ApiKey { .. } => Some(&self.caller),
            Proof::Presence | Proof::AccessToken | Proof::Certificate | Proof::AccountKey => None,
        }
    }

    /// Whether the credential can end while a request waits.
    #[must_use]
    pub const fn can_end(&self) -> bool {
        self.expires.is_some() || matches!(self.proof, Proof::ApiKey { .. })
    }

    /// Why the credential is no longer valid; `None` if it is. `validity` is what is known of its
    /// API key, if it is one.
    #[must_use]
    pub fn ended(&self, validity: Option<&KeyValidity>, now: Time) -> Option<CredentialEnd> {
        if self.expires.is_some_and(|end| end <= now) {
            return Some(CredentialEnd::Expired);
        }
        match (self.proof, validity) {
            (Proof::ApiKey { secret }, Some(validity)) => validity.ended_for(secret, now),
            (Proof::ApiKey { .. }, None) => Some(CredentialEnd::Unknown),
            (Proof::Presence | Proof::AccessToken | Proof::Certificate | Proof::AccountKey, _) => {
                None
            }
        }
    }

    /// The audit event of a change that was refused because the credential had ended.
    #[must_use]
    pub fn refusal(&self, action: &str, ended: CredentialEnd, at: Time) -> AuditEvent {
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

fn lane_of(account: &AccountId) -> String {
    format!("account {account}")
}
