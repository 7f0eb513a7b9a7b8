//! The only module that reads the system clock. All others take the time as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use thiserror::Error;

/// An instant in UTC, in whole seconds: numbers change hands at a second that is known in advance.
pub type Time = DateTime<Utc>;

/// The source of the time: the system clock, or a fixed time that tests set.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `time` until [`Clock::set`] changes it. Clones share the time.
    #[must_use]
    pub fn fixed_at(time: Time) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(time.timestamp()))))
    }

    /// Changes the time of a fixed clock; does nothing to the system clock.
    pub fn set(&self, time: Time) {
        match &self.0 {
            Source::System => {}
            Source::Set(seconds) => seconds.store(time.timestamp(), Ordering::SeqCst),
        }
    }

    /// The current time, in whole seconds.
    #[must_use]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => system_time(),
            Source::Set(seconds) => from_unix(seconds.load(Ordering::SeqCst)),
        }
    }

    /// The current time in microseconds since 1970, to be compared with another clock. No decision
    /// depends on it.
    #[must_use]
    pub fn unix_micros(&self) -> i64 {
        match &self.0 {
            Source::System => precise_time().timestamp_micros(),
            Source::Set(seconds) => seconds.load(Ordering::SeqCst).saturating_mul(1_000_000),
        }
    }
}

/// The instant `seconds` after 1970-01-01T00:00:00Z; the latest possible time if it is out of
/// range.
#[must_use]
pub fn from_unix(seconds: i64) -> Time {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The instant as the API writes it: `2022-01-01T00:00:00Z`.
#[must_use]
pub fn rfc3339(time: &Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Why a text is not an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimeError {
    #[error("a time is written as in RFC 3339, such as 2027-01-31T00:00:00Z")]
    Syntax,
    #[error("a time is a whole second")]
    Fraction,
    /// RFC 3339 has years of four digits, in UTC too.
    #[error("a time must be in the years 1 to 9999, in UTC")]
    Year,
}

/// Parses an RFC 3339 time with any offset; a fraction of a second must be zero.
pub fn parse_time(text: &str) -> Result<Time, TimeError> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::Syntax)?;
    if time.nanosecond() != 0 {
        return Err(TimeError::Fraction);
    }
    let time = time.to_utc();
    if is_written(&time) {
        Ok(time)
    } else {
        Err(TimeError::Year)
    }
}

/// Whether RFC 3339 can express the instant in UTC.
#[must_use]
pub fn is_written(time: &Time) -> bool {
    (1..=9999).contains(&time.year())
}

/// The nanoseconds elapsed in `second` if it is the current second of the system clock, else 0.
/// Used only to order ids; no decision depends on it.
#[must_use]
pub fn within_second(second: Time) -> u32 {
    let now = precise_time();
    if now.timestamp() == second.timestamp() {
        now.timestamp_subsec_nanos().min(999_999_999)
    } else {
        0
    }
}

fn system_time() -> Time {
    let now = precise_time();
    now.with_nanosecond(0).unwrap_or(now)
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn precise_time() -> Time {
    Utc::now()
}
