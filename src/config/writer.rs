//! `[writer]`: the writer thread, with group commit.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::within;

/// The writer thread, with group commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// The capacity of the queue; when it is full, requests get 503.
    pub queue: usize,
    /// The largest number of jobs in one transaction.
    pub batch: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            queue: 1024,
            batch: 256,
        }
    }
}

impl Writer {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("writer.queue", self.queue as u64, 100_000)?;
        within("writer.batch", self.batch as u64, 10_000)
    }
}
