//! Departures: numbers leave, and the delegations that covered them end for them, in the same
//! transaction. `domain::decision::departures` has the rule.

use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;

use super::ChangeError;
use crate::domain::clock::Time;
use crate::domain::decision::departures::{DelegatedPart, parts_of};
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::withdrawal::EndingRow;
use crate::domain::inventory::{Delegation, RecordedPeriod};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AuditAction, Event, NumberRange, Window, new_id};
use crate::store::{StoreError, Tx, Versions};

/// The most delegations that one change reads to say which of them end, and the most departures
/// that a question reads.
pub(super) const MAX_READ: usize = 20_000;
/// The most delegations that one change reads to find those that count. Those that ended because
/// their numbers left stay rows without an end, so there can be many more than count.
pub(super) const MAX_WITH_ENDED: usize = 200_000;
/// The most delegations that an answer lists, and the most ranges of one of them.
const MAX_LISTED: usize = 100;

/// Numbers that leave, and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) kind: DepartureKind,
    /// The exclusion or allocation.
    pub(super) cause: Uuid,
    pub(super) numbers: NumberRange,
    pub(super) at: Time,
}

/// The delegations that a change ended, wholly or for some of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndedDelegations {
    pub delegations: Vec<EndedDelegation>,
    /// Whether there are more than listed here.
    pub more: bool,
}

/// A delegation that ended because numbers left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedDelegation {
    pub row: Delegation,
    /// Whether nothing of it is left; else the rest goes on.
    pub whole: bool,
    pub ended_for: Vec<EndedPart>,
    /// Whether there are more parts than listed here.
    pub more: bool,
}

/// Numbers for which a delegation ended before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedPart {
    pub numbers: NumberRange,
    pub at: Time,
    pub kind: DepartureKind,
    pub cause: EndingRow,
}

/// A delegation, and for which of its numbers it ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationStatus {
    /// If all numbers have left or are known to leave, its window ends with the last of them.
    pub row: Delegation,
    pub ended_for: Vec<EndedPart>,
    /// Whether there are more parts than listed here.
    pub more: bool,
}

/// Records that numbers leave, and returns the delegations that this ends.
pub(super) fn record(
    tx: &mut Tx<'_>,
    leaving: &[Leaving],
    now: Time,
) -> Result<EndedDelegations, StoreError> {
    if leaving.is_empty() {
        return Ok(EndedDelegations::default());
    }
    let sequence = tx.next_change()?;
    let departures = planned(leaving, sequence, now);
    let ended = ended_by(tx, &departures)?;
    tx.insert_departures(&departures)?;
    Ok(ended)
}

/// Records the listed ends in the audit trail of each account, except for those that are recorded
/// otherwise. The number of delegations that end has no bound; what is listed has.
pub(super) fn record_ends(
    tx: &mut Tx<'_>,
    event: &Event,
    ended: &EndedDelegations,
    is_meant: impl Fn(&Delegation) -> bool,
) -> Result<(), StoreError> {
    for ended in ended
        .delegations
        .iter()
        .filter(|ended| is_meant(&ended.row))
    {
        let event = event
            .of(AuditAction::EndDelegation)
            .about(&ended.row.account);
        let parts = ended.ended_for.iter().map(|part| {
            json!({ "numbers": part.numbers, "at": part.at, "reason": part.kind.as_str(), "cause": part.cause.to_string() })
        });
        let detail = json!({
            "whole": ended.whole, "ended_for": parts.collect::<Vec<_>>(), "more": ended.more,
        });
        tx.record(&event.done(&ended.row.row.id, detail))?;
    }
    Ok(())
}

/// Calls off the returns of these allocations that are planned but have not taken place.
pub(super) fn call_off_return(
    tx: &mut Tx<'_>,
    allocations: &[Uuid],
    now: Time,
) -> Result<(), StoreError> {
    let known = tx.departures_of(allocations)?.into_iter();
    let planned = known.filter(|d| d.kind == DepartureKind::Returned && d.at > now);
    let planned: Vec<Uuid> = planned.map(|departure| departure.id).collect();
    tx.supersede_departures(&planned, now).map(drop)
}

/// The departures of these numbers, as they would be recorded.
pub(super) fn planned(leaving: &[Leaving], sequence: i64, now: Time) -> Vec<Departure> {
    let departure = |leaving: &Leaving| Departure {
        id: new_id(now),
        kind: leaving.kind,
        cause: leaving.cause,
        numbers: leaving.numbers,
        at: leaving.at,
        sequence,
        belief: RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
    };
    leaving.iter().map(departure).collect()
}

/// The delegations that departures end that are not recorded yet.
pub(super) fn ended_by(
    tx: &mut Tx<'_>,
    departures: &[Departure],
) -> Result<EndedDelegations, StoreError> {
    let numbers: Vec<NumberRange> = departures.iter().map(|d| d.numbers).collect();
    let times = || departures.iter().map(|departure| departure.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(EndedDelegations::default());
    };
    let from_then_on = Versions::HoldingIn {
        from: first,
        until: None,
    };
    let mut found = tx.delegations_touching(&numbers, from_then_on, MAX_READ + 1)?;
    found.dedup_by_key(|row| row.row);
    let more = found.len() > MAX_READ;
    let known = KnownDepartures::of(tx, &found)?;
    let ids: HashSet<Uuid> = departures.iter().map(|departure| departure.id).collect();
    let new = Index::new(departures.iter().map(|d| (d.numbers, d.clone())));
    let mut ended = EndedDelegations {
        delegations: Vec::new(),
        more: more || !known.complete,
    };
    for row in found {
        let all = || known.near(row.numbers).chain(near(&new, row.numbers));
        let parts = parts_of(&row, all());
        let is_new = |part: &&DelegatedPart<'_>| {
            let by = part.ended_by;
            by.is_some_and(|by| ids.contains(&by.id))
        };
        if !parts.iter().any(|part| is_new(&part)) {
            continue;
        }
        if ended.delegations.len() == MAX_LISTED {
            ended.more = true;
            break;
        }
        let (ended_for, more) = listed(parts.iter().filter(is_new));
        // What is only planned to leave later still counts until then.
        let has_ended = |part: &DelegatedPart<'_>| part.ended_by.is_some_and(|by| by.at <= last);
        let whole = known.complete && parts.iter().all(has_ended);
        ended.delegations.push(EndedDelegation {
            row,
            whole,
            ended_for,
            more,
        });
    }
    Ok(ended)
}

/// These delegations, each with the numbers for which it ended early.
pub(super) fn statuses(
    tx: &mut Tx<'_>,
    rows: Vec<Delegation>,
) -> Result<Vec<DelegationStatus>, StoreError> {
    let known = KnownDepartures::of(tx, &rows)?;
    Ok(rows.into_iter().map(|row| known.status(row)).collect())
}

/// The departures that concern some delegations.
pub(super) struct KnownDepartures {
    index: Index<Departure>,
    /// Whether all were read. If not, what they say of a delegation may be too much.
    complete: bool,
}

impl KnownDepartures {
    /// The departures of the numbers of these delegations.
    pub(super) fn of(tx: &mut Tx<'_>, rows: &[Delegation]) -> Result<Self, StoreError> {
        let numbers: Vec<NumberRange> = rows.iter().map(|row| row.numbers).collect();
        Self::touching(tx, &numbers)
    }

    /// The departures of these numbers, planned ones included.
    pub(super) fn touching(tx: &mut Tx<'_>, numbers: &[NumberRange]) -> Result<Self, StoreError> {
        let mut found = if numbers.is_empty() {
            Vec::new()
        } else {
            tx.departures_touching(numbers, EVER, MAX_READ + 1)?
        };
        let complete = found.len() <= MAX_READ;
        found.truncate(MAX_READ);
        Ok(Self {
            index: Index::new(found.into_iter().map(|row| (row.numbers, row))),
            complete,
        })
    }

    /// The same, for a change, which must know all of them.
    ///
    /// # Errors
    /// [`ChangeError::TooFragmented`] if there are too many.
    pub(super) fn all_touching(
        tx: &mut Tx<'_>,
        numbers: &[NumberRange],
    ) -> Result<Self, ChangeError> {
        let known = Self::touching(tx, numbers)?;
        if known.complete {
            Ok(known)
        } else {
            Err(ChangeError::TooFragmented { limit: MAX_READ })
        }
    }

    /// All departures, for a table of any size.
    pub(super) fn of_table(tx: &mut Tx<'_>, numbers: &[NumberRange]) -> Result<Self, StoreError> {
        let found = tx.departures_touching(numbers, EVER, usize::MAX)?;
        Ok(Self {
            index: Index::new(found.into_iter().map(|row| (row.numbers, row))),
            complete: true,
        })
    }

    fn near(&self, numbers: NumberRange) -> impl Iterator<Item = &Departure> {
        near(&self.index, numbers)
    }

    /// The parts of a delegation: for how long it counts for which numbers.
    pub(super) fn parts_of(&self, row: &Delegation) -> Vec<DelegatedPart<'_>> {
        parts_of(row, self.near(row.numbers))
    }

    /// Whether a delegation counts for any of these numbers at any instant of a window.
    pub(super) fn leave_any(&self, row: &Delegation, numbers: NumberRange, window: Window) -> bool {
        let parts = self.parts_of(row);
        parts.iter().any(|part| part.overlaps(numbers, window))
    }

    /// Those of these numbers for which a delegation does not count at an instant.
    pub(super) fn missing(
        &self,
        row: &Delegation,
        numbers: NumberRange,
        at: Time,
    ) -> Vec<NumberRange> {
        let parts = self.parts_of(row).into_iter();
        let live = parts.filter(|part| part.counts_at(at));
        gaps(numbers, live.map(|part| part.numbers))
    }

    fn status(&self, mut row: Delegation) -> DelegationStatus {
        let parts = self.parts_of(&row);
        let ended = parts.iter().filter(|part| part.ended_by.is_some());
        let (ended_for, more) = listed(ended);
        let is_ended = self.complete && parts.iter().all(|part| part.ended_by.is_some());
        let last = parts
            .iter()
            .filter_map(|part| Some(part.ended_by?.at))
            .max();
        if let Some(end) = last.filter(|_| is_ended) {
            // If they leave before it starts, it has no window; `ended_for` says so.
            row.window = Window::new(row.window.from(), Some(end)).unwrap_or(row.window);
        }
        DelegationStatus {
            row,
            ended_for,
            more: more || !self.complete,
        }
    }
}

/// Departures of any time.
const EVER: Versions = Versions::HoldingIn {
    from: chrono::DateTime::UNIX_EPOCH,
    until: None,
};

fn near(index: &Index<Departure>, numbers: NumberRange) -> impl Iterator<Item = &Departure> {
    index.touching(numbers).map(|(_, departure)| departure)
}

/// The first of these parts, and whether there are more.
fn listed<'a>(parts: impl Iterator<Item = &'a DelegatedPart<'a>>) -> (Vec<EndedPart>, bool) {
    let ended = parts.filter_map(|part| {
        let by = part.ended_by?;
        Some(EndedPart {
            numbers: part.numbers,
            at: by.at,
            kind: by.kind,
            cause: by.caused_by(),
        })
    });
    let mut ended: Vec<EndedPart> = ended.take(MAX_LISTED + 1).collect();
    let more = ended.len() > MAX_LISTED;
    ended.truncate(MAX_LISTED);
    (ended, more)
}
