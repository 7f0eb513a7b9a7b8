//! Block notation: `1.212.555.1XXX` is +12125551000 to +12125551999.

use thiserror::Error;

use super::inventory_range::{InventoryRange, NumberingPlanError};
use super::number::{MAX_DIGITS, NumberError, NumberRange, Tn};

/// Why a text is not a block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    #[error("a block ends with one or more `X`, as in `1.212.555.1XXX`")]
    NoX,
    #[error("a block starts with its country code")]
    NoDigits,
    #[error("a free digit is written as an upper-case `X`, as in `1.212.555.1XXX`")]
    LowerCase,
    #[error("`{0}` is not allowed in a block, which is written as `1.212.555.1XXX`")]
    Character(char),
    #[error(
        "a block has single separators between groups of digits, and none at its ends or among the `X`"
    )]
    Separator,
    #[error("a digit cannot follow an `X`")]
    DigitAfterX,
    #[error(transparent)]
    Number(#[from] NumberError),
    #[error(transparent)]
    Plan(#[from] NumberingPlanError),
}

/// Parses a block: an optional `+`, the country code and further digits in groups separated by a
/// single `.`, `-` or space, then one `X` for each digit that is free.
pub fn parse(text: &str) -> Result<NumberRange, BlockError> {
    let (mut digits, mut free, mut gap) = (String::new(), 0_u32, true);
    for c in text.strip_prefix('+').unwrap_or(text).chars() {
        match c {
            '0'..='9' if free > 0 => return Err(BlockError::DigitAfterX),
            '0'..='9' => digits.push(c),
            'X' => free += 1,
            'x' => return Err(BlockError::LowerCase),
            '.' | '-' | ' ' if gap || free > 0 => return Err(BlockError::Separator),
            '.' | '-' | ' ' => {}
            other => return Err(BlockError::Character(other)),
        }
        gap = matches!(c, '.' | '-' | ' ');
        if digits.len() + free as usize > usize::from(MAX_DIGITS) {
            return Err(NumberError::Length(text.len()).into());
        }
    }
    match (digits.is_empty(), free) {
        (true, _) => Err(BlockError::NoDigits),
        (false, 0) => Err(BlockError::NoX),
        (false, _) if gap => Err(BlockError::Separator),
        (false, _) => {
            digits.extend(std::iter::repeat_n('0', free as usize));
            let start = Tn::from_digits(&digits)?;
            Ok(NumberRange::new(start, 10_u64.pow(free))?)
        }
    }
}

/// Parses numbers as the commands accept them: a block, one number `+12125551001`, or
/// `+12125551000+1000` (a start and a count).
pub fn parse_numbers(text: &str) -> Result<NumberRange, BlockError> {
    if text.contains(['X', 'x']) {
        return parse(text);
    }
    let digits = text.strip_prefix('+').ok_or(NumberError::NoPlus)?;
    match digits.split_once('+') {
        None => Ok(Tn::from_digits(digits)?.into()),
        Some((start, count)) => {
            let count = parse_count(count)?;
            Ok(NumberRange::new(Tn::from_digits(start)?, count)?)
        }
    }
}

/// Parses numbers that the carrier writes into its inventory, in the same notations.
pub fn parse_inventory(text: &str) -> Result<InventoryRange, BlockError> {
    Ok(parse_numbers(text)?.try_into()?)
}

/// Parses a count: digits only, since `str::parse` would also accept a sign.
///
/// # Errors
/// [`NumberError`] if it is not a whole number, or too large.
pub fn parse_count(text: &str) -> Result<u64, NumberError> {
    if let Some(other) = text.chars().find(|c| !c.is_ascii_digit()) {
        return Err(NumberError::NotADigit(other));
    }
    text.parse().map_err(|_| NumberError::Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_numbers() {
        for text in [
            "1.212.555.1XXX",
            "+1.212.555.1XXX",
            "1-212-555-1XXX",
            "+1 212 555 1XXX",
            "12125551XXX",
            "1.212.555.1.XXX",
        ] {
            let block = parse(text).expect(text);
            assert_eq!(block.first().to_string(), "+12125551000", "{text}");
            assert_eq!(block.count(), 1000, "{text}");
        }
        assert_eq!(parse("33.1.05.60.XXXX").map(NumberRange::count), Ok(10_000));
    }

    #[test]
    fn what_is_not_a_block_is_refused() {
        for wrong in [
            "",
            "X",
            "XXX",
            "+",
            "1.212.555.1001",
            "33.1.05.60.XX.XX",
            "1..212.555.1XXX",
            "1.212.555.1XXX.",
            ".1.212.555.1XXX",
            "1.212.555.1xxx",
            "1.212.X55.1000",
            "(1)212.555.1XXX",
            "0.212.555.1XXX",
            "1.212.555.1XXX\n",
            "++1.212.555.1XXX",
            "1234567890123XXX",
            "1.２12.555.1XXX",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_lower_case_x_is_refused_with_the_right_one() {
        for text in ["1.212.555.1xxx", "1.212.555.1XXx"] {
            assert_eq!(parse(text), Err(BlockError::LowerCase));
            assert_eq!(parse_numbers(text), Err(BlockError::LowerCase));
        }
    }

    #[test]
    fn a_forgotten_x_or_digit_is_refused_in_the_inventory() {
        assert!(parse_inventory("1.212.556.1XXX").is_ok());
        for text in [
            "+1212555101",
            "1.212.556.1XX",
            "1.2125.556.1XXX",
            "+12125551+10",
        ] {
            let why = parse_inventory(text).expect_err(text).to_string();
            assert!(why.contains("10 digits after the 1"), "{text}: {why}");
            assert!(parse_numbers(text).is_ok(), "{text} can be asked about");
        }
    }

    #[test]
    fn commands_take_one_number_a_count_or_a_block() {
        let count = |text| parse_numbers(text).map(NumberRange::count);
        assert_eq!(count("+12125551001"), Ok(1));
        assert_eq!(count("+12125551000+1000"), Ok(1000));
        assert_eq!(count("1.212.555.1XXX"), Ok(1000));
        for wrong in [
            "12125551001",
            "+1212+",
            "+1212+-1",
            "+1212++1",
            "+1212+0",
            "+1+99999999999999999999",
        ] {
            assert!(count(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
