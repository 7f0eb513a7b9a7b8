//! `[idempotency]`: requests with an `Idempotency-Key`.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{within, wrong};

/// Requests with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// Seconds that an answer is kept.
    pub keep: u32,
    /// Seconds after which a request without an answer is considered lost, so the next one with its
    /// key is carried out.
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
                    "is {} seconds, less than `idempotency.lease`, which is {}: a key could expire while its request is \
                     in progress",
                    self.keep, self.lease
                ),
            );
        }
        Ok(())
    }
}
