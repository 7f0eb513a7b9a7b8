//! Why policies cannot be used.

use std::fmt::{self, Write as _};

use thiserror::Error;

/// How many faults one message lists.
const MAX_LISTED: usize = 10;

/// Why a set of policies cannot be used. The service does not start with such a set, and does not
/// replace a valid one by it.
#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("cannot read policies from `{path}`: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("no policy in `{0}`: a folder of policies needs at least one file `*.cedar`")]
    None(String),
    /// More than can be loaded in bounded time.
    #[error("too many policies: {0}")]
    TooMany(String),
    /// Files that do not parse or do not fit the schema; at least one.
    #[error("invalid policies: {}", listed(.0))]
    Faulty(Vec<PolicyFault>),
    /// Failing cases; at least one.
    #[error("the policies fail their test cases: {}", listed(.0))]
    Differing(Vec<PolicyFault>),
    /// The thread that loads the policies cannot be started, or panicked. Temporary, if the system
    /// lacked resources.
    #[error("the policies cannot be loaded: {0}")]
    Loader(String),
    /// A fault of the service itself: its schema does not parse, or does not fit its requests.
    #[error("the schema of the policies cannot be used: {0}")]
    Schema(String),
}

impl PolicyError {
    /// The faults in files. Empty if the error is about something else.
    #[must_use]
    pub fn faults(&self) -> &[PolicyFault] {
        match self {
            Self::Faulty(faults) | Self::Differing(faults) => faults,
            Self::Read { .. }
            | Self::None(_)
            | Self::TooMany(_)
            | Self::Loader(_)
            | Self::Schema(_) => &[],
        }
    }
}

/// A fault in a file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    /// The file's name, relative to the folder.
    pub file: String,
    /// Line and column, both counted from 1, if known.
    pub at: Option<(usize, usize)>,
    pub why: String,
}

impl PolicyFault {
    /// A fault of the file as a whole.
    pub(super) fn of(file: &str, why: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            at: None,
            why: why.to_string(),
        }
    }

    /// A fault at this byte of the text.
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
    /// The format of compilers: `mint.cedar:3:5: why`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.why),
            None => write!(f, "{}: {}", self.file, self.why),
        }
    }
}

fn listed(faults: &[PolicyFault]) -> String {
    let named = faults.iter().take(MAX_LISTED).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join("; ");
    if faults.len() > MAX_LISTED {
        let _ = write!(text, "; and {} more", faults.len() - MAX_LISTED);
    }
    text
}
