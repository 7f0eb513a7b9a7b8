//! Numbers that the carrier did not hold just before: what was delegated when it held them earlier
//! does not revive.
//!
//! For an allocation that starts later, this is recorded in advance, since the numbers can be
//! delegated until then. Other allocations can fill the gap before it, or open it again; so each
//! change of allocations ends with [`reconcile`].

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use uuid::Uuid;

use super::departures::{self, Leaving, MAX_READ};
use super::{ChangeError, undo};
use crate::domain::clock::Time;
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::{Allocation, RecordedPeriod};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::{gaps, merged};
use crate::domain::{Event, NumberRange, new_id};
use crate::store::{StoreError, Tx, Versions};

/// The numbers of new allocations that the carrier did not hold just before they start, and that
/// are delegated from earlier, or can be until then. `replaced` are numbers whose allocation ends
/// now in the same change, and that are therefore held without a gap. The new ones may be written
/// already, or not.
pub(super) fn acquired(
    tx: &mut Tx<'_>,
    added: &[Allocation],
    replaced: &[NumberRange],
    now: Time,
) -> Result<Vec<Leaving>, StoreError> {
    let numbers = |rows: &[&Allocation]| rows.iter().map(|row| row.numbers).collect::<Vec<_>>();
    let all: Vec<&Allocation> = added.iter().collect();
    // Most new numbers have never been delegated, and need no other query.
    let delegated = tx.delegations_touching(&numbers(&all), from(now), MAX_READ + 1)?;
    let all_may_be = delegated.len() > MAX_READ;
    let delegated = Index::new(delegated.iter().map(|row| (row.numbers, ())));
    let is_delegated =
        |numbers: NumberRange| all_may_be || delegated.touching(numbers).next().is_some();
    let rows: Vec<&Allocation> = added
        .iter()
        .filter(|row| is_planned(row, now) || is_delegated(row.numbers))
        .collect();
    let starts = || rows.iter().map(|row| row.window.from());
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else {
        return Ok(Vec::new());
    };
    let before = Versions::HoldingIn {
        from: just_before(first),
        until: Some(last),
    };
    let held = tx.allocations_touching(&numbers(&rows), before, usize::MAX)?;
    let held = held.iter().chain(added);
    let held = Index::new(held.map(|row| (row.numbers, row.window)));
    let replaced = Index::new(replaced.iter().map(|numbers| (*numbers, ())));
    let begun: Vec<&Allocation> = rows
        .iter()
        .copied()
        .filter(|r| !is_planned(r, now))
        .collect();
    let added: HashSet<Uuid> = added.iter().map(|row| row.row.id).collect();
    let earlier = versions_held(tx, &numbers(&begun), now)?;
    let earlier = earlier.map(|rows| {
        let rows = rows.into_iter().filter(|row| !added.contains(&row.row.id));
        Index::new(rows.map(|row| (row.numbers, ())))
    });
    let mut leaving = Vec::new();
    for row in rows {
        let is_planned = is_planned(row, now);
        let before = just_before(row.window.from());
        let held = held.touching(row.numbers);
        let held = held.filter(|(_, window)| window.contains(before));
        let held = held.map(|(numbers, _)| *numbers);
        let replaced = replaced.touching(row.numbers).filter(|_| !is_planned);
        let replaced = replaced.map(|(numbers, ())| *numbers);
        let gained = gaps(row.numbers, held.chain(replaced)).into_iter();
        let gained = gained.filter(|numbers| is_planned || is_delegated(*numbers));
        for numbers in gained {
            // What was never held has never left: it is delegated for a later allocation.
            let never_held = match &earlier {
                Some(earlier) if !is_planned => {
                    let earlier = earlier.touching(numbers).map(|(numbers, ())| *numbers);
                    gaps(numbers, earlier)
                }
                Some(_) | None => Vec::new(),
            };
            let left = gaps(numbers, never_held).into_iter();
            leaving.extend(left.map(|numbers| starts_after_gap(row, numbers, now)));
        }
    }
    Ok(leaving)
}

/// Those of these numbers that the carrier holds or has once held, whatever became of that; `None`
/// if there are too many to tell.
pub(super) fn once_held(
    tx: &mut Tx<'_>,
    numbers: &[NumberRange],
    now: Time,
) -> Result<Option<Vec<NumberRange>>, StoreError> {
    let versions = versions_held(tx, numbers, now)?;
    Ok(versions.map(|rows| merged(rows.iter().map(|row| row.numbers).collect())))
}

/// The versions of allocations with these numbers that have begun; `None` if there are too many.
fn versions_held(
    tx: &mut Tx<'_>,
    numbers: &[NumberRange],
    now: Time,
) -> Result<Option<Vec<Allocation>>, StoreError> {
    if numbers.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut versions = tx.allocations_touching(numbers, Versions::All, MAX_READ + 1)?;
    if versions.len() > MAX_READ {
        return Ok(None);
    }
    versions.retain(|row| row.window.from() <= now);
    Ok(Some(versions))
}

/// The departures of planned allocations, by the allocation that causes them and its start.
type ByStart = HashMap<(Uuid, Time), Vec<NumberRange>>;

/// Records where planned allocations of these numbers now start after a gap, and calls off what no
/// longer does. Called after the allocations with these numbers have been changed.
///
/// # Errors
/// If a gap is filled, and a delegation that then does not end would overlap one that was made
/// since.
pub(super) fn reconcile(
    tx: &mut Tx<'_>,
    event: &Event,
    changed: &[NumberRange],
    now: Time,
) -> Result<(), ChangeError> {
    let changed = merged(changed.to_vec());
    if changed.is_empty() {
        return Ok(());
    }
    let mut planned = tx.allocations_touching(&changed, from(now), usize::MAX)?;
    planned.retain(|row| is_planned(row, now));
    planned.dedup_by_key(|row| row.row);
    let of_planned = planned.iter().map(|row| row.numbers);
    let numbers = merged(of_planned.clone().chain(changed).collect());
    let mut known = tx.planned_departures_touching(&numbers, now)?;
    known.retain(|departure| departure.kind == DepartureKind::Acquired);
    let held = tx.allocations_touching(&merged(of_planned.collect()), from(now), usize::MAX)?;
    let held = Index::new(held.into_iter().map(|row| (row.numbers, row.window)));
    let mut wanted: Vec<Leaving> = Vec::new();
    for row in &planned {
        let before = just_before(row.window.from());
        let held = held.touching(row.numbers);
        let held = held.filter(|(_, window)| window.contains(before));
        let gained = gaps(row.numbers, held.map(|(numbers, _)| *numbers)).into_iter();
        wanted.extend(gained.map(|numbers| starts_after_gap(row, numbers, now)));
    }
    call_off(tx, &known, &wanted, now)?;
    record_missing(tx, event, &known, &wanted, now)
}

/// Calls off departures of which no gap is left, wholly or in part.
fn call_off(
    tx: &mut Tx<'_>,
    known: &[Departure],
    wanted: &[Leaving],
    now: Time,
) -> Result<(), ChangeError> {
    let mut by_start = ByStart::new();
    for gap in wanted {
        let gaps = by_start.entry((gap.cause, gap.at)).or_default();
        gaps.push(gap.numbers);
    }
    let (mut ids, mut dropped, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for departure in known {
        let part = |numbers| Departure {
            numbers,
            ..departure.clone()
        };
        let gaps_left = by_start.get(&(departure.cause, departure.at));
        let gaps_left = gaps_left.into_iter().flatten().copied();
        let filled = gaps(departure.numbers, gaps_left);
        if filled.is_empty() {
            continue;
        }
        ids.push(departure.id);
        kept.extend(
            gaps(departure.numbers, filled.iter().copied())
                .into_iter()
                .map(|numbers| Departure {
                    id: new_id(now),
                    belief: RecordedPeriod {
                        recorded_at: now,
                        superseded_at: None,
                    },
                    ..part(numbers)
                }),
        );
        dropped.extend(filled.into_iter().map(part));
    }
    undo::must_not_conflict(tx, &dropped, now)?;
    tx.supersede_departures(&ids, now)?;
    Ok(tx.insert_departures(&kept)?)
}

/// Records the gaps that are not recorded yet. If one had been recorded before and was filled
/// since, it ends what it ended then: what was delegated since for the time after it counts.
fn record_missing(
    tx: &mut Tx<'_>,
    event: &Event,
    known: &[Departure],
    wanted: &[Leaving],
    now: Time,
) -> Result<(), ChangeError> {
    let mut by_start = ByStart::new();
    for departure in known {
        let recorded = by_start.entry((departure.cause, departure.at)).or_default();
        recorded.push(departure.numbers);
    }
    let mut missing = Vec::new();
    for gap in wanted {
        let recorded = by_start.get(&(gap.cause, gap.at)).into_iter().flatten();
        let open = gaps(gap.numbers, recorded.copied()).into_iter();
        missing.extend(open.map(|numbers| Leaving { numbers, ..*gap }));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let numbers: Vec<NumberRange> = missing.iter().map(|gap| gap.numbers).collect();
    let earlier = tx.departures_touching(&numbers, Versions::All, MAX_READ)?;
    let mut departures = departures::planned(&missing, tx.next_change()?, now);
    for departure in &mut departures {
        let same = earlier.iter().filter(|earlier| {
            (earlier.kind, earlier.cause, earlier.at)
                == (departure.kind, departure.cause, departure.at)
        });
        let first = same.map(|earlier| earlier.sequence).min();
        departure.sequence = first.unwrap_or(departure.sequence);
    }
    let ended = departures::ended_by(tx, &departures)?;
    tx.insert_departures(&departures)?;
    Ok(departures::record_ends(tx, event, &ended, |_| true)?)
}

fn starts_after_gap(row: &Allocation, numbers: NumberRange, now: Time) -> Leaving {
    Leaving {
        kind: DepartureKind::Acquired,
        cause: row.row.id,
        numbers,
        at: row.window.from().max(now),
    }
}

fn is_planned(row: &Allocation, now: Time) -> bool {
    row.window.from() > now
}

/// The rows that are valid now or later.
const fn from(now: Time) -> Versions {
    Versions::HoldingIn {
        from: now,
        until: None,
    }
}

fn just_before(instant: Time) -> Time {
    instant - TimeDelta::seconds(1)
}
