//! Why a table cannot be read, and which of its lines are refused.

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

/// How many refused lines are kept with their reasons. All are counted.
pub const LINES_NAMED: usize = 100;
/// How many of them an error message quotes.
const LINES_IN_A_MESSAGE: usize = 10;

/// Why a file is not a table of its stated format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    #[error("the table cannot be read: {0}")]
    Read(String),
    #[error("the file is {kind}, which is not a table; {help}")]
    Packed {
        kind: &'static str,
        help: &'static str,
    },
    #[error("the file is binary, not a table: NUL at byte {offset}")]
    Binary { offset: u64 },
    #[error("{0}")]
    Columns(String),
    #[error(
        "line {line}: longer than {limit} bytes or {fields} fields; is a quotation mark unclosed?"
    )]
    TooLong {
        line: u64,
        limit: usize,
        fields: usize,
    },
    #[error("the table has a header, but no lines")]
    Empty,
    #[error(
        "line {line}: more than {limit} lines have numbers in common, each with another; split the file"
    )]
    Entangled { line: u64, limit: usize },
    #[error(
        "no line of the table has OCN {ocns}; OCNs must match exactly, including case and leading zeros{hint}"
    )]
    NoSuchOcn { ocns: String, hint: String },
    #[error("format `{format}` needs {what}")]
    Missing {
        format: &'static str,
        what: &'static str,
    },
    #[error("format `{format}` takes no {what}")]
    Unwanted {
        format: &'static str,
        what: &'static str,
    },
    /// The caller asked to stop.
    #[error("the import was stopped")]
    Stopped,
}

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LineError)]
pub struct RefusedLine {
    /// Counts from 1, which is the header. 0 if the reason concerns the table as a whole.
    pub line: u64,
    pub reason: String,
}

impl std::fmt::Display for RefusedLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

/// The refused lines of a table: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedLines {
    pub count: u64,
    /// At most [`LINES_NAMED`]. Lines that cannot be parsed come first, then those in conflict with
    /// others or with the database.
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
            write!(f, "{comma}{refused}")?;
        }
        if self.count > LINES_IN_A_MESSAGE as u64 {
            write!(f, "; and {} more", self.count - LINES_IN_A_MESSAGE as u64)?;
        }
        Ok(())
    }
}
