//! `[database]`: the database of the service.

use serde::Deserialize;

use super::bounds::within;
use super::{ConfigError, SecretUrl};

/// The database of the service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://..`
    pub url: SecretUrl,
    /// Connections for reading.
    pub pool_size: u32,
    /// Whether `serve` applies migrations when it starts.
    pub migrate: bool,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:tn-authority.sqlite".into(),
            pool_size: 8,
            migrate: true,
        }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("database.pool_size", self.pool_size.into(), 1_000)
    }
}
