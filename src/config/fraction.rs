//! A fraction of a whole, such as `0.1`.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A fraction from 0 to 1, with a resolution of one millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    ppm: u32,
}

impl Fraction {
    /// One tenth.
    pub const TENTH: Self = Self { ppm: 100_000 };
    const WHOLE: f64 = 1_000_000.0;

    /// The fraction in parts per million.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.ppm
    }

    fn of(value: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the bounds are checked"
        )]
        (0.0..=1.0).contains(&value).then(|| Self {
            ppm: (value * Self::WHOLE).round() as u32,
        })
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Fraction;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a fraction from 0 to 1, such as 0.1")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Fraction, E> {
                Fraction::of(value)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "any value other than 0 and 1 is refused"
            )]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Fraction, E> {
                self.visit_f64(value as f64)
            }

            #[expect(
                clippy::cast_precision_loss,
                reason = "any value other than 0 and 1 is refused"
            )]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Fraction, E> {
                self.visit_f64(value as f64)
            }

            /// Values from the environment are text.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fraction, E> {
                let value = text.trim().parse().ok().and_then(Fraction::of);
                value.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_a_number_or_its_text() {
        let fraction = |json: &str| serde_json::from_str::<Fraction>(json).map(Fraction::ppm);
        for (json, ppm) in [
            ("0.1", 100_000),
            ("\"0.25\"", 250_000),
            ("1", 1_000_000),
            ("0", 0),
        ] {
            assert_eq!(fraction(json).expect(json), ppm);
        }
        for wrong in ["1.1", "-0.1", "2", "\"10%\"", "\"NaN\"", "null", "-1"] {
            assert!(fraction(wrong).is_err(), "{wrong}");
        }
    }
}
