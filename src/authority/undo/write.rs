//! Writes what `plan` has planned: one more version of each row that is restored, and none for a
//! row that is removed.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use super::Undoing;
use super::plan::RowsToUndo;
use crate::authority::ChangeError;
use crate::authority::acquisition::reconcile;
use crate::authority::delegate::end_all_below;
use crate::authority::departures::{self, Leaving};
use crate::authority::exclude;
use crate::domain::clock::Time;
use crate::domain::inventory::Delegation;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::row_change::Undoable;
use crate::domain::{AccountId, AuditAction, Event, NumberRange};
use crate::store::{StoreError, Tx};

/// Undoes a change. `event` is the audit event of the whole; the accounts get events of their own.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    event: &Event,
    cause: Uuid,
    undoing: &Undoing,
    now: Time,
) -> Result<(), ChangeError> {
    let plan = &undoing.plan;
    let (ids, next) = next_versions(&plan.allocations);
    tx.supersede_allocations(&ids, now)?;
    tx.insert_allocations(&next)?;
    for added in &plan.delegations.remove {
        // What was cut from it since ends with it.
        end_all_below(tx, event, added, now, now)?;
    }
    let (ids, next) = next_versions(&plan.delegations);
    tx.replace_delegations(&ids, &next, now)?;
    record_delegations(tx, event, cause, &plan.delegations)?;
    let (ids, next) = next_versions(&plan.exclusions);
    tx.supersede_exclusions(&ids, now)?;
    tx.insert_exclusions(&next)?;
    tx.supersede_departures(&undoing.lifted, now)?;
    record_departures_again(tx, undoing, now)?;
    let restored = plan.allocations.restore.iter().map(|(_, next)| next);
    let changed = restored.chain(&plan.allocations.remove);
    let numbers: Vec<NumberRange> = changed.map(|row| row.numbers).collect();
    reconcile(tx, event, &numbers, now)
}

/// The ids of the superseded rows, and the rows to write.
fn next_versions<R: Undoable>(rows: &RowsToUndo<R>) -> (Vec<Uuid>, Vec<R>) {
    let restored = rows.restore.iter();
    let superseded = restored.clone().map(|(newest, _)| newest.row().id);
    let removed = rows.remove.iter().map(|row| row.row().id);
    let next = restored.map(|(_, next)| next.clone());
    (superseded.chain(removed).collect(), next.collect())
}

/// Numbers leave again with an exclusion that had been called off, and with the planned return of
/// an allocation that was moved.
fn record_departures_again(
    tx: &mut Tx<'_>,
    undoing: &Undoing,
    now: Time,
) -> Result<(), StoreError> {
    let excluded = undoing.plan.exclusions.restore.iter();
    let mut leaving: Vec<Leaving> = excluded
        .filter_map(|(_, next)| exclude::leaving(next, now))
        .collect();
    let causes: Vec<Uuid> = leaving.iter().map(|leaving| leaving.cause).collect();
    let known: HashSet<Uuid> = tx.departures_of(&causes)?.iter().map(|d| d.cause).collect();
    leaving.retain(|leaving| !known.contains(&leaving.cause));

    let held = undoing
        .plan
        .allocations
        .restore
        .iter()
        .map(|(_, next)| next);
    let ending: HashMap<Uuid, (NumberRange, Time)> = held
        .filter_map(|next| Some((next.row.id, (next.numbers, next.window.until()?))))
        .filter(|(_, (_, until))| *until > now)
        .collect();
    let ids: Vec<Uuid> = ending.keys().copied().collect();
    let mut returned = HashSet::new();
    for version in tx.allocation_versions(&ids)? {
        // It was once meant to last longer, so the end is that of a return.
        let longer = |(_, until): &(NumberRange, Time)| {
            version.window.until().is_none_or(|once| once > *until)
        };
        let id = version.row.id;
        if let Some((numbers, at)) = ending.get(&id).filter(|end| longer(end))
            && returned.insert(id)
        {
            leaving.push(Leaving {
                kind: DepartureKind::Returned,
                cause: id,
                numbers: *numbers,
                at: *at,
            });
        }
    }
    departures::record(tx, &leaving, now).map(drop)
}

/// Records each restored delegation in the trail of its account, and how many were removed.
fn record_delegations(
    tx: &mut Tx<'_>,
    event: &Event,
    cause: Uuid,
    rows: &RowsToUndo<Delegation>,
) -> Result<(), StoreError> {
    for (_, next) in &rows.restore {
        let event = event
            .of(AuditAction::RestoreDelegation)
            .about(&next.account);
        let detail = json!({ "with": cause, "valid_until": next.window.until() });
        tx.record(&event.done(&next.row.id, detail))?;
    }
    let mut removed: BTreeMap<&AccountId, u64> = BTreeMap::new();
    for row in &rows.remove {
        *removed.entry(&row.account).or_default() += 1;
    }
    for (account, count) in removed {
        let detail = json!({ "delegations_removed": count, "with": cause });
        tx.record(&event.about(account).done(account, detail))?;
    }
    Ok(())
}
