//! Audit events: what was done, and what was refused. An event is written in the transaction that
//! it reports.

use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts::account::AccountId;
use super::audit_action::AuditAction;
use super::clock::Time;
use super::credentials::caller::Caller;
use super::ids::new_id;

/// The outcome of an action that succeeded.
const DONE: &str = "done";

/// One event of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    pub id: Uuid,
    pub at: Time,
    pub caller: String,
    pub action: String,
    pub subject: String,
    /// `done`, or the code of the denial.
    pub outcome: String,
    pub detail: Value,
    pub request_id: Uuid,
    /// The account that it concerns; `None` if it concerns none or several, or one that is not the
    /// caller's.
    pub account: Option<AccountId>,
    /// The account that the caller is confined to; `None` for the carrier's own staff.
    pub caller_account: Option<AccountId>,
}

/// An event whose outcome is not known yet: who does what, when, and to which account.
#[derive(Debug, Clone)]
pub struct Event {
    caller: Caller,
    at: Time,
    action: AuditAction,
    account: Option<AccountId>,
    trace: Option<String>,
}

impl Event {
    /// An action of a caller that concerns no single account and belongs to no trace.
    #[must_use]
    pub fn new(caller: &Caller, at: Time, action: AuditAction) -> Self {
        Self {
            caller: caller.clone(),
            at,
            action,
            account: None,
            trace: None,
        }
    }

    /// With the trace that the request belongs to, if any.
    #[must_use]
    pub fn in_trace(self, trace: Option<String>) -> Self {
        Self { trace, ..self }
    }

    /// Concerning one account, which the caller is allowed to see.
    #[must_use]
    pub fn about(&self, account: &AccountId) -> Self {
        Self {
            account: Some(account.clone()),
            ..self.clone()
        }
    }

    /// The same event with another action, for a side effect.
    #[must_use]
    pub fn of(&self, action: AuditAction) -> Self {
        Self {
            action,
            ..self.clone()
        }
    }

    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    #[must_use]
    pub const fn action(&self) -> &'static str {
        self.action.as_str()
    }

    /// The event if the action succeeded.
    #[must_use]
    pub fn done(&self, subject: &dyn ToString, detail: Value) -> AuditEvent {
        self.with_outcome(subject, DONE, detail)
    }

    /// The event if the action was refused, with the code of the refusal. It concerns the caller's
    /// own account, if there is one: other ids in the request can belong to another tenant.
    #[must_use]
    pub fn refused(&self, subject: &dyn ToString, code: &str, reason: &dyn ToString) -> AuditEvent {
        let detail = json!({ "reason": reason.to_string() });
        AuditEvent {
            account: self.caller.confined_to().cloned(),
            ..self.with_outcome(subject, code, detail)
        }
    }

    fn with_outcome(&self, subject: &dyn ToString, outcome: &str, detail: Value) -> AuditEvent {
        AuditEvent {
            id: new_id(self.at),
            at: self.at,
            caller: self.caller.id.clone(),
            action: self.action.as_str().to_owned(),
            subject: subject.to_string(),
            outcome: outcome.to_owned(),
            detail: with_trace(detail, self.trace.as_deref()),
            request_id: self.caller.request_id,
            account: self.account.clone(),
            caller_account: self.caller.confined_to().cloned(),
        }
    }
}

/// Adds the trace that the request belongs to, if any, to a detail.
pub(super) fn with_trace(mut detail: Value, trace: Option<&str>) -> Value {
    if let (Value::Object(members), Some(trace)) = (&mut detail, trace) {
        members.insert("trace_id".to_owned(), trace.into());
    }
    detail
}
