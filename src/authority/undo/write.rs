//! Writes what `plan` has planned: one more version of each row that is restored, and none for a
//! row that is removed.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::Undoing;
use super::plan::RowsToUndo;
use crate::authority::ChangeError;
use crate::authority::delegate::end_all_below;
use crate::domain::clock::Time;
use crate::domain::inventory::Delegation;
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::row_change::Undoable;
use crate::domain::{AccountId, Event, new_id};
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
    tx.supersede_delegations(&ids, now)?;
    tx.insert_delegations(&next)?;
    record_delegations(tx, event, cause, &plan.delegations)?;
    let (ids, next) = next_versions(&plan.exclusions);
    tx.supersede_exclusions(&ids, now)?;
    tx.insert_exclusions(&next)?;
    tx.supersede_departures_of(&undoing.causes, now)?;
    record_departures_again(tx, undoing, now)?;
    Ok(())
}

/// The ids of the superseded rows, and the rows to write.
fn next_versions<R: Undoable>(rows: &RowsToUndo<R>) -> (Vec<Uuid>, Vec<R>) {
    let restored = rows.restore.iter();
    let superseded = restored.clone().map(|(newest, _)| newest.row().id);
    let removed = rows.remove.iter().map(|row| row.row().id);
    let next = restored.map(|(_, next)| next.clone());
    (superseded.chain(removed).collect(), next.collect())
}

/// Numbers that an exclusion takes out again leave again, if its end had called that off.
fn record_departures_again(
    tx: &mut Tx<'_>,
    undoing: &Undoing,
    now: Time,
) -> Result<(), StoreError> {
    let restored = undoing.plan.exclusions.restore.iter();
    let leaving: Vec<_> = restored
        .filter_map(|(_, next)| Some((next, DepartureKind::of(next.reason)?)))
        .collect();
    let ids: Vec<Uuid> = leaving.iter().map(|(row, _)| row.row.id).collect();
    let known = tx.departures_of(&ids)?;
    let mut missing = leaving;
    missing.retain(|(row, _)| !known.iter().any(|known| known.cause == row.row.id));
    if missing.is_empty() {
        return Ok(());
    }
    let sequence = tx.next_change()?;
    let missing = missing.into_iter().map(|(row, kind)| Departure {
        id: new_id(now),
        kind,
        cause: row.row.id,
        numbers: row.numbers,
        at: row.window.from(),
        sequence,
        belief: row.belief,
    });
    tx.insert_departures(&missing.collect::<Vec<_>>())
}

/// Records each restored delegation in the trail of its account, and how many were removed.
fn record_delegations(
    tx: &mut Tx<'_>,
    event: &Event,
    cause: Uuid,
    rows: &RowsToUndo<Delegation>,
) -> Result<(), StoreError> {
    for (_, next) in &rows.restore {
        let event = event.of("restore-delegation").about(&next.account);
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
