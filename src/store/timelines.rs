//! Which of two servers that both accept writes is the newer primary.
//!
//! A primary that is frozen, replaced and resumed is not in recovery: until its cluster manager
//! demotes it, it answers over connections that were opened before, with its old rows. But each
//! promotion starts a new timeline of the WAL, with a higher number. So no transaction begins on a
//! server whose timeline is older than one that this process has used.

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};
use parking_lot::Mutex;

use super::error::Remedy;
use crate::telemetry::RepeatedLine;

/// The timeline that a server writes to, as eight hexadecimal digits.
const TIMELINE: &str = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";

/// For how long the newest timeline must not have been used before an older one is accepted, as
/// after a restore or a move to another cluster. A primary that was replaced is demoted sooner.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// The newest timeline that this process has used.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    newest: Mutex<Newest>,
    refusals: RepeatedLine,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Newest {
    #[default]
    Unknown,
    /// The server cannot tell, such as one whose storage has no WAL.
    Untold,
    Used {
        timeline: u32,
        last: Instant,
    },
}

impl Timelines {
    /// Notes the timeline of a new connection. Fails if it is an old one.
    pub(super) fn admit(&self, connection: &mut PgConnection) -> QueryResult<()> {
        if *self.newest.lock() == Newest::Untold {
            return Ok(());
        }
        match timeline_of(connection) {
            Ok(Some(found)) => self.compare(found, Instant::now()),
            // A transaction that may write does not begin there.
            Ok(None) => Ok(()),
            Err(error) if Remedy::for_error(&error) == Remedy::Reconnect => Err(error),
            Err(error) => {
                log::warn!(
                    "the database does not tell its timeline, so a primary that was replaced is \
                     recognized only when it is demoted: {error}"
                );
                *self.newest.lock() = Newest::Untold;
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
    ) -> QueryResult<()> {
        let newest = *self.newest.lock();
        let expected = match newest {
            Newest::Used { timeline, .. } => timeline,
            Newest::Unknown | Newest::Untold => return begin(connection, ""),
        };
        let Err(error) = begin(connection, &unless_on(expected)) else {
            self.used(expected, Instant::now());
            return Ok(());
        };
        match timeline_of(connection) {
            Ok(Some(found)) if found != expected => {
                self.compare(found, Instant::now())?;
                begin(connection, &unless_on(found))
            }
            // So it failed for another reason.
            Ok(_) | Err(_) => Err(error),
        }
    }

    /// A transaction began on this timeline.
    fn used(&self, found: u32, now: Instant) {
        if let Newest::Used { timeline, last } = &mut *self.newest.lock()
            && *timeline == found
        {
            *last = now;
        }
    }

    /// A server was found to be on this timeline. Fails if that is an old one.
    fn compare(&self, found: u32, now: Instant) -> QueryResult<()> {
        let mut newest = self.newest.lock();
        if let Newest::Used { timeline, last } = *newest {
            if found < timeline && now.saturating_duration_since(last) < MAX_SILENCE {
                drop(newest);
                return Err(self.refused(found, timeline, now));
            }
            if found < timeline {
                log::error!(
                    "the database has gone back from timeline {timeline} to {found}: what was \
                     committed on the later ones may be lost"
                );
            } else if found > timeline {
                log::warn!("the database continues on timeline {found}: a standby was promoted");
            }
        }
        *newest = Newest::Used {
            timeline: found,
            last: now,
        };
        Ok(())
    }

    fn refused(&self, found: u32, newest: u32, now: Instant) -> DieselError {
        let why = format!(
            "the server is a primary that was replaced: it is on timeline {found}, and {newest} \
             is in use"
        );
        if let Some(left_out) = self.refusals.left_out(now) {
            log::warn!(left_out; "{why}");
        }
        // As if it had been demoted already.
        DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, Box::new(why))
    }
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
    let parsed = timeline.map(|digits| u32::from_str_radix(&digits, 16));
    parsed
        .transpose()
        .map_err(|error| DieselError::DeserializationError(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_older_timeline_is_refused_while_a_newer_one_is_in_use() {
        let (timelines, start) = (Timelines::default(), Instant::now());
        timelines.compare(4, start).expect("the first");
        timelines.compare(6, start + SECOND).expect("a promotion");
        // A transaction that had begun before it.
        timelines.used(4, start + SECOND);
        let refused = timelines.compare(4, start + SECOND * 30);
        let refused = refused.expect_err("the old primary");
        assert_eq!(Remedy::for_error(&refused), Remedy::Reconnect);
        assert!(refused.to_string().contains("on timeline 4, and 6"));
        timelines.used(6, start + SECOND * 40);
        assert!(timelines.compare(5, start + SECOND * 90).is_err());
        timelines
            .compare(6, start + SECOND * 90)
            .expect("the newest");
    }

    #[test]
    fn an_older_timeline_is_accepted_after_a_minute_without_a_newer_one() {
        let (timelines, start) = (Timelines::default(), Instant::now());
        timelines.compare(6, start).expect("the first");
        assert!(timelines.compare(1, start + SECOND * 59).is_err());
        timelines
            .compare(1, start + MAX_SILENCE)
            .expect("another cluster");
        timelines.used(1, start + MAX_SILENCE);
        timelines
            .compare(2, start + MAX_SILENCE)
            .expect("a promotion there");
    }
}
