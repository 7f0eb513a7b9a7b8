//! What has happened since, so that a change can no longer be undone: the numbers are held or
//! delegated otherwise.

use std::collections::HashSet;

use uuid::Uuid;

use super::plan::UndoPlan;
use super::still_blocked::Released;
use crate::authority::ChangeError;
use crate::authority::departures::KnownDepartures;
use crate::domain::clock::Time;
use crate::domain::decision::departures::{ends, parts_of};
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::row_change::{ChangedVersions, RowChange};
use crate::domain::inventory::{Allocation, Delegation};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{NumberRange, Window};
use crate::store::{Tx, Versions};

/// The most current and future rows of one table with the numbers of a change that is undone.
const MAX_ROWS: usize = 200_000;

/// A part of a delegation that counts again, or that counts anyway.
struct CountingPart<'a> {
    of: &'a Delegation,
    window: Window,
    is_back: bool,
}

/// The rows that hold now or later.
fn from(now: Time) -> Versions {
    Versions::HoldingIn {
        from: now,
        until: None,
    }
}

/// When a window is valid, from now on.
fn rest(window: Window, now: Time) -> Option<Window> {
    Window::new(window.from().max(now), window.until()).ok()
}

/// Refuses allocations that would overlap others, now or later.
pub(super) fn must_be_free(tx: &mut Tx<'_>, plan: &UndoPlan, now: Time) -> Result<(), ChangeError> {
    let back: Vec<&Allocation> = plan.allocations.restore.iter().map(|(_, n)| n).collect();
    let numbers: Vec<NumberRange> = back.iter().map(|row| row.numbers).collect();
    let ids: HashSet<Uuid> = (back.iter().map(|row| row.row.id))
        .chain(plan.allocations.remove.iter().map(|row| row.row.id))
        .collect();
    let others = tx.allocations_touching(&numbers, from(now), MAX_ROWS + 1)?;
    if others.len() > MAX_ROWS {
        return Err(ChangeError::TooFragmented { limit: MAX_ROWS });
    }
    let others = others.into_iter().filter(|row| !ids.contains(&row.row.id));
    let others = Index::new(others.map(|row| (row.numbers, row)));
    for row in back {
        let Some(window) = rest(row.window, now) else {
            continue;
        };
        let mut touching = others.touching(row.numbers).map(|(_, other)| other);
        if let Some(other) = touching.find(|other| other.window.overlaps(window)) {
            return Err(overlap_or_undo_first(tx, other)?);
        }
    }
    Ok(())
}

/// An allocation that an import has added since makes way only if that import is undone: to return
/// it would end what is to be restored.
fn overlap_or_undo_first(tx: &mut Tx<'_>, other: &Allocation) -> Result<ChangeError, ChangeError> {
    let (kind, id) = ("allocation", other.row.id);
    let changes = tx.changes_of_row(id)?;
    let added =
        |(_, change): &(Uuid, RowChange)| matches!(change.versions, ChangedVersions::Added(_));
    Ok(match changes.into_iter().find(added) {
        Some((by, _)) => ChangeError::UndoFirst { kind, id, by },
        None => ChangeError::Overlap {
            numbers: other.numbers,
            kind,
            id,
        },
    })
}

/// The delegations that `lifted` departures had ended, and the restored rows: which of them count
/// again, and which something else ends. Refuses if any would overlap another delegation beside it,
/// now or later.
pub(super) fn released(
    tx: &mut Tx<'_>,
    plan: &UndoPlan,
    lifted: &[Departure],
    now: Time,
) -> Result<Released, ChangeError> {
    let restored: Vec<&Delegation> = plan.delegations.restore.iter().map(|(_, n)| n).collect();
    let numbers: Vec<NumberRange> = (restored.iter().map(|row| row.numbers))
        .chain(lifted.iter().map(|departure| departure.numbers))
        .collect();
    if numbers.is_empty() {
        return Ok(Released::default());
    }
    let mut known = tx.delegations_occupying(&numbers, from(now), MAX_ROWS + 1)?;
    // A row that overlaps several ranges is found once for each.
    known.dedup_by_key(|row| row.row);
    let mut remaining = tx.departures_touching(
        &numbers,
        Versions::HoldingIn {
            from: chrono::DateTime::UNIX_EPOCH,
            until: None,
        },
        MAX_ROWS + 1,
    )?;
    if known.len().max(remaining.len()) > MAX_ROWS {
        return Err(ChangeError::TooFragmented { limit: MAX_ROWS });
    }
    let are_lifted: HashSet<Uuid> = lifted.iter().map(|departure| departure.id).collect();
    remaining.retain(|departure| !are_lifted.contains(&departure.id));
    let replaced: HashSet<Uuid> = (restored.iter().map(|row| row.row.id))
        .chain(plan.delegations.remove.iter().map(|row| row.row.id))
        .collect();
    known.retain(|row| !replaced.contains(&row.row.id));

    let remaining = Index::new(remaining.iter().map(|d| (d.numbers, d)));
    let lifted = Index::new(lifted.iter().map(|d| (d.numbers, d)));
    let all_parts = |row: &Delegation| {
        let departures = remaining.touching(row.numbers).map(|(_, d)| *d);
        parts_of(row, departures)
    };
    let parts = |row: &Delegation| {
        let parts = all_parts(row).into_iter();
        let parts = parts.filter_map(|part| Some((part.numbers, rest(part.window?, now)?)));
        parts.collect::<Vec<_>>()
    };
    let mut back = Vec::new();
    let mut all = Vec::new();
    let mut released = Released::default();
    for row in restored {
        let counting = parts(row);
        if counting.is_empty() {
            let ended = [(row.numbers, row.window.from())];
            released.ended_otherwise(row, &all_parts(row), &ended, now);
        } else {
            released.again.push(row.clone());
        }
        for (numbers, window) in counting {
            back.push((numbers, row, window));
            all.push((
                numbers,
                CountingPart {
                    of: row,
                    window,
                    is_back: true,
                },
            ));
        }
    }
    for row in &known {
        let ended: Vec<(NumberRange, Time)> = (lifted.touching(row.numbers))
            .filter(|(_, departure)| ends(departure, row))
            .map(|(numbers, departure)| (*numbers, departure.at))
            .collect();
        let mut counts_again = false;
        for (numbers, window) in parts(row) {
            let again = ended.iter();
            let again = again.filter_map(|(ended, _)| ended.intersection(numbers));
            let before = back.len();
            back.extend(again.map(|numbers| (numbers, row, window)));
            let is_back = back.len() > before;
            counts_again |= is_back;
            all.push((
                numbers,
                CountingPart {
                    of: row,
                    window,
                    is_back,
                },
            ));
        }
        if counts_again {
            released.again.push(row.clone());
        }
        if !ended.is_empty() {
            released.ended_otherwise(row, &all_parts(row), &ended, now);
        }
    }
    must_not_overlap(all, &back)?;
    Ok(released)
}

/// Refuses parts that count again and overlap a part of another delegation beside them.
fn must_not_overlap(
    all: Vec<(NumberRange, CountingPart<'_>)>,
    back: &[(NumberRange, &Delegation, Window)],
) -> Result<(), ChangeError> {
    let all = Index::new(all.into_iter());
    for (numbers, row, window) in back.iter().copied() {
        let beside = |other: &Delegation| {
            let parent = |row: &Delegation| row.cut_from.as_ref().map(|from| from.parent);
            other.row.id != row.row.id && parent(other) == parent(row)
        };
        let conflicts = all
            .touching(numbers)
            .filter(|(_, other)| beside(other.of) && other.window.overlaps(window));
        // Of two that both count again, the one that was made later is named.
        let first = conflicts.max_by_key(|(_, other)| (!other.is_back, other.of.sequence));
        if let Some((theirs, other)) = first {
            return Err(ChangeError::Overlap {
                numbers: theirs.intersection(numbers).unwrap_or(numbers),
                kind: "delegation",
                id: other.of.row.id,
            });
        }
    }
    Ok(())
}

/// The numbers of removed allocations that the carrier then no longer holds, each with the
/// allocation.
pub(super) fn lost(plan: &UndoPlan, now: Time) -> Vec<(NumberRange, &Allocation)> {
    let restored =
        Index::new((plan.allocations.restore.iter()).map(|(_, n)| (n.numbers, n.window)));
    let mut lost = Vec::new();
    for row in &plan.allocations.remove {
        let Some(window) = rest(row.window, now) else {
            continue;
        };
        let covered = restored.touching(row.numbers);
        let covered = covered.filter(|(_, theirs)| theirs.encloses(window));
        let missing = gaps(row.numbers, covered.map(|(numbers, _)| *numbers));
        lost.extend(missing.into_iter().map(|numbers| (numbers, row)));
    }
    lost
}

/// Refuses to remove allocations whose numbers are delegated: the delegations were made since, or
/// they would have ended when the numbers were acquired.
pub(super) fn must_be_unused(
    tx: &mut Tx<'_>,
    lost: &[(NumberRange, &Allocation)],
    now: Time,
) -> Result<(), ChangeError> {
    let numbers: Vec<NumberRange> = lost.iter().map(|(numbers, _)| *numbers).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let users = tx.delegations_touching(&numbers, from(now), MAX_ROWS + 1)?;
    if users.len() > MAX_ROWS {
        return Err(ChangeError::TooFragmented { limit: MAX_ROWS });
    }
    let left = KnownDepartures::of_table(tx, &numbers)?;
    let lost = Index::new(lost.iter().map(|(numbers, row)| (*numbers, row.window)));
    for user in users {
        let used = lost.touching(user.numbers);
        let used = used.filter_map(|(numbers, window)| {
            let numbers = numbers.intersection(user.numbers)?;
            Some((numbers, rest(*window, now)?))
        });
        for (numbers, window) in used {
            if left.leave_any(&user, numbers, window) {
                let id = user.row.id;
                return Err(ChangeError::InUse { numbers, id });
            }
        }
    }
    Ok(())
}
