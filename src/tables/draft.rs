//! What a table says, before it is held against what is known.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::RefusedLines;
use crate::domain::clock::Time;
use crate::domain::inventory::{Basis, Reason};
use crate::domain::numbers::range_set::merged;
use crate::domain::{AccountId, NumberRange, Spc};

/// How many lines a note names.
const LINES_OF_A_NOTE: usize = 100;

/// A table that was read: what it says, and what is to be said of it.
#[derive(Debug, Clone)]
pub struct ParsedTable {
    pub says: TableContent,
    pub told: TableSummary,
}

/// What a table says.
#[derive(Debug, Clone)]
pub enum TableContent {
    /// All that a carrier holds of some numbers; what it does not name of them is not the carrier's.
    Holdings {
        spc: Spc,
        table: Holdings,
    },
    /// Rows to be added, or to be ended. Of what they do not name they say nothing.
    Allocations(Vec<TableRow<AllocationRow>>),
    Delegations(Vec<TableRow<DelegationRow>>),
    Exclusions(Vec<TableRow<ExclusionRow>>),
}

/// What people want to know of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSummary {
    /// The word of the format.
    pub format: &'static str,
    /// Of the file, in hex.
    pub sha256: String,
    pub bytes: u64,
    /// Lines behind the header.
    pub lines: u64,
    /// Lines of the OCNs that were asked for; all lines where there are none.
    pub own: u64,
    /// Whether the last line has its end; a table that was cut off often has not.
    pub ends_with_a_line: bool,
    pub refused: RefusedLines,
    /// Columns of the table that nobody here knows.
    pub unknown_columns: Vec<String>,
    /// What was passed over, and other things to know: how many, and what.
    pub notes: Vec<Note>,
}

/// Something to know of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportNote)]
pub struct Note {
    pub count: u64,
    #[schema(value_type = String)]
    pub what: &'static str,
    /// The first lines that it is about, if they matter.
    pub lines: Vec<u64>,
}

impl TableSummary {
    /// Notes something that was met more than never.
    pub fn note(&mut self, count: u64, what: &'static str) {
        if count > 0 {
            let lines = Vec::new();
            self.notes.push(Note { count, what, lines });
        }
    }

    pub fn note_lines(&mut self, noted: Noted, what: &'static str) {
        let Noted { count, lines } = noted;
        if count > 0 {
            self.notes.push(Note { count, what, lines });
        }
    }
}

/// Lines to be told of: how many, and the first of them.
#[derive(Debug, Default)]
pub struct Noted {
    count: u64,
    lines: Vec<u64>,
}

impl Noted {
    pub fn add(&mut self, line: u64) {
        self.count += 1;
        if self.lines.len() < LINES_OF_A_NOTE {
            self.lines.push(line);
        }
    }
}

/// Numbers that a table says the carrier holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    pub numbers: NumberRange,
    pub basis: Basis,
    /// When that starts, if it is yet to come.
    pub valid_from: Option<Time>,
}

/// What a carrier holds by a table, and what the table speaks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Sorted, and without overlaps.
    pub held: Vec<Holding>,
    pub scope: Coverage,
    /// Whether the table says when blocks start. One that does not leaves known starts as they are.
    pub dated: bool,
}

impl Holdings {
    /// How many numbers they are.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.held.iter().map(|held| held.numbers.count()).sum()
    }
}

/// The numbers that a table speaks for: what it does not give there, it denies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(Vec<NumberRange>);

impl Coverage {
    /// These numbers.
    #[must_use]
    pub fn new(ranges: Vec<NumberRange>) -> Self {
        Self(merged(ranges))
    }

    /// As few ranges, sorted.
    #[must_use]
    pub fn ranges(&self) -> &[NumberRange] {
        &self.0
    }
}

/// One line of a CSV of the carrier's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow<T> {
    pub line: u64,
    pub numbers: NumberRange,
    pub valid_from: Option<Time>,
    pub valid_until: Option<Time>,
    pub of: T,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AllocationRow {
    pub spc: Spc,
    pub basis: Basis,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DelegationRow {
    pub account: AccountId,
    pub ca: bool,
    /// Whether the account may lend the numbers on.
    pub lend_on: bool,
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExclusionRow {
    pub reason: Reason,
}
