//! Why a table cannot be read, and which lines of it are refused.

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

/// How many refused lines are named; all of them are counted.
pub const LINES_NAMED: usize = 100;
/// How many of them stand in a message.
const LINES_IN_A_MESSAGE: usize = 10;

/// Why a file is no table of the format that it is said to have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    #[error("the table cannot be read: {0}")]
    Read(String),
    #[error("the file is {kind} and no table; {help}")]
    Packed {
        kind: &'static str,
        help: &'static str,
    },
    #[error("the file is binary and no table: there is a NUL at byte {offset}")]
    Binary { offset: u64 },
    #[error("{0}")]
    Columns(String),
    #[error(
        "line {line}: longer than {limit} bytes or {fields} fields; a quotation mark may never be closed"
    )]
    TooLong {
        line: u64,
        limit: usize,
        fields: usize,
    },
    #[error("the table has no line behind its columns")]
    Empty,
    #[error("no line of the table names {ocns}; codes are compared letter by letter{hint}")]
    NoSuchOcn { ocns: String, hint: String },
    #[error("the format {format} needs {what}")]
    Missing {
        format: &'static str,
        what: &'static str,
    },
    #[error("the format {format} takes no {what}")]
    Unwanted {
        format: &'static str,
        what: &'static str,
    },
    /// Whoever waits for it has asked to stop.
    #[error("the import was stopped")]
    Stopped,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LineError)]
pub struct RefusedLine {
    /// Counts from 1; 0 when it is about the table as a whole.
    pub line: u64,
    pub reason: String,
}

/// Lines that cannot be taken: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedLines {
    pub count: u64,
    /// At most [`LINES_NAMED`], in the order of the file as far as possible.
    pub named: Vec<RefusedLine>,
}

impl RefusedLines {
    pub fn add(&mut self, line: u64, reason: impl Into<String>) {
        self.count += 1;
        if self.named.len() < LINES_NAMED {
            let reason = reason.into();
            self.named.push(RefusedLine { line, reason });
        }
    }
}

impl std::fmt::Display for RefusedLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, refused) in self.named.iter().take(LINES_IN_A_MESSAGE).enumerate() {
            let comma = if n == 0 { "" } else { "; " };
            write!(f, "{comma}line {}: {}", refused.line, refused.reason)?;
        }
        if self.count > LINES_IN_A_MESSAGE as u64 {
            write!(f, "; and {} more", self.count - LINES_IN_A_MESSAGE as u64)?;
        }
        Ok(())
    }
}
