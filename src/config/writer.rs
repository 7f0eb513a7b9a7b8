//! `[writer]`: the thread that writes, with group commit.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::within;

/// The writer with group commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// Jobs that may wait; more are answered 503.
    pub queue: usize,
    /// Jobs in one transaction.
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
