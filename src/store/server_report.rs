//! What an operator should know of a PostgreSQL server: its version, its standbys, and the settings
//! that matter. Reads only, and also from a standby.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Integer, Text};

use super::Store;
use super::connection::AnyConnection;
use super::connector::IfMissing;
use super::database_url::DatabaseUrl;
use super::error::OpenError;
use super::server_state::ServerState;
use super::tx::Tx;
use crate::domain::Clock;

/// The settings that matter.
const SETTINGS: &str = "SELECT name, setting AS value FROM pg_settings WHERE name IN ('fsync', \
     'full_page_writes', 'synchronous_commit', 'synchronous_standby_names', 'max_connections', \
     'default_transaction_read_only', 'tcp_keepalives_idle', 'client_connection_check_interval') \
     ORDER BY name";
const STANDBYS: &str = "SELECT coalesce(nullif(application_name, ''), 'without a name') AS name, \
     coalesce(sync_state, 'hidden') AS value FROM pg_stat_replication ORDER BY 1, 2";
const VERSION: &str = "SELECT current_setting('server_version_num')::int AS number, \
     current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery";

/// The oldest and the newest major version that is supported.
const SUPPORTED: std::ops::RangeInclusive<i32> = 15..=18;

/// A PostgreSQL server, as a session of the service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    pub version: String,
    pub major: i32,
    /// Whether it is a standby.
    pub in_recovery: bool,
    pub state: ServerState,
    /// Names and values, in order.
    pub settings: Vec<(String, String)>,
    /// Names, and whether a commit waits for them: `sync`, `quorum`, `potential`, `async`; `hidden`
    /// if the role may not see that.
    pub standbys: Vec<(String, String)>,
}

#[derive(Debug, QueryableByName)]
struct NamedValue {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(Debug, QueryableByName)]
struct ServerVersion {
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Bool)]
    in_recovery: bool,
}

impl ServerReport {
    /// Whether tests cover this version.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        SUPPORTED.contains(&self.major)
    }
}

impl Store {
    /// What the server says of itself; `None` on SQLite.
    ///
    /// # Errors
    /// If it cannot be reached or asked.
    pub fn server_report(
        url: &DatabaseUrl,
        clock: &Clock,
    ) -> Result<Option<ServerReport>, OpenError> {
        if matches!(url, DatabaseUrl::Sqlite(_)) {
            return Ok(None);
        }
        let failed = |error: &dyn ToString| OpenError::Connect(url.without_secrets(error));
        let mut connection = url.connect(IfMissing::Fail)?;
        let state = Tx::new(&mut connection).server_state(clock);
        let state = state.map_err(|e| failed(&e))?;
        let (AnyConnection::Postgres(c), Some(state)) = (&mut connection, state) else {
            return Ok(None);
        };
        let version: ServerVersion = sql_query(VERSION).get_result(c).map_err(|e| failed(&e))?;
        let settings = named(c, SETTINGS).map_err(|e| failed(&e))?;
        let standbys = named(c, STANDBYS).map_err(|e| failed(&e))?;
        Ok(Some(ServerReport {
            version: version.version,
            major: version.number / 10_000,
            in_recovery: version.in_recovery,
            state,
            settings,
            standbys,
        }))
    }
}

fn named(connection: &mut PgConnection, query: &str) -> QueryResult<Vec<(String, String)>> {
    let rows: Vec<NamedValue> = sql_query(query).load(connection)?;
    Ok(rows.into_iter().map(|row| (row.name, row.value)).collect())
}
