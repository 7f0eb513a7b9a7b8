//! Writes the difference that `difference` has found.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::difference::{ImportChange, TableChange};
use super::error::ImportError;
use crate::authority::acquisition::reconcile;
use crate::authority::delegate::{end_with_all_below, record_end};
use crate::authority::departures::{self, EndedDelegations, Leaving};
use crate::authority::withdraw;
use crate::domain::clock::Time;
use crate::domain::inventory::row_change::{RowChange, Undoable};
use crate::domain::inventory::{Allocation, Delegation, Versioned};
use crate::domain::{AccountId, Event, NumberRange};
use crate::store::Tx;

/// Writes the difference. What ends and what replaces it change at the same instant. Returns what
/// it did to each row, and the delegations that end because their numbers leave.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    event: &Event,
    change: &ImportChange,
    leaving: &[Leaving],
    now: Time,
) -> Result<(Vec<RowChange>, EndedDelegations), ImportError> {
    let mut changes = row_changes(&change.allocations, now);
    let (ids, rows) = next_versions(&change.allocations, now);
    tx.supersede_allocations(&ids, now)?;
    tx.insert_allocations(&rows)?;
    departures::call_off_return(tx, &ids, now)?;
    let ended = departures::record(tx, leaving, now)?;
    departures::record_ends(tx, event, &ended, |_| true)?;
    reconcile(tx, event, &numbers_of(&change.allocations), now)?;
    for (row, end) in &change.delegations.end {
        // Its sub-delegations end at the same instant.
        if let (ended, Some(changed)) = end_with_all_below(tx, event, row, *end, now)? {
            record_end(tx, event, &ended, *end, &changed)?;
            changes.extend(changed);
        }
    }
    changes.extend(change.delegations.add.iter().map(RowChange::added));
    insert_delegations(tx, &change.delegations.add)?;
    let mut accounts: BTreeMap<AccountId, u64> = BTreeMap::new();
    for delegation in &change.delegations.add {
        *accounts.entry(delegation.account.clone()).or_default() += 1;
    }
    record_delegations(tx, event, &accounts)?;
    changes.extend(row_changes(&change.exclusions, now));
    let (ids, rows) = next_versions(&change.exclusions, now);
    tx.supersede_exclusions(&ids, now)?;
    tx.insert_exclusions(&rows)?;
    Ok((changes, ended))
}

/// The numbers of all rows that are written.
fn numbers_of(change: &TableChange<Allocation>) -> Vec<NumberRange> {
    let ended = change.end.iter().map(|(row, _)| row);
    let rows = ended.chain(&change.keep).chain(&change.add);
    rows.map(|row| row.numbers).collect()
}

/// Inserts new delegations, all with the sequence of this change.
fn insert_delegations(tx: &mut Tx<'_>, added: &[Delegation]) -> Result<(), ImportError> {
    if added.is_empty() {
        return Ok(());
    }
    let sequence = tx.next_change()?;
    let mut added = added.to_vec();
    for row in &mut added {
        row.sequence = sequence;
    }
    Ok(tx.insert_delegations(&added)?)
}

/// Records for each account how many delegations it gets. The rows themselves say which.
pub(super) fn record_delegations(
    tx: &mut Tx<'_>,
    event: &Event,
    accounts: &BTreeMap<AccountId, u64>,
) -> Result<(), ImportError> {
    for (account, count) in accounts {
        let detail = json!({ "delegations_added": count });
        tx.record(&event.about(account).done(account, detail))?;
    }
    Ok(())
}

/// What a change does to each row of one table.
fn row_changes<R: Undoable>(change: &TableChange<R>, now: Time) -> Vec<RowChange> {
    let ended = change.end.iter().filter_map(|(row, end)| {
        let (ended, changed) = withdraw::ended(row, *end, now);
        changed.then(|| RowChange::ended(row, withdraw::still_held(&ended)))
    });
    let added = change.keep.iter().chain(&change.add);
    ended.chain(added.map(RowChange::added)).collect()
}

/// The ids of the superseded rows, and the rows to write.
pub(super) fn next_versions<R: Versioned + Clone>(
    change: &TableChange<R>,
    now: Time,
) -> (Vec<Uuid>, Vec<R>) {
    let mut ids = Vec::with_capacity(change.end.len());
    let mut rows = Vec::with_capacity(change.end.len() + change.keep.len() + change.add.len());
    for (row, end) in &change.end {
        let (ended, changed) = withdraw::ended(row, *end, now);
        if changed {
            ids.push(row.row().id);
            rows.extend(withdraw::still_held(&ended).cloned());
        }
    }
    rows.extend(change.keep.iter().chain(&change.add).cloned());
    (ids, rows)
}
