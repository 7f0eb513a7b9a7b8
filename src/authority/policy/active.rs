//! The set of policies in force. It can be replaced while decisions are made, and each change is
//! recorded in the audit trail.

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Value, json};

use super::PolicySet;
use crate::authority::Authority;
use crate::authority::audited::event_by;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::{AuditAction, Caller, Denial};
use crate::store::{StoreError, Tx};

/// How many policy ids one audit event lists.
const MAX_LISTED: usize = 1_000;

/// The set in force. A decision takes it once and uses it throughout.
#[derive(Debug)]
pub struct ActivePolicySet(RwLock<Arc<PolicySet>>);

impl From<PolicySet> for ActivePolicySet {
    fn from(policy: PolicySet) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }
}

impl ActivePolicySet {
    /// The current set. Never waits longer than another thread needs to copy a pointer.
    #[must_use]
    pub fn in_force(&self) -> Arc<PolicySet> {
        Arc::clone(&self.0.read())
    }

    fn replace(&self, policy: PolicySet) {
        *self.0.write() = Arc::new(policy);
    }
}

impl Authority {
    /// Records which policies are in force, before the service starts to answer.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be recorded; then the service must not start.
    pub async fn record_policies(&self, caller: &Caller) -> Result<(), StoreError> {
        self.record(
            caller,
            AuditAction::PolicyLoad,
            &self.policy.in_force(),
            None,
        )
        .await?;
        self.show_policies();
        Ok(())
    }

    /// Replaces the set, after recording the change in the audit trail.
    ///
    /// # Errors
    /// [`StoreError`] if the event cannot be recorded; then the previous set stays in force.
    pub async fn change_policies(
        &self,
        caller: &Caller,
        policy: PolicySet,
    ) -> Result<(), StoreError> {
        let old = self.policy.in_force();
        self.record(caller, AuditAction::PolicyReload, &policy, Some(&old))
            .await?;
        log::info!(policy_set = policy.set(), policies = policy.ids().len(); "new policies are in force");
        self.policy.replace(policy);
        self.show_policies();
        Ok(())
    }

    fn show_policies(&self) {
        let policies = &self.metrics.policies;
        policies.in_force(self.policy.in_force().set());
    }

    async fn record(
        &self,
        caller: &Caller,
        action: AuditAction,
        policy: &PolicySet,
        previous: Option<&PolicySet>,
    ) -> Result<(), StoreError> {
        let event = event_by(caller, self.clock.now(), action);
        let (set, detail) = (policy.set().to_owned(), detail(policy, previous));
        let work = move |tx: &mut Tx<'_>| tx.record(&event.done(&set, detail.clone()));
        let actor = self.actor(caller);
        self.store.change(actor, action.as_str(), work).await
    }
}

fn detail(policy: &PolicySet, previous: Option<&PolicySet>) -> Value {
    let ids = policy.ids();
    let listed = &ids[..ids.len().min(MAX_LISTED)];
    let mut detail = json!({ "sha256": policy.set(), "policies": listed });
    if let Some(members) = detail.as_object_mut() {
        if listed.len() < ids.len() {
            members.insert(
                "policies_left_out".to_owned(),
                json!(ids.len() - listed.len()),
            );
        }
        if let Some(previous) = previous {
            members.insert("before".to_owned(), json!(previous.set()));
        }
    }
    detail
}

/// Logs policies that failed to evaluate. The refusal does not mention them, and an operator has to
/// fix them.
pub(in crate::authority) fn log_failure(by: &PolicyTrace) {
    if by.failed() {
        let ids = by.to_text();
        log::error!(policies = ids.as_str(), code = Denial::POLICY_ERROR; "policies failed to evaluate, so the request was denied");
    }
}
