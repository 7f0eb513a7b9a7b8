//! What undoing a change does to each row that it changed.

use std::collections::HashMap;

use uuid::Uuid;

use super::otherwise;
use crate::authority::ChangeError;
use crate::domain::clock::Time;
use crate::domain::inventory::row_change::{ChangedVersions, RowChange, RowKind, Undoable};
use crate::domain::inventory::{Allocation, Delegation, Exclusion};
use crate::store::{StoreError, Tx};

/// The rows of one table.
#[derive(Debug)]
pub(super) struct RowsToUndo<R> {
    /// Rows that had ended: the newest version, and the one that replaces it.
    pub(super) restore: Vec<(R, R)>,
    /// Rows that were added, to be cancelled: the newest versions.
    pub(super) remove: Vec<R>,
}

impl<R> Default for RowsToUndo<R> {
    fn default() -> Self {
        Self {
            restore: Vec::new(),
            remove: Vec::new(),
        }
    }
}

impl<R> RowsToUndo<R> {
    pub(super) const fn is_empty(&self) -> bool {
        self.restore.is_empty() && self.remove.is_empty()
    }
}

/// What undoing a change does.
#[derive(Debug, Default)]
pub(super) struct UndoPlan {
    pub(super) allocations: RowsToUndo<Allocation>,
    pub(super) delegations: RowsToUndo<Delegation>,
    pub(super) exclusions: RowsToUndo<Exclusion>,
    /// How many rows have ended otherwise since, and stay as they are.
    pub(super) left: u64,
}

/// What undoing does to one row.
enum RowUndo<R> {
    Restore(R, R),
    Remove(R),
    /// The row has ended otherwise since.
    Leave,
}

/// Plans to undo `changes`, which `cause` made. Reads only.
///
/// # Errors
/// [`ChangeError::UndoFirst`] if a later import or disconnect changed one of the rows: what it
/// would restore depends on this one.
pub(super) fn plan(
    tx: &mut Tx<'_>,
    cause: Uuid,
    changes: &[RowChange],
    now: Time,
) -> Result<UndoPlan, ChangeError> {
    let mut left = 0;
    let versions = tx.allocation_versions(&ids::<Allocation>(changes))?;
    let allocations = plan_rows(tx, cause, changes, versions, now, &mut left)?;
    let versions = tx.delegation_versions(&ids::<Delegation>(changes))?;
    let delegations = plan_rows(tx, cause, changes, versions, now, &mut left)?;
    let versions = tx.exclusion_versions(&ids::<Exclusion>(changes))?;
    let exclusions = plan_rows(tx, cause, changes, versions, now, &mut left)?;
    Ok(UndoPlan {
        allocations,
        delegations,
        exclusions,
        left,
    })
}

fn ids<R: Undoable>(changes: &[RowChange]) -> Vec<Uuid> {
    let of_kind = changes.iter().filter(|change| change.kind == R::KIND);
    of_kind.map(|change| change.row).collect()
}

fn plan_rows<R: Undoable>(
    tx: &mut Tx<'_>,
    cause: Uuid,
    changes: &[RowChange],
    versions: Vec<R>,
    now: Time,
    left: &mut u64,
) -> Result<RowsToUndo<R>, ChangeError> {
    let mut by_row: HashMap<Uuid, Vec<R>> = HashMap::new();
    for version in versions {
        by_row.entry(version.row().id).or_default().push(version);
    }
    let (mut restore, mut remove) = (Vec::new(), Vec::new());
    for change in changes.iter().filter(|change| change.kind == R::KIND) {
        let versions = by_row.remove(&change.row).unwrap_or_default();
        let Some(newest) = versions.last() else {
            let missing = format!("{} {} is missing", R::KIND.as_str(), change.row);
            return Err(StoreError::Corrupt(missing).into());
        };
        let as_written = is_as_written(tx, change.versions.newest(), &versions)?;
        if !as_written {
            must_be_undone_last(tx, cause, change)?;
        }
        match row_undo(change.versions, &versions, newest, as_written, now) {
            RowUndo::Restore(newest, next) => restore.push((newest, next)),
            RowUndo::Remove(newest) => remove.push(newest),
            RowUndo::Leave => *left += 1,
        }
    }
    Ok(RowsToUndo { restore, remove })
}

fn row_undo<R: Undoable>(
    change: ChangedVersions,
    versions: &[R],
    newest: &R,
    as_written: bool,
    now: Time,
) -> RowUndo<R> {
    let restore = |before: i32| match version(versions, before) {
        Some(before) => {
            let next = newest.next_version(Some(before.window()), now);
            RowUndo::Restore(newest.clone(), next)
        }
        None => RowUndo::Leave,
    };
    let is_over = |row: &R| row.window().until().is_some_and(|until| until <= now);
    match change {
        ChangedVersions::Added(_) if is_cancelled(newest) => RowUndo::Leave,
        // An exclusion that is over still counts: numbers that left stay ended.
        ChangedVersions::Added(_) if R::KIND == RowKind::Exclusion => {
            RowUndo::Remove(newest.clone())
        }
        ChangedVersions::Added(_) if as_written || !is_over(newest) => {
            RowUndo::Remove(newest.clone())
        }
        ChangedVersions::Ended(before, _) if as_written => restore(before),
        ChangedVersions::Cancelled(before)
            if is_cancelled(newest) && newest.row().version == before =>
        {
            restore(before)
        }
        ChangedVersions::Added(_) | ChangedVersions::Ended(..) | ChangedVersions::Cancelled(_) => {
            RowUndo::Leave
        }
    }
}

/// Whether the row is as this version left it. Not necessarily the newest one: a later change that
/// was undone has left two more versions.
fn is_as_written<R: Undoable>(
    tx: &mut Tx<'_>,
    written: i32,
    versions: &[R],
) -> Result<bool, StoreError> {
    let Some(newest) = versions.last().filter(|newest| !is_cancelled(*newest)) else {
        return Ok(false);
    };
    if newest.row().version == written {
        return Ok(true);
    }
    // Another window needs no further question.
    if version(versions, written).is_none_or(|written| written.window() != newest.window()) {
        return Ok(false);
    }
    let changes = tx.changes_of_row(newest.row().id)?;
    Ok(otherwise::stands_for(versions, &changes) == Some(written))
}

fn version<R: Undoable>(versions: &[R], number: i32) -> Option<&R> {
    versions.iter().find(|row| row.row().version == number)
}

/// Whether this newest version of a row has been superseded, without a successor.
pub(super) fn is_cancelled<R: Undoable>(newest: &R) -> bool {
    newest.belief().superseded_at.is_some()
}

/// Refuses if another import or disconnect changed the row later, and was not undone.
fn must_be_undone_last(
    tx: &mut Tx<'_>,
    cause: Uuid,
    change: &RowChange,
) -> Result<(), ChangeError> {
    for (by, other) in tx.changes_of_row(change.row)? {
        let is_later = match other.versions {
            ChangedVersions::Added(_) => false,
            ChangedVersions::Ended(_, after) => after > change.versions.newest(),
            ChangedVersions::Cancelled(before) => before >= change.versions.newest(),
        };
        if by != cause && is_later && !is_undone(tx, by)? {
            return Err(ChangeError::UndoFirst {
                kind: change.kind.as_str(),
                id: change.row,
                by,
            });
        }
    }
    Ok(())
}

/// Whether an import or a disconnect was undone.
pub(super) fn is_undone(tx: &mut Tx<'_>, cause: Uuid) -> Result<bool, StoreError> {
    if let Some(job) = tx.job(cause)? {
        return Ok(job.undone.is_some());
    }
    let aging = tx.exclusion(cause)?;
    Ok(aging.is_some_and(|aging| is_cancelled(&aging)))
}
