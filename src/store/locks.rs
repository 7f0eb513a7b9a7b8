//! PostgreSQL advisory locks. Their numbers never change: replicas of different versions have to
//! agree on them. All of them end with their transaction, so that a pooler cannot lose them.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::declare_sql_function;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;

use super::timeouts::millis;

#[declare_sql_function]
extern "SQL" {
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
    fn pg_try_advisory_xact_lock_shared(key: BigInt) -> Bool;
}

/// Held by the transaction that applies migrations.
pub(super) const MIGRATIONS_LOCK: i64 = 8_468_773;

/// Held until COMMIT: shared by transactions that mint, exclusive in those that change who has
/// authority.
pub const AUTHORITY_LOCK: i64 = 8_468_774;

/// Held until COMMIT by transactions that start proofs of control while minting continues.
pub(super) const REPROOF_LOCK: i64 = 8_468_775;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Shared,
    Exclusive,
}

impl Hold {
    const fn function(self) -> &'static str {
        match self {
            Self::Shared => "pg_advisory_xact_lock_shared",
            Self::Exclusive => "pg_advisory_xact_lock",
        }
    }

    /// An expression that takes a lock, if that needs no wait, and says whether it has.
    pub(super) fn attempt(self, key: i64) -> String {
        match self {
            Self::Shared => format!("pg_try_advisory_xact_lock_shared({key})"),
            Self::Exclusive => format!("pg_try_advisory_xact_lock({key})"),
        }
    }
}

/// Takes a lock until the end of the transaction, waiting for at most `patience`. Returns whether
/// it is held. Whether the wait was too long is asked of the server, and not read from its message.
pub(super) fn acquire(
    connection: &mut PgConnection,
    key: i64,
    hold: Hold,
    patience: Duration,
) -> QueryResult<bool> {
    Ok(attempt(connection, key, hold)? || wait(connection, key, hold, patience)?)
}

/// The same for a lock that another session was found to hold.
pub(super) fn wait(
    connection: &mut PgConnection,
    key: i64,
    hold: Hold,
    patience: Duration,
) -> QueryResult<bool> {
    wait_for(connection, key, hold, patience)?;
    // If this session has the lock, it gets it once more.
    attempt(connection, key, hold)
}

/// Takes a lock if that needs no wait, not even for others that wait for it.
pub(super) fn attempt(connection: &mut PgConnection, key: i64, hold: Hold) -> QueryResult<bool> {
    match hold {
        Hold::Shared => {
            diesel::select(pg_try_advisory_xact_lock_shared(key)).get_result(connection)
        }
        Hold::Exclusive => diesel::select(pg_try_advisory_xact_lock(key)).get_result(connection),
    }
}

/// Waits in the queue of a lock, and succeeds with or without it.
pub(super) fn wait_for(
    connection: &mut PgConnection,
    key: i64,
    hold: Hold,
    patience: Duration,
) -> QueryResult<()> {
    let (function, patience) = (hold.function(), millis(patience));
    connection.batch_execute(&format!(
        "DO $$ DECLARE before text := current_setting('lock_timeout'); BEGIN \
           PERFORM set_config('lock_timeout', '{patience}', true); \
           BEGIN PERFORM {function}({key}); \
           EXCEPTION WHEN lock_not_available THEN NULL; END; \
           PERFORM set_config('lock_timeout', before, true); END $$"
    ))
}
