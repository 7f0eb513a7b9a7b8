//! What left does not revive: for which numbers, and until when, a delegation counts.
//!
//! A departure ends a delegation for its numbers, from the instant at which they leave:
//!
//! - if it was recorded after the delegation was made, whenever it takes effect. The sequences of
//!   the changes decide, since a script ports out and delegates anew within a second;
//! - if it was recorded earlier, but takes effect later: the delegation was made while the port-out
//!   was already planned, and starts before it. Numbers that have left already can be delegated:
//!   that is done knowingly, and the delegation counts when the numbers are back.
//!
//! Two kinds differ. Numbers that age stay with the holder of a block, who assigns them: that is
//! the delegation that the carrier made (not cut from another) and that may be delegated further.
//! And what the carrier acquires after a gap is there for delegations that start at that instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::domain::clock::Time;
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{Delegation, InventoryRow, RowRef};
use crate::domain::numbers::number::NumberRange;

/// Whether a departure, from its instant on, ends a delegation for the numbers that both have.
#[must_use]
pub fn ends(departure: &Departure, delegation: &Delegation) -> bool {
    let holds_block = delegation.cut_from.is_none() && delegation.lend_on;
    let planned_before = match departure.kind {
        DepartureKind::Aging if holds_block => return false,
        DepartureKind::PortedOut | DepartureKind::Aging | DepartureKind::Returned => {
            departure.at > delegation.made_at && departure.at >= delegation.window.from()
        }
        DepartureKind::Acquired => {
            departure.at > delegation.made_at && departure.at > delegation.window.from()
        }
    };
    departure.sequence > delegation.sequence || planned_before
}

/// A part of a delegation, for which it counts equally long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedPart<'a> {
    row: RowRef,
    pub numbers: NumberRange,
    /// When it counts; `None` if the numbers leave before it starts.
    pub window: Option<Window>,
    /// The departure that ends it, if one does before the delegation itself ends.
    pub ended_by: Option<&'a Departure>,
}

impl DelegatedPart<'_> {
    /// Whether it counts at an instant.
    #[must_use]
    pub fn counts_at(&self, at: Time) -> bool {
        self.window.is_some_and(|window| window.contains(at))
    }

    /// Whether it counts at an instant or later.
    #[must_use]
    pub fn counts_from(&self, instant: Time) -> bool {
        self.window
            .is_some_and(|window| window.until().is_none_or(|until| until > instant))
    }

    /// Whether it counts for any of these numbers at any instant of a window.
    #[must_use]
    pub fn overlaps(&self, numbers: NumberRange, window: Window) -> bool {
        self.numbers.intersection(numbers).is_some()
            && self.window.is_some_and(|own| own.overlaps(window))
    }
}

/// The parts of a delegation, in the order of their numbers. `departures` are those that count, in
/// any order; those that do not concern it are ignored.
#[must_use]
pub fn parts_of<'a>(
    delegation: &Delegation,
    departures: impl IntoIterator<Item = &'a Departure>,
) -> Vec<DelegatedPart<'a>> {
    let departures = departures.into_iter();
    let ending = departures.filter(|departure| ends(departure, delegation));
    split(delegation, ending)
}

/// Splits a row where departures end it. All of `ending` end it; of those with the same numbers the
/// earliest counts.
pub(super) fn split<'a>(
    row: &impl InventoryRow,
    ending: impl Iterator<Item = &'a Departure>,
) -> Vec<DelegatedPart<'a>> {
    let numbers = row.numbers();
    let mut by_first: Vec<&Departure> = ending
        .filter(|departure| departure.numbers.intersection(numbers).is_some())
        .collect();
    by_first.sort_unstable_by_key(|departure| (departure.numbers, departure.id));
    let mut ahead = by_first.iter().enumerate().peekable();
    let mut begun = BinaryHeap::new();
    let (mut parts, mut rest) = (Vec::new(), Some(numbers));
    while let Some(open) = rest {
        while let Some((n, departure)) =
            ahead.next_if(|(_, departure)| departure.numbers.first() <= open.first())
        {
            begun.push(Reverse((departure.at, n)));
        }
        let is_past = |n: usize| by_first[n].numbers.last() < open.first();
        while begun.peek().is_some_and(|Reverse((_, n))| is_past(*n)) {
            begun.pop();
        }
        let earliest = begun.peek().map(|Reverse((_, n))| by_first[*n]);
        // The earliest one rules until it ends, or until another begins that may be earlier.
        let next = ahead.peek().map(|(_, departure)| departure.numbers.first());
        let before_next = next.and_then(|next| open.part_before(next)).unwrap_or(open);
        let ruled = earliest.and_then(|departure| before_next.intersection(departure.numbers));
        let part = ruled.unwrap_or(before_next);
        rest = part.rest_until(numbers.last());
        push(&mut parts, part_of(row, part, earliest));
    }
    parts
}

fn part_of<'a>(
    row: &impl InventoryRow,
    numbers: NumberRange,
    departure: Option<&'a Departure>,
) -> DelegatedPart<'a> {
    let own = row.window();
    let ended_by = departure.filter(|d| own.until().is_none_or(|until| d.at < until));
    DelegatedPart {
        row: row.row(),
        numbers,
        window: match ended_by {
            Some(departure) => Window::new(own.from(), Some(departure.at)).ok(),
            None => Some(own),
        },
        ended_by,
    }
}

/// Adds a part, joined to the last one if the same departure ends both.
fn push<'a>(parts: &mut Vec<DelegatedPart<'a>>, next: DelegatedPart<'a>) {
    let same = |last: &&mut DelegatedPart<'a>| {
        last.ended_by.map(|departure| departure.id) == next.ended_by.map(|departure| departure.id)
    };
    let last = parts.last_mut().filter(same);
    match last.and_then(|last| last.numbers.joined(next.numbers).map(|all| (last, all))) {
        Some((last, all)) => last.numbers = all,
        None => parts.push(next),
    }
}
