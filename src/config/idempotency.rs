//! `[idempotency]`: requests with an Idempotency-Key.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{within, wrong};

/// Requests with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// Seconds that an answer is kept for.
    pub keep: u32,
    /// Seconds without an answer after which a request is taken for gone, so that the next one is done in its place.
    pub lease: u32,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self {
            keep: 86_400,
            lease: 10,
        }
    }
}

impl Idempotency {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("idempotency.keep", self.keep.into(), 2_592_000)?;
        within("idempotency.lease", self.lease.into(), 600)?;
        if self.keep < self.lease {
            return wrong(
                "idempotency.keep",
                format!(
                    "is {} seconds, less than `idempotency.lease`, which is {}: a key would be forgotten while its request \
                     is at work",
                    self.keep, self.lease
                ),
            );
        }
        Ok(())
    }
}
