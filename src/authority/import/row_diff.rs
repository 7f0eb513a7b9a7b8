//! The difference between the rows that a CSV file names and those in the database. Pure.
//!
//! A line that equals an existing row leaves it unchanged. A line with an earlier end ends the
//! existing row then; an end is never postponed. Any other line adds a row, if its numbers are free
//! in its period.

use std::collections::HashMap;

use uuid::Uuid;

use super::outcome::Amount;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::inventory::{Allocation, Delegation, Exclusion, InventoryRow, Versioned};
use crate::domain::numbers::range_index::Index;
use crate::domain::{NumberRange, Window};
use crate::tables::RefusedLines;
use crate::tables::{AllocationRow, DelegationRow, ExclusionRow, TableRow};

/// How many lines with overlapping numbers are compared with one line. Bounds the time for a file
/// that names the same numbers on each line.
const MAX_OVERLAPPING: usize = 1_000;

/// A CSV line that can be compared with rows of one kind.
pub(super) trait Reconcile {
    type Known: Versioned + Clone;
    /// The name of the rows, for messages.
    const KIND: &'static str;
    /// Whether an existing row has the same content, apart from numbers and window.
    fn same(&self, known: &Self::Known) -> bool;
    /// Whether the line conflicts with an existing row that has some of its numbers at the same
    /// time.
    fn excludes(&self, known: &Self::Known) -> bool;
    /// The same for another line of the file.
    fn excludes_line(&self, other: &Self) -> bool;
}

impl Reconcile for AllocationRow {
    type Known = Allocation;
    const KIND: &'static str = "allocation";

    fn same(&self, known: &Allocation) -> bool {
        self.spc == known.spc && self.basis == known.basis
    }

    fn excludes(&self, _: &Allocation) -> bool {
        true
    }

    fn excludes_line(&self, _: &Self) -> bool {
        true
    }
}

impl Reconcile for DelegationRow {
    type Known = Delegation;
    const KIND: &'static str = "delegation";

    fn same(&self, known: &Delegation) -> bool {
        self.account == known.account
            && self.ca == known.ca
            && self.lend_on == known.lend_on
            && self.reference == known.reference
    }

    fn excludes(&self, _: &Delegation) -> bool {
        true
    }

    fn excludes_line(&self, _: &Self) -> bool {
        true
    }
}

impl Reconcile for ExclusionRow {
    type Known = Exclusion;
    const KIND: &'static str = "exclusion";

    fn same(&self, known: &Exclusion) -> bool {
        self.reason == known.reason
    }

    /// Never: a number can be excluded for several reasons at once.
    fn excludes(&self, _: &Exclusion) -> bool {
        false
    }

    fn excludes_line(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}

/// The changes that the lines of a CSV file ask for.
#[derive(Debug)]
pub(super) struct Plan<T: Reconcile> {
    pub(super) add: Vec<(TableRow<T>, Window)>,
    /// Existing rows to end, and when.
    pub(super) end: Vec<(T::Known, Time)>,
    pub(super) unchanged: Amount,
    /// How many existing rows end earlier than the file says; their ends stay.
    pub(super) ends_kept: u64,
}

/// Compares lines with `known`: the newest versions of all rows that overlap their numbers, also of
/// rows that have ended. `counts` says whether a row counts for any of some numbers in a window.
pub(super) fn plan<T: Reconcile>(
    rows: Vec<TableRow<T>>,
    known: Vec<T::Known>,
    now: Time,
    counts: impl Fn(&T::Known, NumberRange, Window) -> bool,
    refused: &mut RefusedLines,
) -> Plan<T> {
    let known = Index::new(known.into_iter().map(|row| (row.numbers(), row)));
    let mut plan = Plan {
        add: Vec::new(),
        end: Vec::new(),
        unchanged: Amount::default(),
        ends_kept: 0,
    };
    let mut named: HashMap<Uuid, u64> = HashMap::new();
    let mut ends: HashMap<Uuid, Time> = HashMap::new();
    for row in rows {
        let Some(found) = existing_row(&row, &known, now) else {
            match window(&row, now) {
                Ok(window) => plan.add.push((row, window)),
                Err(why) => refused.add(row.line, why),
            }
            continue;
        };
        let id = found.row().id;
        if let Some(line) = named.insert(id, row.line) {
            refused.add(row.line, format!("repeats line {line}"));
            continue;
        }
        match (row.valid_until, found.window().until()) {
            (Some(said), known) if known.is_none_or(|known| said < known) => {
                if said <= now {
                    refused.add(row.line, end_is_past(&said));
                } else {
                    ends.insert(id, said);
                    plan.end.push((found.clone(), said));
                }
            }
            (said, known) => {
                plan.ends_kept += u64::from(said != known);
                plan.unchanged.ranges += 1;
                plan.unchanged.numbers += row.numbers.count();
            }
        }
    }
    let conflict = |row: &TableRow<T>, window: Window| -> Option<String> {
        let mut touching = known.touching(row.numbers).map(|(_, known)| known);
        let other = touching.find(|known| {
            let until = ends.get(&known.row().id).copied();
            let until = until.or(known.window().until());
            let theirs = Window::new(known.window().from(), until);
            row.of.excludes(known)
                && theirs.is_ok_and(|theirs| theirs.overlaps(window))
                && counts(known, row.numbers, window)
        })?;
        let (numbers, id) = (other.numbers(), other.row().id);
        Some(format!("overlaps {numbers} of {} {id}", T::KIND))
    };
    plan.add
        .retain(|(row, window)| match conflict(row, *window) {
            None => true,
            Some(why) => {
                refused.add(row.line, why);
                false
            }
        });
    refuse_overlapping_lines(&mut plan.add, refused);
    plan
}

/// The existing row that a line refers to. A line without `valid_from` refers to the one that is
/// valid now.
fn existing_row<'a, T: Reconcile>(
    row: &TableRow<T>,
    known: &'a Index<T::Known>,
    now: Time,
) -> Option<&'a T::Known> {
    let mut touching = known.touching(row.numbers).map(|(_, known)| known);
    touching.find(|known| {
        let theirs = known.window();
        let same_start = match row.valid_from {
            Some(from) => theirs.from() == from,
            None => theirs.contains(now),
        };
        known.numbers() == row.numbers && same_start && row.of.same(known)
    })
}

fn window<T>(row: &TableRow<T>, now: Time) -> Result<Window, String> {
    match row.valid_until {
        Some(until) if until <= now => Err(end_is_past(&until)),
        until => Window::new(row.valid_from.unwrap_or(now), until).map_err(|e| e.to_string()),
    }
}

fn end_is_past(until: &Time) -> String {
    format!("`valid_until` is in the past: {}", rfc3339(until))
}

/// Refuses lines that conflict with an earlier line of the file.
fn refuse_overlapping_lines<T: Reconcile>(
    rows: &mut Vec<(TableRow<T>, Window)>,
    refused: &mut RefusedLines,
) {
    let index = Index::new(
        rows.iter()
            .map(|(row, window)| (row.numbers, (row, *window))),
    );
    let clash = |row: &TableRow<T>, window: Window| -> Option<String> {
        let mut compared = 0;
        let mut earliest: Option<(u64, NumberRange)> = None;
        for (numbers, (other, theirs)) in index.touching(row.numbers) {
            compared += 1;
            if compared > MAX_OVERLAPPING {
                return Some(format!("overlaps more than {MAX_OVERLAPPING} lines"));
            }
            let clashes =
                other.line < row.line && theirs.overlaps(window) && row.of.excludes_line(&other.of);
            if clashes && earliest.is_none_or(|(line, _)| other.line < line) {
                earliest = Some((other.line, *numbers));
            }
        }
        earliest.map(|(line, numbers)| format!("overlaps {numbers} of line {line}"))
    };
    let faults: HashMap<u64, String> = rows
        .iter()
        .filter_map(|(row, window)| Some((row.line, clash(row, *window)?)))
        .collect();
    rows.retain(|(row, _)| match faults.get(&row.line) {
        None => true,
        Some(why) => {
            refused.add(row.line, why.clone());
            false
        }
    });
}
