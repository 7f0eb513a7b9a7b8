//! Why policies cannot be used.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// How many faults one message names.
const MAX_NAMED: usize = 10;

/// Why the policies cannot be used. The service does not start with such policies, and does not change to them.
#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("policies cannot be read from `{path}`: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("there is no policy in `{0}`: a folder of policies has at least one file `*.cedar`")]
    None(String),
    /// More than is loaded in a bounded time.
    #[error("there are too many policies: {0}")]
    TooMany(String),
    /// Files that are no policies, or do not fit the schema; at least one.
    #[error("the policies are faulty: {}", listed(.0))]
    Faulty(Vec<PolicyFault>),
    /// Cases whose answer is not the expected one; at least one.
    #[error("the policies do not answer as their cases expect: {}", listed(.0))]
    Differing(Vec<PolicyFault>),
    /// What the service itself brings does not fit together.
    #[error("the schema of the policies is malformed: {0}")]
    Schema(String),
}

impl PolicyError {
    /// The faults, file by file; none if the fault is no file's.
    #[must_use]
    pub fn faults(&self) -> &[PolicyFault] {
        match self {
            Self::Faulty(faults) | Self::Differing(faults) => faults,
            Self::Read { .. } | Self::None(_) | Self::TooMany(_) | Self::Schema(_) => &[],
        }
    }
}

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// Its name below the folder.
    pub file: String,
    /// Line and column, both from 1, where they are known.
    pub at: Option<(usize, usize)>,
    pub why: String,
}

impl PolicyFault {
    /// Something is wrong with the file as a whole.
    pub(super) fn of(file: &str, why: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            at: None,
            why: why.to_string(),
        }
    }

    /// Something is wrong at this byte of its text.
    pub(super) fn at(file: &str, text: &str, byte: Option<usize>, why: impl fmt::Display) -> Self {
        let before = byte.and_then(|byte| text.get(..byte));
        Self {
            at: before.map(|before| {
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                (line, column)
            }),
            ..Self::of(file, why)
        }
    }
}

impl fmt::Display for PolicyFault {
    /// As compilers write it: `mint.cedar:3:5: why`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.why),
            None => write!(f, "{}: {}", self.file, self.why),
        }
    }
}

fn listed(faults: &[PolicyFault]) -> String {
    let named = faults.iter().take(MAX_NAMED).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join("; ");
    if faults.len() > MAX_NAMED {
        let _ = write!(text, "; and {} more", faults.len() - MAX_NAMED);
    }
    text
}
