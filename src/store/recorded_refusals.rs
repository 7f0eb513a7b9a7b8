//! Refusals that change nothing, in the audit trail: by themselves, or in sums.

use super::Store;
use super::error::StoreError;
use super::tx::Tx;
use crate::domain::issuance::{RefusalKind, StagedRefusals};
use crate::domain::{AuditEvent, Time};

impl Store {
    /// Records a refusal that changed nothing: by itself, or in the sum of its second.
    pub async fn record_refusal(&self, event: AuditEvent) -> Result<(), StoreError> {
        let kind = RefusalKind::of_change(&event);
        let by_itself = {
            let (mut sums, mut staged) = (self.refusals.lock(), StagedRefusals::default());
            let by_itself = sums.stage(kind, event, &mut staged);
            sums.commit(staged);
            by_itself
        };
        let Some(event) = by_itself else {
            return Ok(());
        };
        let write = move |tx: &mut Tx<'_>| tx.insert_audit_events(std::slice::from_ref(&event));
        self.write_alongside("refusals", write).await
    }

    /// Writes the sums of refused tokens that began before `now`, or all of them. Sums that cannot
    /// be written stay in memory.
    pub async fn write_refusal_sums(&self, now: Time, all: bool) -> Result<(), StoreError> {
        let due = self.refusals.lock().due(now, all);
        if !due.is_empty() {
            let events: Vec<AuditEvent> = due.iter().map(|sum| sum.event.clone()).collect();
            let write = move |tx: &mut Tx<'_>| tx.insert_audit_events(&events);
            self.write_alongside("refusals", write).await?;
        }
        self.refusals.lock().written(&due, now);
        Ok(())
    }
}
