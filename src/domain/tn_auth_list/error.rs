//! Why a value is not a TNAuthList.

use base64::DecodeError;
use der::ErrorKind;
use thiserror::Error;

use super::entry::TelephoneNumber;
use crate::domain::number::NumberError;
use crate::domain::spc::SpcError;

/// Why a value is not a TNAuthList; says which entry, counted from 1, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{reason}", .entry.map(|n| format!("entry {n}: ")).unwrap_or_default())]
pub struct TnAuthListError {
    pub(super) entry: Option<usize>,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Reason {
    #[error("the value is empty")]
    Nothing,
    #[error("padding `=` in base64url (RFC 7515 §2 has none)")]
    Padded,
    #[error("byte {byte:#04x} at offset {offset} is not in the alphabet of {alphabet}")]
    Alphabet {
        byte: u8,
        offset: usize,
        alphabet: &'static str,
    },
    #[error("no base64 text has this length")]
    TextLength,
    #[error("the bits after the last byte are not zero: a second spelling of the same value")]
    TrailingBits,
    #[error("a list has at least one entry, SIZE (1..MAX)")]
    EmptyList,
    #[error("expected {expected}, found {found}")]
    Tag {
        expected: &'static str,
        found: String,
    },
    #[error("indefinite length, which DER does not have")]
    Indefinite,
    #[error("a length or integer is not encoded in its shortest form, as DER demands")]
    NotMinimal,
    #[error("a length runs past the end of the value")]
    Truncated,
    #[error("bytes follow behind {0}")]
    Trailing(&'static str),
    #[error("not valid DER: {0}")]
    Der(String),
    #[error("{0}")]
    Spc(#[from] SpcError),
    #[error("a telephone number has 1 to 15 characters, not {0}")]
    NumberLength(usize),
    #[error("byte {0:#04x} in a telephone number; only `0` to `9`, `#` and `*` may stand there")]
    NumberCharacter(u8),
    #[error("a range starts with a number of digits alone, not `#` or `*`")]
    RangeStart,
    #[error("a range counts 2 numbers or more, not {0}")]
    CountTooSmall(String),
    #[error(
        "count overflows the number width: start + count must be below 10^{digits} (RFC 8226 §9)"
    )]
    CountTooLarge { digits: usize },
    #[error("an element follows count, whose meaning is not known")]
    RangeExtension,
    #[error("`{0}` is not an entry; write spc:1234, one:12125551001 or range:12125551000+1000")]
    EntrySyntax(String),
    #[error("{number} is not an E.164 number: {why}")]
    NotE164 {
        number: TelephoneNumber,
        why: NumberError,
    },
}

impl From<Reason> for TnAuthListError {
    fn from(reason: Reason) -> Self {
        Self {
            entry: None,
            reason,
        }
    }
}

impl From<der::Error> for Reason {
    fn from(error: der::Error) -> Self {
        match error.kind() {
            ErrorKind::IndefiniteLength => Self::Indefinite,
            // `Length` is what the header of a value makes of `Overlength`.
            ErrorKind::Length { .. } | ErrorKind::Overlength | ErrorKind::Noncanonical { .. } => {
                Self::NotMinimal
            }
            ErrorKind::Incomplete { .. } => Self::Truncated,
            other => Self::Der(other.to_string()),
        }
    }
}

pub(super) fn text_reason(error: &DecodeError, text: &str, alphabet: &'static str) -> Reason {
    match error {
        DecodeError::InvalidByte(_, b'=') | DecodeError::InvalidPadding
            if alphabet == "base64url" =>
        {
            Reason::Padded
        }
        DecodeError::InvalidByte(offset, byte) => Reason::Alphabet {
            byte: *byte,
            offset: *offset,
            alphabet,
        },
        DecodeError::InvalidLastSymbol(..) if text.len() % 4 == 1 => Reason::TextLength,
        DecodeError::InvalidLastSymbol(..) => Reason::TrailingBits,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => Reason::TextLength,
    }
}
