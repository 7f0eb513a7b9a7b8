//! `[imports]`: imports of number tables.

use std::path::PathBuf;

use serde::Deserialize;

use super::bounds::{at_least_one, within};
use super::{ConfigError, Fraction};

/// Imports of number tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Imports {
    /// The largest share of a service provider code's numbers that an import can end without
    /// confirmation.
    pub max_ended_share: Fraction,
    /// The largest table accepted over HTTP, in bytes.
    pub max_upload_bytes: u64,
    /// Bytes a second at which a table has to arrive over HTTP, on average and after
    /// `server.request_timeout`.
    pub min_upload_rate: u64,
    /// The largest number of imports over HTTP that wait or run; further ones get 503.
    pub queue: usize,
    /// The folder for uploaded tables until they are imported; the system's temporary folder when
    /// absent.
    pub dir: Option<PathBuf>,
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            max_ended_share: Fraction::TENTH,
            max_upload_bytes: 536_870_912,
            min_upload_rate: 65_536,
            queue: 8,
            dir: None,
        }
    }
}

impl Imports {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("imports.queue", self.queue as u64, 1_000)?;
        at_least_one("imports.min_upload_rate", self.min_upload_rate)?;
        at_least_one("imports.max_upload_bytes", self.max_upload_bytes)
    }
}
