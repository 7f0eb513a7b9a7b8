//! Numbers that the carrier writes into its inventory.
//!
//! A mistyped digit there has no victim that could complain: the tokens for the number that was
//! meant are still issued. So what is known of a numbering plan is checked at every entrance of the
//! inventory, once, by making this type. What others send (RFC 8226 §9: digits as they are), and
//! the rows that the database already has, are any E.164 numbers.

use std::fmt;

use thiserror::Error;

use super::number::{NumberRange, Tn};

/// The digits of a number of the North American Numbering Plan, its country code 1 included.
const NANP_DIGITS: u8 = 11;

/// Why numbers cannot be in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NumberingPlanError {
    #[error(
        "numbers under +1 have 10 digits after the 1, but {first} has {}; check for a missing or an extra digit or `X`",
        .first.digits().saturating_sub(1)
    )]
    Digits { first: Tn },
    #[error("the range ends at {last}, which is not under +1; check the count")]
    EndsBeyond { last: Tn },
}

/// A range of numbers that can be in the inventory: numbers under +1 have ten more digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryRange(NumberRange);

impl InventoryRange {
    /// The numbers.
    #[must_use]
    pub const fn range(self) -> NumberRange {
        self.0
    }
}

impl TryFrom<NumberRange> for InventoryRange {
    type Error = NumberingPlanError;

    fn try_from(numbers: NumberRange) -> Result<Self, NumberingPlanError> {
        let (first, last) = (numbers.first(), numbers.last());
        // The numbers of a range have one length and are in order, so none is under +1 unless the
        // first is. Country codes are prefix-free: all numbers that start with 1 are under +1.
        if !first.to_digits().starts_with('1') {
            return Ok(Self(numbers));
        }
        if first.digits() != NANP_DIGITS {
            return Err(NumberingPlanError::Digits { first });
        }
        if !last.to_digits().starts_with('1') {
            return Err(NumberingPlanError::EndsBeyond { last });
        }
        Ok(Self(numbers))
    }
}

impl From<InventoryRange> for NumberRange {
    fn from(numbers: InventoryRange) -> Self {
        numbers.0
    }
}

impl fmt::Display for InventoryRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(start: &str, count: u64) -> Result<InventoryRange, NumberingPlanError> {
        let start = start.parse().expect("a number");
        NumberRange::new(start, count).expect("a range").try_into()
    }

    #[test]
    fn numbers_under_1_have_ten_more_digits() {
        assert!(checked("+12125551001", 1).is_ok());
        assert!(checked("+12125550000", 10_000).is_ok());
        for (start, count, has) in [
            ("+1212555101", 1, "+1212555101 has 9"),
            ("+1212556100", 100, "has 9"),
            ("+121255561000", 1_000, "has 11"),
            ("+1", 1, "has 0"),
        ] {
            let why = checked(start, count).expect_err(start).to_string();
            assert!(why.contains(has) && why.contains("10 digits"), "{why}");
        }
    }

    #[test]
    fn other_plans_are_not_judged() {
        for start in ["+4930123", "+337000000000000", "+8812", "+2125551001"] {
            assert!(checked(start, 1).is_ok(), "{start}");
        }
    }

    #[test]
    fn a_range_does_not_run_out_of_1() {
        assert!(checked("+19999999999", 1).is_ok());
        let why = checked("+19999999999", 2)
            .expect_err("too many")
            .to_string();
        assert!(why.contains("ends at +20000000000"), "{why}");
    }
}
