//! The difference between the rows that a CSV names and those that are known. Pure.
//!
//! A row that is known as it stands is unchanged. One that is known but for an earlier end ends it. An end is never put
//! off. Anything else is added, if its numbers are free then.

use std::collections::HashMap;

use uuid::Uuid;

use super::outcome::Amount;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::inventory::{Allocation, Delegation, Exclusion, InventoryRow, Versioned};
use crate::domain::numbers::range_index::Index;
use crate::domain::{NumberRange, Window};
use crate::tables::RefusedLines;
use crate::tables::{AllocationRow, DelegationRow, ExclusionRow, TableRow};

/// So many rows with the same numbers are looked at; more are an error.
const MAX_ALIKE: usize = 1_000;

/// What a line of a CSV is held against.
pub(super) trait Reconcile {
    type Known: Versioned + Clone;
    /// What the known rows are called.
    const KIND: &'static str;
    /// Whether a known row says the same, but for numbers and window.
    fn same(&self, known: &Self::Known) -> bool;
    /// Whether two that touch at one instant exclude each other.
    fn excludes(&self, known: &Self::Known) -> bool;
    /// The same for two lines of one file.
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

    /// Numbers may be without authority for several reasons.
    fn excludes(&self, _: &Exclusion) -> bool {
        false
    }

    fn excludes_line(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}

/// What is to be done with the lines of a CSV.
#[derive(Debug)]
pub(super) struct Plan<T: Reconcile> {
    pub(super) add: Vec<(TableRow<T>, Window)>,
    /// Known rows, and when they end.
    pub(super) end: Vec<(T::Known, Time)>,
    pub(super) unchanged: Amount,
    /// Rows that are known with an earlier end than the file says; it stays.
    pub(super) ends_kept: u64,
}

/// Holds lines against `known`: the newest versions of all rows that touch their numbers, over or not.
pub(super) fn plan<T: Reconcile>(
    rows: Vec<TableRow<T>>,
    known: Vec<T::Known>,
    now: Time,
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
        let Some(found) = known_as(&row, &known, now) else {
            match window(&row, now) {
                Ok(window) => plan.add.push((row, window)),
                Err(why) => refused.add(row.line, why),
            }
            continue;
        };
        let id = found.row().id;
        if let Some(line) = named.insert(id, row.line) {
            refused.add(row.line, format!("says the same as line {line}"));
            continue;
        }
        match (row.valid_until, found.window().until()) {
            (Some(said), known) if known.is_none_or(|known| said < known) => {
                if said <= now {
                    refused.add(
                        row.line,
                        format!("the window was over at {}", rfc3339(&said)),
                    );
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
    let taken = |row: &TableRow<T>, window: Window| -> Option<String> {
        let mut touching = known.touching(row.numbers).map(|(_, known)| known);
        let other = touching.find(|known| {
            let until = ends.get(&known.row().id).copied();
            let until = until.or(known.window().until());
            let theirs = Window::new(known.window().from(), until);
            row.of.excludes(known) && theirs.is_ok_and(|theirs| theirs.overlaps(window))
        })?;
        let (numbers, id) = (other.numbers(), other.row().id);
        Some(format!(
            "{numbers} stands in {} {id} at the same time",
            T::KIND
        ))
    };
    plan.add.retain(|(row, window)| match taken(row, *window) {
        None => true,
        Some(why) => {
            refused.add(row.line, why);
            false
        }
    });
    refuse_what_stands_twice(&mut plan.add, refused);
    plan
}

/// The known row that a line means.
fn known_as<'a, T: Reconcile>(
    row: &TableRow<T>,
    known: &'a Index<T::Known>,
    now: Time,
) -> Option<&'a T::Known> {
    let mut touching = known.touching(row.numbers).map(|(_, known)| known);
    touching.find(|known| {
        let theirs = known.window();
        let starts_so = match row.valid_from {
            Some(from) => theirs.from() == from,
            None => theirs.contains(now),
        };
        known.numbers() == row.numbers && starts_so && row.of.same(known)
    })
}

fn window<T>(row: &TableRow<T>, now: Time) -> Result<Window, String> {
    match row.valid_until {
        Some(until) if until <= now => Err(format!("the window was over at {}", rfc3339(&until))),
        until => Window::new(row.valid_from.unwrap_or(now), until).map_err(|e| e.to_string()),
    }
}

/// Lines of one file that touch each other at one instant: the later one is refused.
fn refuse_what_stands_twice<T: Reconcile>(
    rows: &mut Vec<(TableRow<T>, Window)>,
    refused: &mut RefusedLines,
) {
    let index = Index::new(
        rows.iter()
            .map(|(row, window)| (row.numbers, (row, *window))),
    );
    let clash = |row: &TableRow<T>, window: Window| -> Option<String> {
        let mut looked_at = 0;
        let mut before: Option<(u64, NumberRange)> = None;
        for (numbers, (other, theirs)) in index.touching(row.numbers) {
            looked_at += 1;
            if looked_at > MAX_ALIKE {
                return Some(format!("more than {MAX_ALIKE} lines name its numbers"));
            }
            let clashes =
                other.line < row.line && theirs.overlaps(window) && row.of.excludes_line(&other.of);
            if clashes && before.is_none_or(|(line, _)| other.line < line) {
                before = Some((other.line, *numbers));
            }
        }
        before.map(|(line, numbers)| format!("{numbers} stands in line {line} at the same time"))
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
