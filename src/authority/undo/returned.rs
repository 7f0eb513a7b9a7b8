//! A return that was a mistake: the carrier holds the numbers as before.

use serde_json::json;
use uuid::Uuid;

use super::plan::{is_cancelled, is_undone};
use super::{Mistake, Restored, exclusion, prepare, write};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::AuditAction;
use crate::domain::inventory::Allocation;
use crate::domain::inventory::row_change::{ChangedVersions, RowChange};
use crate::store::{StoreError, Tx};

impl Authority {
    /// Undoes the return of an allocation, also a planned one: it is valid as before, and so are
    /// the delegations that ended with it. Withdrawn grants stay withdrawn.
    ///
    /// # Errors
    /// If it was not returned, another allocation holds the numbers since, or a restored delegation
    /// would overlap one that was made since.
    pub async fn undo_return(
        &self,
        by: impl Into<ChangeRequester<'_, Restored<Allocation>>>,
        id: Uuid,
        mistake: Mistake,
    ) -> Result<Restored<Allocation>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::UndoReturn);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let versions = tx.allocation_versions(&[id])?;
            let newest = versions.last().ok_or(ChangeError::NotFound("allocation"))?;
            must_not_be_changed_otherwise(tx, newest, &versions)?;
            let change = RowChange {
                versions: the_return(&versions).ok_or(ChangeError::NotReturned)?,
                ..RowChange::added(newest)
            };
            let undoing = prepare(tx, id, &[change], now)?;
            write::apply(tx, &event, id, &undoing, now)?;
            let delegations = undoing.delegations();
            let restored = undoing.plan.allocations.restore.first();
            let row = restored.map_or_else(|| newest.clone(), |(_, next)| next.clone());
            let detail = json!({
                "mistake": true, "reason": mistake.reason, "valid_until": row.window.until(),
                "restored_delegations": delegations.count,
            });
            tx.record(&event.done(&id, detail))?;
            Ok(Restored {
                row,
                delegations,
                blocked: undoing.blocked,
            })
        };
        self.change_by(by, recorded, id, work).await
    }
}

/// The last return that counts: the version before it and the newest one. An end is only ever
/// postponed by undoing, so a version with a later end undoes those in between.
fn the_return(versions: &[Allocation]) -> Option<ChangedVersions> {
    let newest = versions.last()?;
    if is_cancelled(newest) {
        return Some(ChangedVersions::Cancelled(newest.row.version));
    }
    let mut ends: Vec<&Allocation> = Vec::new();
    for version in versions {
        let is_shorter = |known: &Allocation| match (known.window.until(), version.window.until()) {
            (None, until) => until.is_some(),
            (Some(known), Some(until)) => until < known,
            (Some(_), None) => false,
        };
        while ends.last().is_some_and(|known| !is_shorter(known)) {
            ends.pop();
        }
        ends.push(version);
    }
    let before = ends.iter().rev().nth(1)?;
    Some(ChangedVersions::Ended(
        before.row.version,
        newest.row.version,
    ))
}

/// Whether an import or a disconnect was undone, and not only called off.
fn was_undone(tx: &mut Tx<'_>, cause: Uuid) -> Result<bool, StoreError> {
    match tx.exclusion(cause)? {
        Some(aging) => exclusion::was_undone(tx, &aging),
        None => is_undone(tx, cause),
    }
}

/// Refuses an allocation that is as an import or a disconnect left it: that is what has to be
/// undone. If an import that added it was undone, nothing was returned.
fn must_not_be_changed_otherwise(
    tx: &mut Tx<'_>,
    newest: &Allocation,
    versions: &[Allocation],
) -> Result<(), ChangeError> {
    for (by, change) in tx.changes_of_row(newest.row.id)? {
        let as_left = |after: i32| {
            let after = versions.iter().find(|row| row.row.version == after);
            !is_cancelled(newest) && after.is_some_and(|after| after.window == newest.window)
        };
        let left_it_so = match change.versions {
            ChangedVersions::Added(_) if is_cancelled(newest) && is_undone(tx, by)? => {
                return Err(ChangeError::NotReturned);
            }
            ChangedVersions::Added(_) => false,
            ChangedVersions::Ended(_, after) => as_left(after),
            ChangedVersions::Cancelled(before) => {
                is_cancelled(newest) && before == newest.row.version
            }
        };
        // If that was undone nevertheless, the row had been returned as well.
        if left_it_so && !was_undone(tx, by)? {
            let (kind, id) = ("allocation", newest.row.id);
            return Err(ChangeError::UndoFirst { kind, id, by });
        }
    }
    Ok(())
}
