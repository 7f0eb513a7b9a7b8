//! Audit events: what was done, and what was refused. Whoever writes one writes it in the transaction that it is about.

use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts::account::AccountId;
use super::clock::Time;
use super::credentials::caller::Caller;
use super::ids::new_id;

/// The outcome of what was done.
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
    /// The account that it is about; none if it is about none or several, or about one that is not the caller's.
    pub account: Option<AccountId>,
    /// The account that the caller is confined to; none for the carrier's people.
    pub caller_account: Option<AccountId>,
}

/// An event whose outcome is not known yet: who does what, when, and about which account.
#[derive(Debug, Clone)]
pub struct Event {
    caller: Caller,
    at: Time,
    action: &'static str,
    account: Option<AccountId>,
    trace: Option<String>,
}

impl Event {
    /// Something that a caller does, about no single account and in no trace.
    #[must_use]
    pub fn new(caller: &Caller, at: Time, action: &'static str) -> Self {
        Self {
            caller: caller.clone(),
            at,
            action,
            account: None,
            trace: None,
        }
    }

    /// In the trace that the request is a part of, if it is part of one.
    #[must_use]
    pub fn in_trace(self, trace: Option<String>) -> Self {
        Self { trace, ..self }
    }

    /// About one account, which the caller may know of.
    #[must_use]
    pub fn about(&self, account: &AccountId) -> Self {
        Self {
            account: Some(account.clone()),
            ..self.clone()
        }
    }

    /// The same with another action, for what is done on the way.
    #[must_use]
    pub fn of(&self, action: &'static str) -> Self {
        Self {
            action,
            ..self.clone()
        }
    }

    /// Who does it.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is done.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        self.action
    }

    /// The event of its being done.
    #[must_use]
    pub fn done(&self, subject: &dyn ToString, detail: Value) -> AuditEvent {
        self.with_outcome(subject, DONE, detail)
    }

    /// The event of its being refused, with the code of the refusal. Such an event is about the caller's own account, if
    /// there is one: what else was named may be another tenant's.
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
            action: self.action.to_owned(),
            subject: subject.to_string(),
            outcome: outcome.to_owned(),
            detail: with_trace(detail, self.trace.as_deref()),
            request_id: self.caller.request_id,
            account: self.account.clone(),
            caller_account: self.caller.confined_to().cloned(),
        }
    }
}

/// A detail, together with the trace that its request is a part of.
pub(super) fn with_trace(mut detail: Value, trace: Option<&str>) -> Value {
    if let (Value::Object(members), Some(trace)) = (&mut detail, trace) {
        members.insert("trace_id".to_owned(), trace.into());
    }
    detail
}
