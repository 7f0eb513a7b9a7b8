//! Enums whose variants have a name in the API, the configuration, the database or the log. Each
//! name is written once.

use std::fmt;

use thiserror::Error;

/// The text is none of the known names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {}", Known(.0))]
pub struct WordError(pub(crate) &'static [&'static str]);

/// Lists the names in an error: `a or b`, else `one of a, b, c`.
struct Known<'a>(&'a [&'a str]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one, other] => write!(f, "{one} or {other}"),
            words => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// Lists names in a sentence: `a, b or c`.
#[must_use]
pub fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Gives the variants of an enum without data their names: `ALL`, `WORDS`, `as_str` and
/// `from_word`, and the traits that are listed, if any.
///
/// ```text
/// words! {
///     /// The name in the API.
///     impl Display, FromStr for Suit { Hearts = "hearts", Spades = "spades" }
/// }
/// ```
///
/// `FromStr`, and with it `Deserialize`, accepts exactly these names; its error lists them.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $(impl $($name:ident),+)? for $type:ident { $($variant:ident = $word:literal),+ $(,)? }
    ) => {
        impl $type {
            /// All variants.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The names of all variants.
            pub const WORDS: [&str; [$($word),+].len()] = [$($word),+];

            $(#[$doc])*
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The variant with this name, if there is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        $($($crate::domain::text::words::words!(@$name $type);)+)?
    };
    (@Display $type:ident) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
    (@FromStr $type:ident) => {
        impl std::str::FromStr for $type {
            type Err = $crate::domain::text::words::WordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_word(text).ok_or($crate::domain::text::words::WordError(&Self::WORDS))
            }
        }
    };
    (@Serialize $type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
    (@Deserialize $type:ident) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Suit {
        Hearts,
        Spades,
    }

    words! {
        /// The name of the suit.
        impl Display, FromStr, Serialize, Deserialize for Suit { Hearts = "hearts", Spades = "spades" }
    }

    #[test]
    fn a_word_is_written_and_read_in_one_way() {
        for suit in Suit::ALL {
            assert_eq!(suit.as_str().parse(), Ok(suit));
            assert_eq!(suit.to_string(), suit.as_str());
            let json = serde_json::to_string(&suit).expect("a word");
            assert_eq!(json, format!("\"{suit}\""));
            assert_eq!(serde_json::from_str::<Suit>(&json).expect("a word"), suit);
        }
        for wrong in ["", "Hearts", "hearts ", "clubs"] {
            let error = wrong.parse::<Suit>().expect_err(wrong);
            assert_eq!(error.to_string(), "expected hearts or spades");
            assert_eq!(Suit::from_word(wrong), None);
        }
    }

    #[test]
    fn errors_list_the_words() {
        assert_eq!(WordError(&["a"]).to_string(), "expected one of a");
        assert_eq!(
            WordError(&["a", "b", "c"]).to_string(),
            "expected one of a, b, c"
        );
        assert_eq!(listed(&["a", "b", "c"]), "a, b or c");
        assert_eq!(listed(&["a"]), "a");
    }
}
