//! Reports proofs that the service started for rights to renew, and that failed: once a proof, in a
//! feed and by webhooks.

use serde_json::json;

use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, StoreError};
use crate::domain::control::failure::FailedControl;
use crate::domain::{AuditAction, AuditEvent, Caller, new_id};
use crate::store::Tx;
use crate::telemetry::ReproofOutcome;

/// The most failures that one transaction reports.
const MAX_REPORTED: u16 = 100;

/// A page of the feed of failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureFeed {
    pub items: Vec<FailedControl>,
    /// The `after` of the next page, also if the feed has no more entries yet.
    pub next_after: i64,
    /// Whether there are more entries already.
    pub more: bool,
}

impl Authority {
    /// The feed entries after a sequence number, as far as the caller may see them. Blocks.
    pub fn control_failures(
        &self,
        caller: &Caller,
        after: i64,
        limit: u16,
    ) -> Result<FailureFeed, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            let fetch = limit.saturating_add(1);
            let mut items = tx.failures_after(within.as_ref(), (after, None), fetch)?;
            let more = items.len() > usize::from(limit);
            items.truncate(limit.into());
            for item in &mut items {
                scope.redact_proofs(tx, std::slice::from_mut(&mut item.proof))?;
            }
            Ok(FailureFeed {
                next_after: items.last().map_or(after, |last| last.sequence),
                items,
                more,
            })
        })
    }

    /// Reports a bounded number of failures. Returns whether there may be more.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn report_failures(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        // Usually there is nothing to do: find out by a read, without occupying the writer.
        let is_due = self.store.read(|tx| {
            let is_due = tx.has_unreported_failure(now)?;
            if is_due {
                self.check_clock(tx)?;
            }
            Ok::<_, StoreError>(is_due)
        })?;
        if !is_due {
            return Ok(false);
        }
        let caller = Caller::the_service(new_id(now));
        let event = event_by(&caller, now, AuditAction::FailControlProof);
        let work = move |tx: &mut Tx<'_>| {
            let (failed, looked_at) = tx.report_failures(now, MAX_REPORTED)?;
            let events = failed.iter().map(|failed| {
                let proof = &failed.proof;
                let detail = json!({
                    "account": proof.account, "number": proof.number, "method": proof.method,
                    "renewal": proof.renewal, "reason": failed.failure, "failed": failed.at,
                });
                event.about(&proof.account).done(&proof.id, detail)
            });
            tx.insert_audit_events(&events.collect::<Vec<AuditEvent>>())?;
            Ok((failed.len(), looked_at))
        };
        // `change` takes the exclusive lock: no entry of a feed may appear before one that was
        // read.
        let done: Result<_, StoreError> = self
            .store
            .change(self.actor(&caller), "report-failures", work)
            .await;
        let (reported, looked_at) = done?;
        let metrics = &self.metrics.control;
        metrics.reproofs(ReproofOutcome::Failed, reported as u64);
        Ok(looked_at >= usize::from(MAX_REPORTED))
    }
}
