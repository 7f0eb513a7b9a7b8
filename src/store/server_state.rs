//! What the PostgreSQL server says of itself: its clock, whether a commit outlives a crash and a
//! failover, and what the role of the service may do.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

use super::connection::AnyConnection;
use super::error::StoreError;
use super::table_access::refused_tables;
use super::tx::Tx;
use crate::domain::Clock;

/// Replication is visible with the privileges of `pg_monitor`; without them, `sync_state` is NULL.
const QUERY: &str = "SELECT \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS unix_micros, \
     current_setting('synchronous_commit') AS synchronous_commit, \
     current_setting('synchronous_standby_names') AS synchronous_standby_names, \
     current_setting('fsync') AS fsync, \
     current_setting('full_page_writes') AS full_page_writes, \
     count(*) AS standbys, \
     count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous, \
     count(*) FILTER (WHERE sync_state IS NULL) AS hidden";

/// The state of a PostgreSQL server, as a session of the service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// The clock of the server.
    pub unix_micros: i64,
    /// The clock of the server minus that of this machine.
    pub clock_offset_micros: i64,
    /// As it is in the session.
    pub synchronous_commit: String,
    pub synchronous_standbys: SynchronousStandbys,
    /// Those of `fsync` and `full_page_writes` that are off: what was confirmed may not be on the
    /// disk.
    pub unsafe_settings: Vec<&'static str>,
    /// Tables that the role may not use, or not see all rows of, with the reasons; empty if there
    /// is none.
    pub refused_tables: String,
}

impl ServerState {
    /// Why what was confirmed may not be on the disk.
    #[must_use]
    pub fn storage_fault(&self) -> Option<String> {
        let off = &self.unsafe_settings;
        (!off.is_empty()).then(|| {
            format!(
                "`{}` must be on, since a crash of the machine can otherwise lose the grant of a \
                 released token; or set `database.trust_storage` if the storage makes up for it",
                off.join("` and `")
            )
        })
    }

    /// Why a token cannot be recorded, or would be decided without all rows.
    #[must_use]
    pub fn privilege_fault(&self) -> Option<String> {
        let refused = &self.refused_tables;
        (!refused.is_empty()).then(|| {
            format!(
                "the role of the service cannot use tables as it must: {refused}; grant it the \
                 privileges, and disable row security for it"
            )
        })
    }
}

/// Whether a standby confirms each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynchronousStandbys {
    /// `synchronous_standby_names` is empty.
    NotConfigured,
    /// As many are connected.
    Connected(u32),
    /// They are configured; the role may not see how many are connected. A commit waits for them.
    Hidden,
}

#[derive(Debug, QueryableByName)]
struct ServerStateRow {
    #[diesel(sql_type = BigInt)]
    unix_micros: i64,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = Text)]
    synchronous_standby_names: String,
    #[diesel(sql_type = Text)]
    fsync: String,
    #[diesel(sql_type = Text)]
    full_page_writes: String,
    #[diesel(sql_type = Text)]
    refused_tables: String,
    #[diesel(sql_type = BigInt)]
    standbys: i64,
    #[diesel(sql_type = BigInt)]
    synchronous: i64,
    #[diesel(sql_type = BigInt)]
    hidden: i64,
}

impl ServerState {
    /// Whether a commit of this session waits until it is on the disk, here and on the synchronous
    /// standbys.
    #[must_use]
    pub fn commits_are_durable(&self) -> bool {
        matches!(self.synchronous_commit.as_str(), "on" | "remote_apply")
    }
}

impl Tx<'_> {
    /// The state of the server; `None` on SQLite.
    pub fn server_state(&mut self, clock: &Clock) -> Result<Option<ServerState>, StoreError> {
        let asked = clock.unix_micros();
        let row = self.run(|connection| match connection {
            AnyConnection::Sqlite(_) => Ok(None),
            AnyConnection::Postgres(c) => {
                let query = format!(
                    "{QUERY}, {} AS refused_tables FROM pg_stat_replication",
                    refused_tables()
                );
                sql_query(query).get_result::<ServerStateRow>(c).map(Some)
            }
        })?;
        let answered = clock.unix_micros();
        // The server has read its clock about halfway between.
        let own = asked + (answered - asked) / 2;
        Ok(row.map(|row| ServerState {
            unix_micros: row.unix_micros,
            clock_offset_micros: row.unix_micros - own,
            synchronous_standbys: row.synchronous_standbys(),
            unsafe_settings: row.unsafe_settings(),
            synchronous_commit: row.synchronous_commit,
            refused_tables: row.refused_tables,
        }))
    }
}

impl ServerStateRow {
    fn unsafe_settings(&self) -> Vec<&'static str> {
        let settings = [
            ("fsync", &self.fsync),
            ("full_page_writes", &self.full_page_writes),
        ];
        let off = settings.into_iter().filter(|(_, value)| *value != "on");
        off.map(|(name, _)| name).collect()
    }

    fn synchronous_standbys(&self) -> SynchronousStandbys {
        if self.synchronous_standby_names.trim().is_empty() {
            SynchronousStandbys::NotConfigured
        } else if self.standbys > 0 && self.hidden == self.standbys {
            SynchronousStandbys::Hidden
        } else {
            SynchronousStandbys::Connected(self.synchronous.try_into().unwrap_or(u32::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standbys(names: &str, standbys: i64, synchronous: i64, hidden: i64) -> SynchronousStandbys {
        let row = ServerStateRow {
            unix_micros: 0,
            synchronous_commit: "on".to_owned(),
            synchronous_standby_names: names.to_owned(),
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            refused_tables: String::new(),
            standbys,
            synchronous,
            hidden,
        };
        row.synchronous_standbys()
    }

    #[test]
    fn a_role_that_may_not_see_standbys_does_not_say_that_there_are_none() {
        assert_eq!(standbys("", 2, 0, 0), SynchronousStandbys::NotConfigured);
        assert_eq!(standbys(" ", 2, 0, 2), SynchronousStandbys::NotConfigured);
        assert_eq!(standbys("*", 0, 0, 0), SynchronousStandbys::Connected(0));
        assert_eq!(standbys("*", 2, 1, 0), SynchronousStandbys::Connected(1));
        assert_eq!(standbys("*", 2, 0, 2), SynchronousStandbys::Hidden);
    }

    #[test]
    fn a_commit_that_does_not_wait_for_disk_and_standby_is_not_durable() {
        for (setting, durable) in [
            ("on", true),
            ("remote_apply", true),
            ("off", false),
            ("local", false),
            ("remote_write", false),
        ] {
            let state = ServerState {
                unix_micros: 0,
                clock_offset_micros: 0,
                synchronous_commit: setting.to_owned(),
                synchronous_standbys: SynchronousStandbys::NotConfigured,
                unsafe_settings: Vec::new(),
                refused_tables: String::new(),
            };
            assert_eq!(state.commits_are_durable(), durable, "{setting}");
        }
    }
}
