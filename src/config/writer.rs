//! `[writer]`: the writer thread, with group commit.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{within, wrong};

/// Longer than any request waits, so that a value in another unit is noticed.
const MAX_WAIT_MS: u32 = 60_000;

/// The writer thread, with group commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// The capacity of the queue; when it is full, requests get 503.
    pub queue: usize,
    /// The largest number of jobs in one transaction.
    pub batch: usize,
    /// Milliseconds that a token request may wait for its transaction, as far as can be expected;
    /// further ones get 503. 0: no limit.
    pub max_wait_ms: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            queue: 1024,
            batch: 256,
            max_wait_ms: 100,
        }
    }
}

impl Writer {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("writer.queue", self.queue as u64, 100_000)?;
        within("writer.batch", self.batch as u64, 10_000)?;
        if self.max_wait_ms > MAX_WAIT_MS {
            return wrong(
                "writer.max_wait_ms",
                format!("is {}, more than {MAX_WAIT_MS}", self.max_wait_ms),
            );
        }
        Ok(())
    }

    /// How long a token request may wait for its transaction, if that is limited.
    #[must_use]
    pub fn max_wait(&self) -> Option<Duration> {
        (self.max_wait_ms > 0).then(|| Duration::from_millis(self.max_wait_ms.into()))
    }
}
