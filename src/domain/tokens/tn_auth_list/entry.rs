//! The entries of a list (RFC 8226 §9): service provider codes, ranges, single numbers.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::error::{MalformedReason, TnAuthListError};
use crate::domain::numbers::block::parse_count;
use crate::domain::numbers::number::{MAX_DIGITS, NumberRange, Tn};
use crate::domain::numbers::spc::Spc;

/// A telephone number as RFC 8226 spells it: 1 to 15 of `0`-`9`, `#` and `*`. Not necessarily
/// E.164.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelephoneNumber {
    bytes: [u8; MAX_DIGITS as usize],
    length: u8,
}

impl TelephoneNumber {
    pub(super) fn new(text: &[u8]) -> Result<Self, MalformedReason> {
        let length = u8::try_from(text.len())
            .ok()
            .filter(|n| (1..=MAX_DIGITS).contains(n))
            .ok_or(MalformedReason::NumberLength(text.len()))?;
        let foreign = |b: &&u8| !(b.is_ascii_digit() || matches!(b, b'#' | b'*'));
        if let Some(byte) = text.iter().find(foreign) {
            return Err(MalformedReason::NumberCharacter(*byte));
        }
        let mut bytes = [0; MAX_DIGITS as usize];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self { bytes, length })
    }

    /// The characters, as in the list.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for TelephoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TelephoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// `count` numbers, of which `start` is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelephoneNumberRange {
    start: TelephoneNumber,
    count: u64,
}

impl TelephoneNumberRange {
    /// RFC 8226 §9: `start` has digits only, `count` is at least 2, and start + count is below 10^D
    /// for the D digits of `start`.
    pub(super) fn new(start: TelephoneNumber, count: u64) -> Result<Self, MalformedReason> {
        let digits = start.as_str().len();
        if !start.as_str().bytes().all(|b| b.is_ascii_digit()) {
            return Err(MalformedReason::RangeStart);
        }
        if count < 2 {
            return Err(MalformedReason::CountTooSmall(count.to_string()));
        }
        let limit = 10_u64.pow(u32::from(start.length));
        let first = start
            .as_str()
            .bytes()
            .fold(0_u64, |sum, b| sum * 10 + u64::from(b - b'0'));
        match first.checked_add(count) {
            Some(end) if end < limit => Ok(Self { start, count }),
            _ => Err(MalformedReason::CountTooLarge { digits }),
        }
    }

    /// The first number.
    pub(super) const fn start(self) -> TelephoneNumber {
        self.start
    }

    /// How many numbers there are.
    pub(super) const fn count(self) -> u64 {
        self.count
    }
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TnEntry {
    /// All numbers of a service provider.
    Spc(Spc),
    /// Consecutive numbers.
    Range(TelephoneNumberRange),
    /// A single number.
    One(TelephoneNumber),
}

impl Serialize for TnEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        match self {
            Self::Spc(spc) => object.serialize_entry("spc", spc)?,
            Self::Range(TelephoneNumberRange { start, count }) => {
                let range = serde_json::json!({ "start": start.as_str(), "count": count });
                object.serialize_entry("range", &range)?;
            }
            Self::One(one) => object.serialize_entry("one", one.as_str())?,
        }
        object.end()
    }
}

impl TnEntry {
    /// The numbers of the entry; an `spc` entry has none of its own.
    pub(super) fn numbers(&self) -> Option<Result<NumberRange, MalformedReason>> {
        match self {
            Self::Spc(_) => None,
            Self::Range(range) => Some(e164(range.start, range.count)),
            Self::One(one) => Some(e164(*one, 1)),
        }
    }
}

impl From<Spc> for TnEntry {
    fn from(spc: Spc) -> Self {
        Self::Spc(spc)
    }
}

/// The entry for these numbers. RFC 8226 §9 cannot express a range that ends with the last number
/// of its digit count.
impl TryFrom<NumberRange> for TnEntry {
    type Error = TnAuthListError;

    fn try_from(numbers: NumberRange) -> Result<Self, Self::Error> {
        let start = TelephoneNumber::new(numbers.first().to_digits().as_bytes())?;
        Ok(match numbers.count() {
            1 => Self::One(start),
            count => Self::Range(TelephoneNumberRange::new(start, count)?),
        })
    }
}

/// `spc:1234`, `one:12125551001` or `range:12125551000+1000`.
impl FromStr for TnEntry {
    type Err = TnAuthListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || MalformedReason::EntrySyntax(text.escape_debug().to_string());
        let (kind, value) = text.split_once(':').ok_or_else(syntax)?;
        if matches!(kind, "one" | "range") && value.starts_with('+') {
            return Err(MalformedReason::NumberPlus.into());
        }
        let entry = match kind {
            "spc" => Self::Spc(value.parse().map_err(MalformedReason::from)?),
            "one" => Self::One(TelephoneNumber::new(value.as_bytes())?),
            "range" => {
                let (start, count) = value.split_once('+').ok_or_else(syntax)?;
                let start = TelephoneNumber::new(start.as_bytes())?;
                let count = parse_count(count).map_err(|_| syntax())?;
                Self::Range(TelephoneNumberRange::new(start, count)?)
            }
            _ => return Err(syntax().into()),
        };
        Ok(entry)
    }
}

fn e164(start: TelephoneNumber, count: u64) -> Result<NumberRange, MalformedReason> {
    Tn::from_digits(start.as_str())
        .and_then(|tn| NumberRange::new(tn, count))
        .map_err(|why| MalformedReason::NotE164 { number: start, why })
}
