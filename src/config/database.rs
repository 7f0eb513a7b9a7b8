//! `[database]`: the database of the service.

use serde::Deserialize;

use super::bounds::{within, wrong};
use super::{ConfigError, SecretUrl};

/// The longest wait at the start, in seconds.
const MAX_WAIT: u32 = 3_600;

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
    /// Seconds that `serve` waits at its start for a database that is away.
    pub wait_at_start: u32,
    /// Whether a synchronous standby must confirm each commit.
    pub require_synchronous: bool,
    /// Seconds by which the clock of the database may differ from ours without a warning.
    pub max_clock_offset: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:tn-authority.sqlite".into(),
            pool_size: 8,
            migrate: true,
            wait_at_start: 60,
            require_synchronous: false,
            max_clock_offset: 5,
        }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("database.pool_size", self.pool_size.into(), 1_000)?;
        if self.wait_at_start > MAX_WAIT {
            return wrong(
                "database.wait_at_start",
                format!(
                    "is {}; the longest wait is {MAX_WAIT} seconds",
                    self.wait_at_start
                ),
            );
        }
        let is_server = self.url.expose().starts_with("postgres");
        if self.require_synchronous && !is_server {
            return wrong(
                "database.require_synchronous",
                "needs PostgreSQL; SQLite has no standbys",
            );
        }
        within(
            "database.max_clock_offset",
            self.max_clock_offset.into(),
            3_600,
        )
    }
}
