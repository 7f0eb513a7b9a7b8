//! How long the service waits for the database, and what begins a transaction accordingly.
//!
//! On PostgreSQL, every setting of a transaction is part of the statements that begin it, and ends
//! with it, as `SET LOCAL` does. So it costs no round trip, and a pooler in transaction mode
//! neither loses it nor passes it on to another user of its connections.

use std::time::Duration;

/// How long the service waits for the database. SQLite uses `request` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseTimeouts {
    /// For a connection to one host, including the login.
    pub connect: Duration,
    /// For the acknowledgement of data that was sent, by the peer's TCP.
    pub tcp_user: Duration,
    /// For a lock.
    pub lock: Duration,
    /// For a statement.
    pub statement: Duration,
    /// For the next statement of a transaction, after which the server ends the session. So a
    /// process that is frozen cannot hold locks for long.
    pub idle_in_transaction: Duration,
    /// For a lost database to come back, while requests wait in the queue.
    pub reconnect: Duration,
    /// For everything that one request does in the database.
    pub request: Duration,
    /// For a statement of a migration, an import, an export or another long job.
    pub long_statement: Duration,
}

impl Default for DatabaseTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            tcp_user: Duration::from_secs(5),
            lock: Duration::from_secs(5),
            statement: Duration::from_secs(10),
            idle_in_transaction: Duration::from_secs(10),
            reconnect: Duration::from_secs(5),
            request: Duration::from_secs(9),
            long_statement: Duration::from_secs(600),
        }
    }
}

/// What a transaction is for, which decides how long its statements may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionKind {
    /// Mints tokens, and does nothing else.
    Mint,
    /// Part of an answer to a request.
    Request,
    /// A job that may take minutes, such as an import.
    Long,
    /// All missing migrations, each of which has statements as long as those of a long job.
    Migration,
}

/// A server in recovery refuses it.
pub(super) const BEGIN_WRITING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

impl DatabaseTimeouts {
    /// The parameters of libpq, which are added to the URL unless it has them.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            // libpq takes a 1 for a 2, and a 0 for ever.
            ("connect_timeout", self.connect.as_secs().max(2).to_string()),
            ("tcp_user_timeout", millis(self.tcp_user)),
            ("keepalives_idle", "5".to_owned()),
            ("keepalives_interval", "2".to_owned()),
            ("keepalives_count", "3".to_owned()),
            ("target_session_attrs", "read-write".to_owned()),
            ("application_name", "tn-authority".to_owned()),
        ]
    }

    /// Begins a transaction that writes, with its [`Self::writing_settings`]. After waiting for the
    /// writer's lock, each statement must see what was committed meanwhile, so a stricter default
    /// level of the server is overridden.
    pub(super) fn begin_writing(&self, kind: TransactionKind) -> String {
        format!("{BEGIN_WRITING}; SELECT {}", self.writing_settings(kind))
    }

    /// The settings of a transaction that writes, as columns.
    ///
    /// A COMMIT must not return before the grant is durable, on the standby too, if there is a
    /// synchronous one: weaker values of `synchronous_commit` are raised.
    pub(super) fn writing_settings(&self, kind: TransactionKind) -> String {
        format!(
            "{}, CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') \
             THEN set_config('synchronous_commit', 'on', true) END",
            self.settings(kind, self.lock)
        )
    }

    /// Begins a transaction that reads one snapshot.
    ///
    /// A server in recovery refuses `READ WRITE`, so nothing is read from a standby, whose rows can
    /// be old, nor from a primary that was demoted after this connection was opened.
    pub(super) fn begin_reading(&self, kind: TransactionKind) -> String {
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET TRANSACTION READ ONLY; SELECT {}",
            self.settings(kind, self.lock)
        )
    }

    /// The settings of a transaction. The overlap query is written in the order in which it must
    /// run, as a nested loop over an index. Without fresh statistics the planner would choose a
    /// worse plan, and would keep a scan that it chose while a table was small.
    ///
    /// A policy of row security could hide an exclusion or a departure. Without it, a query that
    /// would be filtered fails.
    ///
    /// One statement with functions costs the server less than a `SET LOCAL` for each.
    fn settings(&self, kind: TransactionKind, lock: Duration) -> String {
        let (statement, idle) = match kind {
            TransactionKind::Mint | TransactionKind::Request => {
                (self.statement, self.idle_in_transaction)
            }
            // It also compares tables in memory between its statements.
            TransactionKind::Long | TransactionKind::Migration => (
                self.long_statement,
                self.idle_in_transaction.max(Duration::from_secs(60)),
            ),
        };
        // PostgreSQL 17 and later know it. A value of the session is the operator's, and is kept.
        let total = self.transaction(kind).map_or_else(String::new, |total| {
            format!(
                ", CASE WHEN current_setting('transaction_timeout', true) = '0' \
                 THEN set_config('transaction_timeout', '{}', true) END",
                millis(total)
            )
        });
        let settings = [
            ("row_security", "off".to_owned()),
            ("lock_timeout", millis(lock)),
            ("statement_timeout", millis(statement)),
            ("idle_in_transaction_session_timeout", millis(idle)),
            ("join_collapse_limit", "1".to_owned()),
            ("enable_hashjoin", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
            ("enable_seqscan", "off".to_owned()),
            ("jit", "off".to_owned()),
        ];
        // The statements of a mint have one good plan for all values. By default the server makes
        // another one for each batch, since it takes arrays of unknown length for longer ones.
        let plans = match kind {
            TransactionKind::Mint => ", set_config('plan_cache_mode', 'force_generic_plan', true)",
            TransactionKind::Request | TransactionKind::Long | TransactionKind::Migration => "",
        };
        settings
            .map(|(name, value)| format!("set_config('{name}', '{value}', true)"))
            .join(", ")
            + plans
            + &total
    }

    /// How long a transaction may last. After that time nothing in this process waits for it any
    /// more, so the server ends it, whatever is done in it.
    pub(super) fn transaction(&self, kind: TransactionKind) -> Option<Duration> {
        match kind {
            TransactionKind::Mint | TransactionKind::Request => Some(self.request * 2),
            TransactionKind::Long => Some(self.long_statement * 2 + self.request),
            TransactionKind::Migration => None,
        }
    }
}

/// Statements that make the server notice a client that has gone, where it can. They concern the
/// socket of the server, so they are for a session of our own, and not for that of a pooler.
pub(super) const SOCKET_SETTINGS: &str = "SELECT set_config(s.name, s.value, false) \
     FROM (VALUES ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), \
                  ('tcp_keepalives_count', '3'), ('client_connection_check_interval', '2000')) \
          AS s (name, value) \
     WHERE EXISTS (SELECT FROM pg_settings WHERE pg_settings.name = s.name)";

/// Milliseconds, as PostgreSQL takes them: at least one, since 0 means for ever.
pub(super) fn millis(time: Duration) -> String {
    let most = u128::from(i32::MAX.unsigned_abs());
    time.as_millis().clamp(1, most).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_none() {
        for (time, written) in [
            (Duration::ZERO, "1"),
            (Duration::from_micros(10), "1"),
            (Duration::from_secs(5), "5000"),
            (Duration::MAX, "2147483647"),
        ] {
            assert_eq!(millis(time), written);
        }
        let none = DatabaseTimeouts {
            connect: Duration::ZERO,
            ..DatabaseTimeouts::default()
        };
        assert!(
            none.parameters()
                .contains(&("connect_timeout", "2".to_owned()))
        );
    }

    #[test]
    fn a_transaction_has_its_bounds_from_its_first_statement_and_they_end_with_it() {
        let timeouts = DatabaseTimeouts::default();
        for begin in [
            timeouts.begin_writing(TransactionKind::Request),
            timeouts.begin_writing(TransactionKind::Mint),
            timeouts.begin_writing(TransactionKind::Long),
            timeouts.begin_reading(TransactionKind::Request),
        ] {
            for setting in [
                "set_config('lock_timeout', '5000', true)",
                "set_config('idle_in_transaction_session_timeout', '",
                "set_config('row_security', 'off', true)",
            ] {
                assert!(begin.contains(setting), "{begin}");
            }
            // What is not local would leak to other users of a pooler's connections.
            let set = begin.replace("current_setting('transaction_timeout', true)", "");
            let local = set.matches("', true)").count();
            assert_eq!(set.matches("set_config(").count(), local, "{begin}");
            let sets = begin.matches("SET ").count();
            assert_eq!(sets, begin.matches("SET TRANSACTION ").count(), "{begin}");
            assert!(begin.starts_with("BEGIN ") && begin.contains(" READ WRITE;"));
            let is_mint = begin == timeouts.begin_writing(TransactionKind::Mint);
            assert_eq!(begin.contains("'force_generic_plan'"), is_mint);
        }
        let long = timeouts.begin_writing(TransactionKind::Long);
        assert!(long.contains("'statement_timeout', '600000'"));
        assert!(long.contains("'transaction_timeout', '1209000'"));
        let migration = timeouts.begin_writing(TransactionKind::Migration);
        assert!(!migration.contains("transaction_timeout"));
    }
}
