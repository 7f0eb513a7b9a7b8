//! Which of two servers that both accept writes is the newer primary.
//!
//! A primary that is frozen, replaced and resumed is not in recovery: until its cluster manager
//! demotes it, it answers over connections that were opened before, with its old rows. But each
//! promotion starts a new timeline of the WAL, with a higher number. So no transaction begins on a
//! server whose timeline is older than one that this process has used.

use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, TransactionManager as _};
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};
use parking_lot::Mutex;

use super::error::Remedy;
use super::timeouts::BEGIN_WRITING;
use crate::telemetry::RepeatedLine;

/// The timeline that a server writes to, as eight hexadecimal digits.
const TIMELINE: &str = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";

/// For how long the newest timeline must not have been used before an older one is accepted, as
/// after a restore or a move to another cluster. A primary that was replaced is demoted sooner.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// The newest timeline that this process has used.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    newest: Mutex<Option<Newest>>,
    refusals: RepeatedLine,
    unknown: RepeatedLine,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    timeline: u32,
    /// When a transaction last began on it.
    last: Instant,
}

/// The timeline that a transaction began on, if it is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct BegunOn(Option<u32>);

impl Timelines {
    /// Notes the timeline of a new connection. Fails if it is an old one, or if the server is in
    /// recovery. A server that cannot tell, such as one whose storage has no WAL, is accepted while
    /// no timeline is known.
    pub(super) fn admit(&self, connection: &mut PgConnection) -> QueryResult<()> {
        match timeline_of(connection) {
            Ok(Some(found)) => self.compare(found, Instant::now()),
            Ok(None) => Err(unwritable("the server is in recovery: it is a standby")),
            Err(error) if self.newest.lock().is_some() => Err(error),
            Err(error) if Remedy::for_error(&error) == Remedy::Reconnect => Err(error),
            Err(error) => {
                if let Some(left_out) = self.unknown.left_out(Instant::now()) {
                    log::warn!(
                        left_out;
                        "the database does not tell its timeline, so a primary that was replaced \
                         is recognized only when it is demoted: {error}"
                    );
                }
                Ok(())
            }
        }
    }

    /// Begins a transaction with `begin`, unless the server is on an old timeline. What is passed
    /// to it belongs to the columns of its last `SELECT`, so that the timeline is compared in the
    /// same round trip. Only if it is another one, the server is asked which.
    pub(super) fn begin(
        &self,
        connection: &mut PgConnection,
        begin: impl Fn(&mut PgConnection, &str) -> QueryResult<()>,
    ) -> QueryResult<BegunOn> {
        let Some(expected) = self.newest_timeline() else {
            begin(connection, "")?;
            return Ok(BegunOn(None));
        };
        let Err(error) = begin(connection, &unless_on(expected)) else {
            return self.must_still_be(expected, connection);
        };
        match timeline_of(connection) {
            Ok(Some(found)) if found != expected => {
                self.compare(found, Instant::now())?;
                begin(connection, &unless_on(found))?;
                self.must_still_be(found, connection)
            }
            // So it failed for another reason.
            Ok(_) | Err(_) => Err(error),
        }
    }

    /// Begins a transaction that writes, with its settings, unless the server is on an old
    /// timeline. `lock` is an expression that takes a lock; returns what it says. The settings, the
    /// timeline and the lock are one statement, which is prepared once.
    pub(super) fn begin_writing(
        &self,
        connection: &mut PgConnection,
        settings: &str,
        lock: &str,
    ) -> QueryResult<(BegunOn, bool)> {
        AnsiTransactionManager::begin_transaction_sql(connection, BEGIN_WRITING)?;
        let expected = self.newest_timeline();
        let timeline = expected.map_or("NULL::text", |_| TIMELINE);
        let query = FirstQuery(format!("SELECT concat({settings}), {timeline}, {lock}"));
        let first = query.get_result(connection);
        let begun = first.and_then(|(_, found, has_lock): (String, Option<String>, bool)| {
            let found = found.as_deref().map(parsed).transpose()?;
            if let Some(found) = found.filter(|found| Some(*found) != expected) {
                self.compare(found, Instant::now())?;
            }
            Ok((found, has_lock))
        });
        match begun {
            Ok((None, has_lock)) => Ok((BegunOn(None), has_lock)),
            Ok((Some(found), has_lock)) => Ok((self.must_still_be(found, connection)?, has_lock)),
            Err(error) => {
                let _ = AnsiTransactionManager::rollback_transaction(connection);
                Err(error)
            }
        }
    }

    /// Whether no newer timeline was found since a transaction began: its server may have been
    /// frozen in the middle of it.
    pub(super) fn is_newest(&self, begun: BegunOn) -> bool {
        begun.0.is_none() || self.newest_timeline() == begun.0
    }

    fn newest_timeline(&self) -> Option<u32> {
        self.newest.lock().map(|newest| newest.timeline)
    }

    /// A transaction has begun on this timeline. The server may have been frozen before it
    /// answered, and another thread may have found a newer one meanwhile.
    fn must_still_be(&self, begun: u32, connection: &mut PgConnection) -> QueryResult<BegunOn> {
        let Some(error) = self.used(begun, Instant::now()).err() else {
            return Ok(BegunOn(Some(begun)));
        };
        AnsiTransactionManager::rollback_transaction(connection)?;
        Err(error)
    }

    fn used(&self, begun: u32, now: Instant) -> QueryResult<()> {
        let mut newest = self.newest.lock();
        match &mut *newest {
            Some(newest) if newest.timeline == begun => newest.last = now,
            Some(Newest { timeline, .. }) if *timeline > begun => {
                return Err(self.refused(begun, *timeline, now));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// A server was found to be on this timeline. Fails if that is an old one.
    fn compare(&self, found: u32, now: Instant) -> QueryResult<()> {
        let mut newest = self.newest.lock();
        if let Some(Newest { timeline, last }) = *newest {
            if found == timeline {
                return Ok(());
            }
            if found > timeline {
                log::warn!(
                    "the database continues on timeline {found}, after {timeline}: a standby was \
                     promoted, or a backup restored"
                );
            } else if now.saturating_duration_since(last) < MAX_SILENCE {
                return Err(self.refused(found, timeline, now));
            } else {
                log::error!(
                    "the database has gone back from timeline {timeline} to {found}: what was \
                     committed on the later one may be lost, unless it was moved to another cluster"
                );
            }
        }
        *newest = Some(Newest {
            timeline: found,
            last: now,
        });
        Ok(())
    }

    fn refused(&self, found: u32, newest: u32, now: Instant) -> DieselError {
        let why = format!(
            "the server is on timeline {found}, and {newest} was in use a moment ago: it is a \
             primary that was replaced, or another cluster"
        );
        if let Some(left_out) = self.refusals.left_out(now) {
            log::warn!(
                left_out;
                "{why}; it is used once nothing was done on timeline {newest} for {} s, or after a \
                 restart of the service", MAX_SILENCE.as_secs()
            );
        }
        unwritable(&why)
    }
}

/// As if the server had been demoted already.
fn unwritable(why: &str) -> DieselError {
    DieselError::DatabaseError(
        DatabaseErrorKind::ReadOnlyTransaction,
        Box::new(why.to_owned()),
    )
}

/// A column that fails on every other timeline. The server logs the text.
fn unless_on(timeline: u32) -> String {
    format!(
        ", CASE WHEN {TIMELINE} <> '{timeline:08X}' \
         THEN CAST('timeline ' || {TIMELINE} || ', not {timeline:08X}' AS integer) END"
    )
}

/// None if the server is in recovery.
fn timeline_of(connection: &mut PgConnection) -> QueryResult<Option<u32>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        timeline: Option<String>,
    }
    let query = format!("SELECT CASE WHEN NOT pg_is_in_recovery() THEN {TIMELINE} END AS timeline");
    let Row { timeline } = sql_query(query).get_result(connection)?;
    timeline.as_deref().map(parsed).transpose()
}

fn parsed(timeline: &str) -> QueryResult<u32> {
    u32::from_str_radix(timeline, 16)
        .map_err(|error| DieselError::DeserializationError(error.into()))
}

/// The first query of a transaction: its settings, which are of no interest, the timeline, and
/// whether it has the lock.
struct FirstQuery(String);

impl QueryFragment<Pg> for FirstQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.0);
        Ok(())
    }
}

impl Query for FirstQuery {
    type SqlType = (Text, Nullable<Text>, Bool);
}

impl QueryId for FirstQuery {
    type QueryId = ();
    // The text depends on the settings, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for FirstQuery {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_older_timeline_is_refused_while_a_newer_one_is_in_use() {
        let (timelines, start) = (Timelines::default(), Instant::now());
        timelines.compare(4, start).expect("the first");
        let begun = BegunOn(Some(4));
        assert!(timelines.is_newest(begun));
        timelines.compare(6, start + SECOND).expect("a promotion");
        // The server was frozen, and answers now.
        assert!(timelines.used(4, start + SECOND).is_err());
        assert!(!timelines.is_newest(begun));
        let refused = timelines.compare(4, start + SECOND * 30);
        let refused = refused.expect_err("the old primary");
        assert_eq!(Remedy::for_error(&refused), Remedy::Reconnect);
        assert!(refused.to_string().contains("on timeline 4, and 6"));
        timelines.used(6, start + SECOND * 40).expect("the newest");
        assert!(timelines.compare(5, start + SECOND * 90).is_err());
        timelines
            .compare(6, start + SECOND * 90)
            .expect("the newest");
        assert!(timelines.is_newest(BegunOn(Some(6))) && timelines.is_newest(BegunOn(None)));
    }

    #[test]
    fn an_older_timeline_is_accepted_after_a_minute_without_a_newer_one() {
        let (timelines, start) = (Timelines::default(), Instant::now());
        timelines.compare(6, start).expect("the first");
        // A server that lets connections in, and begins no transaction, is not in use.
        timelines
            .compare(6, start + SECOND * 30)
            .expect("the newest");
        assert!(timelines.compare(1, start + SECOND * 59).is_err());
        let moved = start + MAX_SILENCE;
        timelines.compare(1, moved).expect("another cluster");
        timelines.used(1, moved).expect("it is in use");
        timelines.compare(2, moved).expect("a promotion there");
    }
}
