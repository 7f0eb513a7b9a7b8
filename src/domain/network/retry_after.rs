//! `Retry-After`: when a server wants the next request.

use chrono::{DateTime, NaiveDateTime, TimeDelta};

use crate::domain::clock::Time;

/// The two obsolete forms of a date (RFC 9110 §5.6.7): that of RFC 850, and that of asctime.
const OBSOLETE_DATES: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The value of `Retry-After` (RFC 9110 §10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds after the response arrived.
    Seconds(u32),
    At(Time),
}

impl RetryAfter {
    /// The value of a header field; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // A number of any length is valid; one that is too large is a long time all the same.
            return Some(Self::Seconds(text.parse().unwrap_or(u32::MAX)));
        }
        let date = DateTime::parse_from_rfc2822(text).map(|date| date.to_utc());
        let obsolete = OBSOLETE_DATES.iter().find_map(|form| {
            let date = NaiveDateTime::parse_from_str(text, form).ok()?;
            Some(date.and_utc())
        });
        date.ok().or(obsolete).map(Self::At)
    }

    /// When the next request may be made, if the response arrived `now`: at most `longest` later.
    #[must_use]
    pub fn instant(self, now: Time, longest: TimeDelta) -> Time {
        let asked = match self {
            Self::Seconds(seconds) => now + TimeDelta::seconds(seconds.into()),
            Self::At(time) => time,
        };
        asked.min(now + longest).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_read() {
        // The examples of RFC 9110 §5.6.7.
        let at = Some(RetryAfter::At(from_unix(784_111_777)));
        for (text, value) in [
            ("120", Some(RetryAfter::Seconds(120))),
            (" 0\t", Some(RetryAfter::Seconds(0))),
            ("99999999999999", Some(RetryAfter::Seconds(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", at),
            ("Sunday, 06-Nov-94 08:49:37 GMT", at),
            ("Sun Nov  6 08:49:37 1994", at),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(RetryAfter::parse(text), value, "{text}");
        }
    }

    #[test]
    fn the_wait_is_bounded_on_both_sides() {
        let (now, day) = (from_unix(1_000_000), TimeDelta::days(1));
        for (value, wait) in [
            (RetryAfter::Seconds(120), 120),
            (RetryAfter::Seconds(u32::MAX), 86_400),
            (RetryAfter::At(from_unix(1_000_060)), 60),
            (RetryAfter::At(from_unix(0)), 0),
            (RetryAfter::At(Time::MAX_UTC), 86_400),
        ] {
            let waited = value.instant(now, day) - now;
            assert_eq!(waited.num_seconds(), wait, "{value:?}");
        }
    }
}
