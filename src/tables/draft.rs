//! A parsed table, before it is compared with the database.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::error::{LINES_NAMED, RefusedLines};
use super::sorted_delegations::SortedDelegations;
use crate::domain::clock::Time;
use crate::domain::inventory::{Basis, Reason};
use crate::domain::numbers::range_set::merged;
use crate::domain::{AccountId, NumberRange, Spc};

/// How many lines a note names.
const LINES_OF_A_NOTE: usize = 100;

/// A parsed table: its content, and a summary for people.
#[derive(Debug, Clone)]
pub struct ParsedTable {
    pub content: TableContent,
    pub summary: TableSummary,
}

/// The content of a table.
#[derive(Debug, Clone)]
pub enum TableContent {
    /// All that a carrier holds within a scope. Numbers in the scope that are not listed are not
    /// the carrier's.
    Holdings {
        spc: Spc,
        table: Holdings,
    },
    /// Rows to add or to end. Rows that are not named stay as they are.
    Allocations(Vec<TableRow<AllocationRow>>),
    Delegations(Vec<TableRow<DelegationRow>>),
    /// The same, of a table that is too long for memory.
    ManyDelegations(SortedDelegations),
    Exclusions(Vec<TableRow<ExclusionRow>>),
}

/// What people want to know about a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSummary {
    /// The name of the format.
    pub format: &'static str,
    /// The requested OCNs.
    pub ocns: Vec<String>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    pub bytes: u64,
    /// Lines after the header.
    pub lines: u64,
    /// Lines of the requested OCNs; all lines if the format has no OCNs.
    pub own: u64,
    /// Whether the last line has a line end. A truncated file often has none.
    pub ends_with_a_line: bool,
    pub refused: RefusedLines,
    /// Columns of the table that were ignored.
    pub unknown_columns: Vec<String>,
    /// What was skipped, and other remarks.
    pub notes: Vec<Note>,
}

/// A remark about a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportNote)]
pub struct Note {
    pub count: u64,
    #[schema(value_type = String)]
    pub what: Cow<'static, str>,
    /// The first lines that it concerns, if they matter.
    pub lines: Vec<u64>,
}

impl TableSummary {
    /// Adds the refused lines and the notes of another part of the table.
    pub fn add(&mut self, part: Self) {
        self.refused.count += part.refused.count;
        let left = LINES_NAMED.saturating_sub(self.refused.named.len());
        let named = part.refused.named.into_iter().take(left);
        self.refused.named.extend(named);
        for note in part.notes {
            match self.notes.iter_mut().find(|known| known.what == note.what) {
                Some(known) => {
                    known.count += note.count;
                    let left = LINES_OF_A_NOTE.saturating_sub(known.lines.len());
                    known.lines.extend(note.lines.into_iter().take(left));
                }
                None => self.notes.push(note),
            }
        }
    }

    /// Adds a note, unless the count is zero.
    pub fn note(&mut self, count: u64, what: impl Into<Cow<'static, str>>) {
        if count > 0 {
            let what = what.into();
            let lines = Vec::new();
            self.notes.push(Note { count, what, lines });
        }
    }

    /// The same, with line numbers.
    pub fn note_lines(&mut self, noted: NotedLines, what: impl Into<Cow<'static, str>>) {
        let NotedLines { count, lines } = noted;
        if count > 0 {
            let what = what.into();
            self.notes.push(Note { count, what, lines });
        }
    }
}

/// The lines of a note: how many, and the numbers of the first.
#[derive(Debug, Default)]
pub struct NotedLines {
    count: u64,
    lines: Vec<u64>,
}

impl NotedLines {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

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
    /// When the holding starts, if that is in the future.
    pub valid_from: Option<Time>,
}

/// What a carrier holds according to a table, and the scope of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Sorted, without overlaps.
    pub held: Vec<Holding>,
    pub scope: Coverage,
    /// Whether the table has start dates. If not, an import leaves existing start dates as they
    /// are.
    pub dated: bool,
}

impl Holdings {
    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.held.iter().map(|held| held.numbers.count()).sum()
    }
}

/// The scope of a table: numbers in it that the table does not assign to the carrier are not the
/// carrier's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(Vec<NumberRange>);

impl Coverage {
    #[must_use]
    pub fn new(ranges: Vec<NumberRange>) -> Self {
        Self(merged(ranges))
    }

    /// Sorted, and as few as possible.
    #[must_use]
    pub fn ranges(&self) -> &[NumberRange] {
        &self.0
    }
}

/// One line of the carrier's own CSV.
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
    /// Whether the account may delegate the numbers on.
    pub lend_on: bool,
    pub reference: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExclusionRow {
    pub reason: Reason,
}
