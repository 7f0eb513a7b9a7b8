//! What departures leave of the facts of one decision: the parts of delegation chains, and of what
//! was delegated further, that still count.

use std::cmp::Reverse;

use super::cover::refused;
use super::delegation_chain::DelegationChain;
use super::denial::{RefusalCause, RefusedPart};
use super::departures::{DelegatedPart, ends, parts_of, split};
use super::{Facts, Question};
use crate::domain::clock::Time;
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{InventoryRow, RowRef};
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::range_index::Index;

/// The most pairs of a row and a departure that overlap, in one decision. They take a few
/// milliseconds.
const MAX_PAIRS: usize = 100_000;

/// The parts that count, and the numbers for which chains have ended.
#[derive(Debug, Default)]
pub(super) struct LiveParts<'a> {
    pub(super) chains: Vec<LivePart>,
    pub(super) lent_on: Vec<LivePart>,
    /// Numbers for which a chain has ended, and what ended it; in the order of the numbers.
    ended: Vec<(NumberRange, &'a Departure)>,
}

/// A part of a row that counts.
#[derive(Debug)]
pub(super) struct LivePart {
    row: RowRef,
    /// Its index among the chains.
    pub(super) of: usize,
    numbers: NumberRange,
    window: Window,
    /// When the newest of the rows that make it was recorded.
    recorded_at: Time,
}

impl InventoryRow for LivePart {
    fn row(&self) -> RowRef {
        self.row
    }
    fn numbers(&self) -> NumberRange {
        self.numbers
    }
    fn window(&self) -> Window {
        self.window
    }
    fn recorded_at(&self) -> Time {
        self.recorded_at
    }
}

impl<'a> LiveParts<'a> {
    /// Splits the chains and what was delegated further. `None` if that takes too much work.
    pub(super) fn of(
        chains: &[DelegationChain<'_>],
        facts: &'a Facts,
        question: &Question<'_>,
    ) -> Option<Self> {
        let departures = facts.departures.iter();
        let departures = Index::new(departures.map(|departure| (departure.numbers, departure)));
        let mut pairs_left = MAX_PAIRS;
        let mut near = |numbers| {
            let found: Vec<&'a Departure> = departures
                .touching(numbers)
                .map(|(_, departure)| *departure)
                .take(pairs_left.saturating_add(1))
                .collect();
            pairs_left = pairs_left.checked_sub(found.len())?;
            Some(found)
        };
        let mut live = Self::default();
        for (n, chain) in chains.iter().enumerate() {
            let ending = near(chain.numbers())?.into_iter().filter(|departure| {
                let mut rows = chain.delegations().iter();
                rows.any(|row| ends(departure, row))
            });
            for part in split(chain, ending) {
                live.ended.extend(ended_now(&part, question));
                live.chains.extend(LivePart::of(n, &part, chain));
            }
        }
        for (n, row) in facts.lent_on.iter().enumerate() {
            let parts = parts_of(row, near(row.numbers)?);
            let parts = parts.iter();
            live.lent_on
                .extend(parts.filter_map(|part| LivePart::of(n, part, row)));
        }
        live.ended
            .sort_by_key(|(numbers, departure)| (numbers.first(), Reverse(departure.at)));
        Some(live)
    }

    /// The refused parts, given the numbers that no live part covers now: each names a departure
    /// that ended the delegation.
    pub(super) fn refused(&self, missing: Vec<NumberRange>) -> Vec<RefusedPart> {
        let mut causes: Vec<(NumberRange, RefusalCause)> = Vec::new();
        for range in missing {
            let mut rest = Some(range);
            for (numbers, departure) in &self.ended {
                let Some((open, part)) = rest.and_then(|r| Some((r, r.intersection(*numbers)?)))
                else {
                    continue;
                };
                // Chains that ended by themselves, while the rest of another one left.
                let before = open.part_before(part.first());
                causes.extend(before.map(|numbers| (numbers, RefusalCause::NotDelegated)));
                let (kind, at) = (departure.kind, departure.at);
                causes.push((part, RefusalCause::DelegationEnded { kind, at }));
                rest = part.rest_until(range.last());
            }
            causes.extend(rest.map(|numbers| (numbers, RefusalCause::NotDelegated)));
        }
        let mut joined: Vec<(NumberRange, RefusalCause)> = Vec::new();
        for (numbers, cause) in causes {
            let last = joined.last_mut().filter(|(_, last)| *last == cause);
            match last.and_then(|last| Some((last.0.joined(numbers)?, last))) {
                Some((all, last)) => last.0 = all,
                None => joined.push((numbers, cause)),
            }
        }
        let each = joined.into_iter();
        each.flat_map(|(numbers, cause)| refused(vec![numbers], cause))
            .collect()
    }
}

impl LivePart {
    fn of(n: usize, part: &DelegatedPart<'_>, row: &impl InventoryRow) -> Option<Self> {
        let ended_at = part.ended_by.map(InventoryRow::recorded_at);
        Some(Self {
            row: row.row(),
            of: n,
            numbers: part.numbers,
            window: part.window?,
            recorded_at: ended_at.map_or(row.recorded_at(), |at| at.max(row.recorded_at())),
        })
    }
}

fn ended_now<'a>(
    part: &DelegatedPart<'a>,
    question: &Question<'_>,
) -> Option<(NumberRange, &'a Departure)> {
    let departure = part
        .ended_by
        .filter(|departure| departure.is_past(departure.at, question.now))?;
    Some((part.numbers, departure))
}
