//! `[database]`: the database of the service.

use serde::Deserialize;

use super::bounds::{within, wrong};
use super::{ConfigError, SecretUrl};
use crate::domain::text::words::words;

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
    /// Where migrations are applied, if not at `url`.
    pub migrate_url: Option<SecretUrl>,
    /// Seconds to connect to one host of PostgreSQL.
    pub connect_timeout: u64,
    /// Seconds for the acknowledgement of data that was sent to PostgreSQL.
    pub tcp_user_timeout: u64,
    /// Seconds to wait for a lock.
    pub lock_timeout: u64,
    /// Seconds that a statement may take.
    pub statement_timeout: u64,
    /// Seconds between two statements of a transaction.
    pub idle_in_transaction_timeout: u64,
    /// Seconds that requests wait for a lost database to come back.
    pub reconnect_wait: u64,
    /// Seconds that a request waits for the database in total.
    pub request_timeout: u64,
    /// Seconds that a statement of a migration, an import or another long job may take.
    pub long_statement_timeout: u64,
    /// Seconds that `serve` waits at its start for a database that is away.
    pub wait_at_start: u32,
    /// Whether a synchronous standby must confirm each commit.
    pub require_synchronous: bool,
    /// Whether the storage of the server keeps what it confirms, although `fsync` or
    /// `full_page_writes` is off.
    pub trust_storage: bool,
    /// Seconds by which the clock of the database may differ from ours without a warning.
    pub max_clock_offset: u32,
    /// Whether statements are prepared once for a connection.
    pub prepared_statements: PreparedStatements,
}

/// Whether statements are prepared once for a connection, and then repeated by their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreparedStatements {
    /// Unless a pooler in transaction mode is found.
    Auto,
    Off,
}

words! {
    /// The name in the configuration.
    impl FromStr, Deserialize for PreparedStatements { Auto = "auto", Off = "off" }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:tn-authority.sqlite".into(),
            pool_size: 8,
            migrate: true,
            migrate_url: None,
            connect_timeout: 3,
            tcp_user_timeout: 5,
            lock_timeout: 5,
            statement_timeout: 10,
            idle_in_transaction_timeout: 10,
            reconnect_wait: 5,
            request_timeout: 9,
            long_statement_timeout: 600,
            prepared_statements: PreparedStatements::Auto,
            wait_at_start: 60,
            require_synchronous: false,
            trust_storage: false,
            max_clock_offset: 5,
        }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("database.pool_size", self.pool_size.into(), 1_000)?;
        // A longer wait helps no caller.
        for (key, seconds, most) in [
            ("database.connect_timeout", self.connect_timeout, 60),
            ("database.tcp_user_timeout", self.tcp_user_timeout, 60),
            ("database.lock_timeout", self.lock_timeout, 60),
            ("database.statement_timeout", self.statement_timeout, 60),
            (
                "database.idle_in_transaction_timeout",
                self.idle_in_transaction_timeout,
                60,
            ),
            ("database.reconnect_wait", self.reconnect_wait, 60),
            ("database.request_timeout", self.request_timeout, 60),
            (
                "database.long_statement_timeout",
                self.long_statement_timeout,
                86_400,
            ),
        ] {
            within(key, seconds, most)?;
        }
        if self.wait_at_start > MAX_WAIT {
            return wrong(
                "database.wait_at_start",
                format!(
                    "is {}; the longest wait is {MAX_WAIT} seconds",
                    self.wait_at_start
                ),
            );
        }
        let is_server = is_server_url(&self.url);
        if let Some(migrate_url) = &self.migrate_url
            && is_server_url(migrate_url) != is_server
        {
            return wrong(
                "database.migrate_url",
                "is of another kind than `database.url`; it names the same database, by another way",
            );
        }
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

/// Whether this is the URL of a PostgreSQL.
fn is_server_url(url: &SecretUrl) -> bool {
    url.expose().starts_with("postgres")
}
