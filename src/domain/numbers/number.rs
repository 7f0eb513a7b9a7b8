//! Telephone numbers and ranges of them (E.164; RFC 8226 §9).
//!
//! A number is a digit count and an integer, stored together as one *position*: `digits * 10^15 +
//! value`. Numbers of one length are contiguous and in order; those of different lengths never
//! meet, so `+4930123` and `+49301234` cannot be confused as string prefixes could.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// E.164 allows at most this many digits, country code included; so does RFC 8226 (`SIZE (1..15)`).
pub const MAX_DIGITS: u8 = 15;

/// One more than the largest value that [`MAX_DIGITS`] digits can hold.
const SCALE: i64 = 1_000_000_000_000_000;

/// Why a text or a pair of integers is not a number or a range of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NumberError {
    #[error("a number is written as `+` and its digits, country code first")]
    NoPlus,
    #[error("a number has 1 to 15 digits, not {0}")]
    Length(usize),
    #[error("`{0}` is not a digit")]
    NotADigit(char),
    #[error("no country code starts with 0")]
    LeadingZero,
    #[error("the count is too large")]
    Count,
    #[error("a range has at least one number")]
    Empty,
    #[error("{count} numbers from {start} run past the last number with {digits} digits")]
    TooMany { start: Tn, count: u64, digits: u8 },
    #[error("{first} and {last} do not have the same number of digits")]
    DigitCount { first: Tn, last: Tn },
    #[error("the range ends at {last}, before it starts at {first}")]
    Backwards { first: Tn, last: Tn },
    #[error("position {0} is not a telephone number")]
    Position(i64),
}

/// An E.164 telephone number: country code and digits, at most 15. Written `+12125551001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tn(i64);

impl Tn {
    /// Parses the digits only, without `+`, as a TNAuthList spells a number (RFC 8226 §9).
    ///
    /// # Errors
    /// [`NumberError`] if there are not 1 to 15 ASCII digits, or the first of them is 0.
    pub fn from_digits(text: &str) -> Result<Self, NumberError> {
        if let Some(other) = text.chars().find(|c| !c.is_ascii_digit()) {
            return Err(NumberError::NotADigit(other));
        }
        let digits = u8::try_from(text.len())
            .ok()
            .filter(|n| (1..=MAX_DIGITS).contains(n))
            .ok_or(NumberError::Length(text.len()))?;
        if text.starts_with('0') {
            return Err(NumberError::LeadingZero);
        }
        let value = text
            .bytes()
            .fold(0_i64, |sum, b| sum * 10 + i64::from(b - b'0'));
        Ok(Self(i64::from(digits) * SCALE + value))
    }

    /// The number with this [`Tn::position`].
    ///
    /// # Errors
    /// [`NumberError::Position`] if no number has this position.
    pub fn from_position(position: i64) -> Result<Self, NumberError> {
        let tn = Self(position);
        let digits = position / SCALE;
        let in_width = u8::try_from(digits)
            .ok()
            .filter(|n| (1..=MAX_DIGITS).contains(n))
            .is_some_and(|n| {
                let low = 10_i64.pow(u32::from(n) - 1);
                (low..=(low - 1) * 10 + 9).contains(&tn.value())
            });
        if in_width {
            Ok(tn)
        } else {
            Err(NumberError::Position(position))
        }
    }

    /// The integer that orders all numbers: `digits * 10^15 + value`.
    #[must_use]
    pub const fn position(self) -> i64 {
        self.0
    }

    /// How many digits the number has, country code included.
    #[must_use]
    pub fn digits(self) -> u8 {
        u8::try_from(self.0 / SCALE).unwrap_or(MAX_DIGITS)
    }

    /// The digits without `+`, as in a TNAuthList.
    #[must_use]
    pub fn to_digits(self) -> String {
        self.value().to_string()
    }

    const fn value(self) -> i64 {
        self.0 % SCALE
    }

    /// The largest position that a number of this many digits can have.
    fn last_of_width(self) -> i64 {
        (self.0 / SCALE) * SCALE + (10_i64.pow(u32::from(self.digits())) - 1)
    }
}

impl fmt::Display for Tn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.value())
    }
}

impl fmt::Debug for Tn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Tn {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_digits(text.strip_prefix('+').ok_or(NumberError::NoPlus)?)
    }
}

impl Serialize for Tn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Consecutive numbers with the same digit count, both ends included. Never enumerated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumberRange {
    first: Tn,
    last: Tn,
}

impl NumberRange {
    /// `count` numbers, of which `start` is the first.
    ///
    /// # Errors
    /// [`NumberError`] if `count` is 0 or the range would run into numbers of more digits.
    pub fn new(start: Tn, count: u64) -> Result<Self, NumberError> {
        let steps = count.checked_sub(1).ok_or(NumberError::Empty)?;
        i64::try_from(steps)
            .ok()
            .and_then(|steps| start.0.checked_add(steps))
            .filter(|last| *last <= start.last_of_width())
            .map(|last| Self {
                first: start,
                last: Tn(last),
            })
            .ok_or(NumberError::TooMany {
                start,
                count,
                digits: start.digits(),
            })
    }

    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`NumberError`] if the two differ in digit count, or `last` is before `first`.
    pub fn between(first: Tn, last: Tn) -> Result<Self, NumberError> {
        if first.digits() != last.digits() {
            return Err(NumberError::DigitCount { first, last });
        }
        if last < first {
            return Err(NumberError::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// The first number.
    #[must_use]
    pub const fn first(self) -> Tn {
        self.first
    }

    /// The last number, which is part of the range.
    #[must_use]
    pub const fn last(self) -> Tn {
        self.last
    }

    /// How many numbers there are; at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        self.last.0.abs_diff(self.first.0) + 1
    }

    /// The smallest power of ten that is not below `count`.
    ///
    /// Stored with a range, it lets an index find the ranges that overlap a number in O(log n +
    /// matches): a range of span `s` that contains a number starts less than `s` before it, and
    /// there are only 16 spans.
    #[must_use]
    pub fn span(self) -> i64 {
        (0..u32::from(MAX_DIGITS))
            .map(|k| 10_i64.pow(k))
            .find(|span| self.count() <= span.unsigned_abs())
            .unwrap_or(SCALE)
    }

    /// Whether `tn` is one of the numbers.
    #[must_use]
    pub fn contains(self, tn: Tn) -> bool {
        self.first <= tn && tn <= self.last
    }

    /// The numbers that are in both ranges, if there are any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// The range from just after this one to `last`, if it is not empty.
    pub(in crate::domain) fn rest_until(self, last: Tn) -> Option<Self> {
        let first = Tn(self.last.0 + 1);
        (self.last < last).then_some(Self { first, last })
    }

    /// The part of this range before `tn`, if any.
    pub(in crate::domain) fn part_before(self, tn: Tn) -> Option<Self> {
        let last = self.last.min(Tn(tn.0 - 1));
        (self.first < tn).then_some(Self {
            first: self.first,
            last,
        })
    }

    /// This range and `next` as one, if `next` starts inside it or just after it.
    pub(in crate::domain) fn joined(self, next: Self) -> Option<Self> {
        let touching = next.first >= self.first
            && next.first.0 <= self.last.0.saturating_add(1)
            && next.first.digits() == self.first.digits();
        touching.then_some(Self {
            first: self.first,
            last: self.last.max(next.last),
        })
    }
}

impl From<Tn> for NumberRange {
    fn from(tn: Tn) -> Self {
        Self {
            first: tn,
            last: tn,
        }
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}

impl fmt::Debug for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `{"start":"+12125551000","count":1000}`
impl Serialize for NumberRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("NumberRange", 2)?;
        object.serialize_field("start", &self.first)?;
        object.serialize_field("count", &self.count())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tn(text: &str) -> Tn {
        text.parse().expect("a number")
    }

    #[test]
    fn numbers_are_e164_and_nothing_else() {
        assert_eq!(tn("+12125551001").to_string(), "+12125551001");
        assert_eq!(tn("+12125551001").to_digits(), "12125551001");
        assert_eq!(tn("+12125551001").position(), 11_000_012_125_551_001);
        for wrong in [
            "12125551001",
            "+",
            "",
            "+1234567890123456",
            "+0125551001",
            "+1212555100a",
            "+1 212",
            "tel:+12125551001",
            "+１２１２",
            "+12125551001\n",
        ] {
            assert!(wrong.parse::<Tn>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn every_position_comes_back_and_no_other() {
        for text in ["+1", "+9", "+10", "+99", "+999999999999999", "+12125551001"] {
            assert_eq!(Tn::from_position(tn(text).position()), Ok(tn(text)));
        }
        for wrong in [
            0,
            -1,
            i64::MIN,
            i64::MAX,
            SCALE,
            2 * SCALE + 9,
            2 * SCALE + 100,
        ] {
            assert!(Tn::from_position(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_range_stays_within_its_width() {
        let block = NumberRange::new(tn("+12125551000"), 1000).expect("a block");
        assert_eq!(block.last(), tn("+12125551999"));
        assert_eq!((block.count(), block.span()), (1000, 1000));
        assert_eq!(NumberRange::from(tn("+1")).span(), 1);
        assert!(NumberRange::new(tn("+99"), 1).is_ok());
        for count in [0, 2, u64::MAX, 1 << 31, 1 << 63] {
            assert!(NumberRange::new(tn("+99"), count).is_err(), "{count}");
        }
    }

    #[test]
    fn widths_do_not_leak_into_each_other() {
        let short = NumberRange::from(tn("+4930123"));
        let long = NumberRange::from(tn("+49301234"));
        assert_eq!(short.intersection(long), None);
        assert!(NumberRange::between(tn("+4930123"), tn("+49301234")).is_err());
    }
}
