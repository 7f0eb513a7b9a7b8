//! Why a value is not a TNAuthList.

use thiserror::Error;

use super::entry::TelephoneNumber;
use crate::domain::numbers::number::NumberError;
use crate::domain::numbers::spc::SpcError;
use crate::domain::text::strict_encoding::EncodingError;

/// Why a value is not a TNAuthList: which entry, counted from 1, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{reason}", .entry.map(|n| format!("entry {n}: ")).unwrap_or_default())]
pub struct TnAuthListError {
    pub(super) entry: Option<usize>,
    pub(super) reason: MalformedReason,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum MalformedReason {
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error("a list has at least one entry, SIZE (1..MAX)")]
    EmptyList,
    #[error("{0}")]
    Spc(#[from] SpcError),
    #[error("a telephone number has 1 to 15 characters, not {0}")]
    NumberLength(usize),
    #[error("byte {0:#04x} in a telephone number; only `0` to `9`, `#` and `*` are allowed")]
    NumberCharacter(u8),
    #[error("in a list, a telephone number is its digits without `+`: 12125551001")]
    NumberPlus,
    #[error("a range starts with a number of digits only, without `#` and `*`")]
    RangeStart,
    #[error("a range has 2 numbers or more, not {0}")]
    CountTooSmall(String),
    #[error(
        "count overflows the number width: start + count must be below 10^{digits} (RFC 8226 §9)"
    )]
    CountTooLarge { digits: usize },
    #[error("an unknown element follows count")]
    RangeExtension,
    #[error("`{0}` is not an entry; write spc:1234, one:12125551001 or range:12125551000+1000")]
    EntrySyntax(String),
    #[error("{number} is not an E.164 number: {why}")]
    NotE164 {
        number: TelephoneNumber,
        why: NumberError,
    },
}

impl From<MalformedReason> for TnAuthListError {
    fn from(reason: MalformedReason) -> Self {
        Self {
            entry: None,
            reason,
        }
    }
}

impl From<EncodingError> for TnAuthListError {
    fn from(error: EncodingError) -> Self {
        MalformedReason::from(error).into()
    }
}
