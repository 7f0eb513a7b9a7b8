//! Rows that end otherwise than by the change that is undone: they stay as they are.

use uuid::Uuid;

use super::plan::is_cancelled;
use crate::domain::clock::Time;
use crate::domain::inventory::row_change::{ChangedVersions, RowChange, Undoable};
use crate::store::{StoreError, Tx};

/// The version that records the end of a row that ends by then already, if an import or a
/// disconnect ended it: without this version, undoing that would make the row valid again.
/// `versions` are all of the row.
pub(in crate::authority) fn ended_anyway<R: Undoable>(
    tx: &mut Tx<'_>,
    versions: &[R],
    now: Time,
) -> Result<Option<R>, StoreError> {
    let Some(newest) = versions.last() else {
        return Ok(None);
    };
    let changes = tx.changes_of_row(newest.row().id)?;
    let next = newest.next_version(Some(newest.window()), now);
    if is_cancelled(newest) {
        let cancelled = ChangedVersions::Cancelled(newest.row().version);
        let by_change = changes.iter().any(|(_, c)| c.versions == cancelled);
        // It never holds.
        return Ok(by_change.then(|| next.next_version(None, now)));
    }
    let current = stands_for(versions, &changes);
    let by_change = changes.iter().any(|(_, change)| match change.versions {
        ChangedVersions::Ended(_, after) => current == Some(after),
        ChangedVersions::Added(_) | ChangedVersions::Cancelled(_) => false,
    });
    Ok(by_change.then_some(next))
}

/// The version that the newest one is: itself, or the one that undoing later changes has restored.
/// An end is only ever postponed by undoing. `changes` are those of the row.
pub(super) fn stands_for<R: Undoable>(
    versions: &[R],
    changes: &[(Uuid, RowChange)],
) -> Option<i32> {
    let outlasts = |one: &R, other: &R| match (one.window().until(), other.window().until()) {
        (one, Some(other)) => one.is_none_or(|one| one > other),
        (_, None) => false,
    };
    let mut previous: Option<&R> = None;
    let mut standing: Vec<&R> = Vec::new();
    for version in versions {
        let is_back = previous.is_some_and(|previous| {
            let cancelled = ChangedVersions::Cancelled(previous.row().version);
            let at = previous.belief().superseded_at;
            outlasts(version, previous)
                || at.is_some_and(|at| at < version.recorded_at())
                || changes.iter().any(|(_, c)| c.versions == cancelled)
        });
        previous = Some(version);
        if is_back {
            while standing.last().is_some_and(|last| outlasts(version, last)) {
                standing.pop();
            }
            if (standing.last()).is_some_and(|last| last.window() == version.window()) {
                continue;
            }
        }
        standing.push(version);
    }
    standing.last().map(|version| version.row().version)
}
