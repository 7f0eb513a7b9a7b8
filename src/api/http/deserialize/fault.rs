//! Why a request cannot be parsed, worded for callers of the API.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// Characters of an unknown member's name that an error quotes.
const MAX_NAME: usize = 40;

/// Why a request cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Fault {
    Missing(&'static str),
    Unknown {
        /// Truncated to [`MAX_NAME`].
        name: String,
        /// A known member with a similar name.
        nearest: Option<&'static str>,
    },
    Malformed {
        /// The innermost member or parameter concerned, if it has a name.
        name: Option<String>,
        why: String,
    },
}

impl Fault {
    /// An unknown member, and which of the known ones may be meant.
    pub(super) fn unknown(name: &str, known: &[&'static str]) -> Self {
        let name: String = name.chars().take(MAX_NAME).collect();
        let distance = |known: &&'static str| strsim::damerau_levenshtein(&name, known);
        let nearest = known.iter().copied().min_by_key(distance);
        // A third of the letters may differ: `blok` is near `block`, and `spc` is near nothing.
        let nearest = nearest.filter(|known| distance(known) * 3 <= known.len());
        Self::Unknown { name, nearest }
    }

    pub(in crate::api) fn malformed(name: &str, why: impl fmt::Display) -> Self {
        Self::Malformed {
            name: Some(name.to_owned()),
            why: why.to_string(),
        }
    }

    /// The stable problem code for a body.
    pub(in crate::api) const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing-member",
            Self::Unknown { .. } => "unknown-member",
            Self::Malformed { .. } => "malformed-member",
        }
    }

    /// Adds the name of the member, unless the fault already names a more specific one.
    pub(super) fn within(self, outer: &str) -> Self {
        match self {
            Self::Malformed { name: None, why } => Self::malformed(outer, why),
            Self::Missing(_) | Self::Unknown { .. } | Self::Malformed { .. } => self,
        }
    }

    pub(super) fn expected(expected: &dyn Expected) -> Self {
        // The names that serde's visitors give to their types.
        let expected = expected.to_string();
        let range = |first: &dyn fmt::Display, last: &dyn fmt::Display| {
            format!("expected a whole number from {first} to {last}")
        };
        de::Error::custom(match expected.as_str() {
            "u8" => range(&u8::MIN, &u8::MAX),
            "u16" => range(&u16::MIN, &u16::MAX),
            "u32" => range(&u32::MIN, &u32::MAX),
            "u64" => range(&u64::MIN, &u64::MAX),
            "i64" => format!("expected a whole number of at most {}", i64::MAX),
            "a string" => "expected a string".to_owned(),
            "a boolean" => "expected true or false".to_owned(),
            "a sequence" => "expected an array".to_owned(),
            "a map" => "expected an object".to_owned(),
            other => format!("expected {other}"),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::Unknown {
                name,
                nearest: Some(nearest),
            } => write!(f, "`{name}` is unknown; is `{nearest}` meant?"),
            Self::Unknown {
                name,
                nearest: None,
            } => write!(f, "`{name}` is unknown"),
            Self::Malformed {
                name: Some(name),
                why,
            } => write!(f, "`{name}`: {why}"),
            Self::Malformed { name: None, why } => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    /// The errors of this service's own types come through here.
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::Malformed {
            name: None,
            why: why.to_string(),
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {}", known.join(", ")))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::unknown(name, known)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Missing(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::custom(format_args!("`{name}` is given twice"))
    }
}
