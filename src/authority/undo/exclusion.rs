//! An exclusion that was a mistake: a number that was never ported out, or a disconnect of the
//! wrong numbers. It never held, and what it ended counts again.

use serde_json::json;
use uuid::Uuid;

use super::plan::is_cancelled;
use super::{Mistake, Restored, prepare, write};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::clock::from_unix;
use crate::domain::inventory::row_change::RowChange;
use crate::domain::inventory::{Exclusion, Reason};
use crate::domain::{AuditAction, AuditEvent};
use crate::store::{EventFilter, Page, StoreError, Tx};

impl Authority {
    /// Undoes an exclusion, even one that has ended: delegations that it ended count again, and so
    /// does everything that the disconnect ended which made it. Withdrawn grants stay withdrawn.
    ///
    /// # Errors
    /// If it was undone before, or if a restored delegation would overlap one that was made since.
    pub async fn undo_exclusion(
        &self,
        by: impl Into<ChangeRequester<'_, Restored<Exclusion>>>,
        id: Uuid,
        mistake: Mistake,
    ) -> Result<Restored<Exclusion>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::EndExclusion);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let known = tx
                .exclusion(id)?
                .ok_or(ChangeError::NotFound("exclusion"))?;
            if was_undone(tx, &known)? {
                return Err(ChangeError::AlreadyUndone("exclusion"));
            }
            let changes = changes_of(tx, &known)?;
            let undoing = prepare(tx, id, &changes, now)?;
            if is_cancelled(&known) && undoing.changes_nothing() {
                return Err(ChangeError::AlreadyUndone("exclusion"));
            }
            write::apply(tx, &event, id, &undoing, now)?;
            let delegations = undoing.delegations();
            let detail = json!({
                "at": now, "mistake": true, "reason": mistake.reason,
                "restored_delegations": delegations.count,
                "restored_allocations": undoing.plan.allocations.restore.len(),
            });
            tx.record(&event.done(&id, detail))?;
            let mut row = known;
            row.belief.superseded_at.get_or_insert(now);
            Ok(Restored {
                row,
                delegations,
                blocked: undoing.blocked,
            })
        };
        self.change_by(by, recorded, id, work).await
    }
}

/// Whether an exclusion was undone, and not only cancelled: ended before it started, or in the
/// second in which it began.
pub(super) fn was_undone(tx: &mut Tx<'_>, known: &Exclusion) -> Result<bool, StoreError> {
    let Some(cancelled) = known.belief.superseded_at else {
        return Ok(false);
    };
    let filter = EventFilter {
        subject: Some(known.row.id.to_string()),
        action: Some(AuditAction::EndExclusion.as_str().to_owned()),
        outcome: Some("done".to_owned()),
        from: Some(cancelled),
        ..EventFilter::default()
    };
    let events = tx.list_audit_events(&filter, &Page::new(Page::MAX_LIMIT, None))?;
    let by_mistake = |event: &AuditEvent| event.detail["mistake"] == true;
    Ok(events.items.iter().any(by_mistake))
}

/// What the exclusion changed: itself, and for a disconnect also what that ended.
fn changes_of(tx: &mut Tx<'_>, known: &Exclusion) -> Result<Vec<RowChange>, ChangeError> {
    let id = known.row.id;
    let mut changes = tx.row_changes_of(id)?;
    if changes.is_empty() && was_disconnected_unrecorded(tx, known)? {
        return Err(ChangeError::NotUndoable(
            "the numbers were disconnected before this version recorded what a disconnect ends; end the exclusion without \
             `mistake`, and delegate the numbers again",
        ));
    }
    changes.retain(|change| change.row != id);
    // Its newest version, since it can have been ended meanwhile.
    changes.push(RowChange::added(known));
    Ok(changes)
}

/// Whether a disconnect made the exclusion before disconnects kept what they changed.
fn was_disconnected_unrecorded(tx: &mut Tx<'_>, known: &Exclusion) -> Result<bool, ChangeError> {
    if known.reason != Reason::Aging {
        return Ok(false);
    }
    let first = tx.exclusion_versions(&[known.row.id])?;
    let Some(made) = first.first().map(|row| row.belief.recorded_at) else {
        return Ok(false);
    };
    let filter = EventFilter {
        subject: Some(known.row.id.to_string()),
        action: Some(AuditAction::Disconnect.as_str().to_owned()),
        from: Some(made),
        until: Some(from_unix(made.timestamp().saturating_add(1))),
        ..EventFilter::default()
    };
    let events = tx.list_audit_events(&filter, &Page::new(1, None))?;
    Ok(!events.items.is_empty())
}
