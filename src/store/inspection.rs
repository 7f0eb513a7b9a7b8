//! What a server is asked before it is relied on. Engines and poolers are not known by their names,
//! but by what they do with two connections.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Integer;

use super::error::OpenError;
use super::locks::{Hold, acquire, attempt};
use super::timeouts::{DatabaseTimeouts, TransactionKind};

/// How often the sessions of two connections are compared. A pooler that is idle gives both of them
/// one session at once; a busy one gives each of them another one soon.
const COMPARISONS: u32 = 6;

/// Whether the two connections get sessions of the server for one transaction at a time, as from a
/// pooler in transaction mode, instead of having one each.
pub(super) fn share_sessions(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> QueryResult<bool> {
    let (one, other) = (session_of(first)?, session_of(second)?);
    for _ in 0..COMPARISONS {
        if one == other || session_of(first)? != one || session_of(second)? != other {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server process behind the next transaction of a connection.
fn session_of(connection: &mut PgConnection) -> QueryResult<i32> {
    diesel::select(sql::<Integer>("pg_backend_pid()")).get_result(connection)
}

/// Checks that advisory locks exclude each other as PostgreSQL's do: what mints and what ends
/// authority rely on nothing else. Other engines have functions of these names that do nothing.
pub(super) fn check_locks(
    first: &mut PgConnection,
    second: &mut PgConnection,
    timeouts: &DatabaseTimeouts,
) -> Result<(), OpenError> {
    let failed = |error: diesel::result::Error| {
        OpenError::of_query(&error, |why| OpenError::Locks(format!("it says: {why}")))
    };
    // Not one that another process uses for the same question now.
    let key = locks_key().map_err(OpenError::Locks)?;
    let found = lock_each_other_out(first, second, timeouts, key);
    // A connection in an unknown state is of no use to the caller either, and fails there.
    let ended = first
        .batch_execute("ROLLBACK")
        .and(second.batch_execute("ROLLBACK"));
    match found.and_then(|found| ended.map(|()| found)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Locks(
            "two sessions held a lock at the same time that only one can hold".to_owned(),
        )),
        Err(error) => Err(failed(error)),
    }
}

fn locks_key() -> Result<i64, String> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(|error| error.to_string())?;
    // Negative, as none of our own locks is.
    Ok(i64::from_ne_bytes(bits) | i64::MIN)
}

/// Whether a lock that is held alone keeps all others out, a shared one only those that want it
/// alone, and both end with their transactions; and whether a wait for one can be cut short.
fn lock_each_other_out(
    first: &mut PgConnection,
    second: &mut PgConnection,
    timeouts: &DatabaseTimeouts,
    key: i64,
) -> QueryResult<bool> {
    let begin = timeouts.begin_writing(TransactionKind::Request);
    first.batch_execute(&begin)?;
    second.batch_execute(&begin)?;
    let excluded = attempt(first, key, Hold::Exclusive)?
        && !attempt(second, key, Hold::Exclusive)?
        && !attempt(second, key, Hold::Shared)?;
    first.batch_execute(&format!("ROLLBACK; {begin}"))?;
    let passed_on = attempt(second, key, Hold::Shared)? && attempt(first, key, Hold::Shared)?;
    first.batch_execute(&format!("ROLLBACK; {begin}"))?;
    // A wait for it has to end as well, without the lock.
    let kept_out = !acquire(first, key, Hold::Exclusive, Duration::from_millis(1))?;
    Ok(excluded && passed_on && kept_out)
}
