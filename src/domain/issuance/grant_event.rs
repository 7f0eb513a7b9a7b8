//! The audit event of a grant, without what the grant itself says. The ledger stores both as one
//! row.

use serde_json::{Map, Value, json};

use crate::domain::accounts::account::AccountId;
use crate::domain::audit::AuditEvent;
use crate::domain::audit_action::AuditAction;
use crate::domain::tokens::grant::Grant;

/// The outcome of an event that reports a grant.
pub const GRANTED: &str = "done";

/// What the audit event of a grant has beyond the grant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GrantEvent {
    /// The account that the caller was confined to.
    pub caller_account: Option<AccountId>,
    /// The members of the detail that do not follow from the grant.
    pub detail: Map<String, Value>,
}

impl GrantEvent {
    /// What this event has beyond the grant; `None` if it is not the event of this grant, and has
    /// to be stored by itself.
    #[must_use]
    pub fn of(grant: &Grant, event: &AuditEvent) -> Option<Self> {
        let implied = implied_by(grant);
        let detail = event.detail.as_object()?;
        let further = detail
            .iter()
            .filter(|(name, value)| implied.get(*name) != Some(*value));
        let kept = Self {
            caller_account: event.caller_account.clone(),
            detail: further
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        };
        (kept.clone().of_grant(grant).as_ref() == Some(event)).then_some(kept)
    }

    /// The whole event of this grant; `None` if the id of the grant has no id of an event.
    #[must_use]
    pub fn of_grant(self, grant: &Grant) -> Option<AuditEvent> {
        let mut detail = implied_by(grant);
        detail.extend(self.detail);
        Some(AuditEvent {
            id: grant.jti.event()?,
            at: grant.issued_at,
            caller: grant.caller.clone(),
            action: AuditAction::Issue.as_str().to_owned(),
            subject: grant.account.to_string(),
            outcome: GRANTED.to_owned(),
            detail: detail.into(),
            request_id: grant.request_id,
            account: Some(grant.account.clone()),
            caller_account: self.caller_account,
        })
    }
}

/// The members of the detail that follow from the grant.
fn implied_by(grant: &Grant) -> Map<String, Value> {
    let mut detail = json!({ "jti": grant.jti, "expires": grant.expires_at });
    grant.policies.add_to(&mut detail);
    match detail {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
