//! Cancels proofs of control whose codes can still come back, so that the numbers can be asked
//! anew, and lets the carrier revoke confirmed ones. They count towards the limits all the same.

use serde_json::json;
use uuid::Uuid;

use super::list::visible;
use super::settled::settle;
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, ChangeRequester, StoreError};
use crate::domain::control::proof::{ControlProof, ProofEnd, ProofState};
use crate::domain::{AuditAction, AuditEvent, Event};
use crate::store::Tx;
use crate::telemetry::ProofOutcome;

impl Authority {
    /// Cancels a pending proof. Those who can start it can cancel it. The carrier can cancel a
    /// confirmed one as well, such as that of a thief: it is revoked. Idempotent.
    ///
    /// # Errors
    /// If the caller has no such proof, or one that it cannot cancel any more.
    pub async fn cancel_control(
        &self,
        by: impl Into<ChangeRequester<'_, ControlProof>>,
        id: Uuid,
    ) -> Result<ControlProof, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.may_prove(caller)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, AuditAction::CancelControlProof);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let read = visible(tx, &scope, id)?;
            if scope.reaches_below() {
                scope.must_be_in_good_standing(tx)?;
            }
            let mut proof = read.clone();
            let is_done = matches!(
                proof.end,
                Some((_, ProofEnd::Cancelled | ProofEnd::Revoked))
            );
            let end = match proof.state(now) {
                ProofState::Pending => Some(ProofEnd::Cancelled),
                // A thief of an account's key must not take its proofs away.
                ProofState::Confirmed if scope == Visibility::Everything => Some(ProofEnd::Revoked),
                ProofState::Failed | ProofState::Ended if is_done => None,
                ProofState::Confirmed
                | ProofState::Expired
                | ProofState::Failed
                | ProofState::Ended => return Err(ChangeError::NotPending),
            };
            if let Some(end) = end {
                proof.end_at(now, end);
                if !settle(tx, &read, &proof)? {
                    return Err(ChangeError::NotPending);
                }
                record_cancelled(tx, &event, std::slice::from_ref(&proof))?;
                if end == ProofEnd::Revoked {
                    // What a right to renew had proven is to be proven anew.
                    tx.set_reproofs_of_account_due(&proof.account, now)?;
                }
            }
            scope.redact_proofs(tx, std::slice::from_mut(&mut proof))?;
            Ok(proof)
        };
        let proof = self.change_by(by, recorded, id, work).await?;
        if proof.end == Some((now, ProofEnd::Cancelled)) {
            let metrics = &self.metrics.control;
            metrics.proof(proof.method.as_str(), ProofOutcome::Failed);
        }
        Ok(proof)
    }
}

/// Records that pending proofs were ended, each in its own trail.
pub(in crate::authority) fn record_cancelled(
    tx: &mut Tx<'_>,
    event: &Event,
    proofs: &[ControlProof],
) -> Result<(), StoreError> {
    let events = proofs.iter().map(|proof| {
        let event = event.of(AuditAction::CancelControlProof);
        let detail = json!({
            "account": proof.account, "number": proof.number, "method": proof.method,
            "renewal": proof.renewal, "reason": proof.end.map(|(_, why)| why),
        });
        event.about(&proof.account).done(&proof.id, detail)
    });
    tx.insert_audit_events(&events.collect::<Vec<AuditEvent>>())
}
