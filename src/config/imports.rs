//! `[imports]`: imports of tables.

use std::path::PathBuf;

use serde::Deserialize;

use super::bounds::{at_least_one, within};
use super::{ConfigError, Fraction};

/// Imports of tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Imports {
    /// The share of the numbers of a service provider code that one import may end without being confirmed.
    pub max_ended_share: Fraction,
    /// The longest table that is taken over HTTP.
    pub max_upload_bytes: u64,
    /// Imports over HTTP that may wait, the running one included; more are answered 503.
    pub queue: usize,
    /// Where their files are until they are done; the system's folder for temporary files when absent.
    pub dir: Option<PathBuf>,
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            max_ended_share: Fraction::TENTH,
            max_upload_bytes: 268_435_456,
            queue: 8,
            dir: None,
        }
    }
}

impl Imports {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("imports.queue", self.queue as u64, 1_000)?;
        at_least_one("imports.max_upload_bytes", self.max_upload_bytes)
    }
}
