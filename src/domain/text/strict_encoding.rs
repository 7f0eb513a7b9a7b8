//! Strict base64 and DER, for the content of a `tkvalue`. Each value has exactly one accepted
//! spelling, because a CA compares the texts (RFC 9448 §6).

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::{DecodeError, Engine as _};
use der::asn1::AnyRef;
use der::{Encode as _, ErrorKind, Reader as _, SliceReader, Tag, TagNumber};
use thiserror::Error;

/// Why a text or its bytes are not in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodingError {
    #[error("the value is empty")]
    Empty,
    #[error("base64url has no padding `=` (RFC 7515 §2)")]
    Padded,
    #[error("the padding `=` of padded base64 is missing or wrong")]
    Padding,
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
    #[error("expected {expected}, found {found}")]
    Tag {
        expected: &'static str,
        found: String,
    },
    #[error("indefinite length, which DER does not have")]
    Indefinite,
    #[error("a length or integer is not encoded in its shortest form, as DER requires")]
    NotMinimal,
    #[error("a length runs past the end of the value")]
    Truncated,
    #[error("trailing bytes after {0}")]
    Trailing(&'static str),
    #[error("not valid DER: {0}")]
    Der(String),
}

/// How a text encodes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// base64url without padding (RFC 7515 §2, RFC 9448 §3).
    Url,
    /// Padded standard base64, as some older CAs and their clients write it.
    Padded,
}

impl Spelling {
    /// Decodes a text strictly: only if [`Self::encode`] of the result is the same text.
    ///
    /// # Errors
    /// [`EncodingError`] for any other spelling.
    pub fn decode(self, text: &str) -> Result<Vec<u8>, EncodingError> {
        let (engine, alphabet) = match self {
            Self::Url => (&URL_SAFE_NO_PAD, "base64url"),
            Self::Padded => (&STANDARD, "padded base64"),
        };
        engine.decode(text).map_err(|error| match error {
            DecodeError::InvalidByte(_, b'=') | DecodeError::InvalidPadding
                if self == Self::Url =>
            {
                EncodingError::Padded
            }
            DecodeError::InvalidByte(_, b'=') | DecodeError::InvalidPadding => {
                EncodingError::Padding
            }
            DecodeError::InvalidByte(offset, byte) => EncodingError::Alphabet {
                byte,
                offset,
                alphabet,
            },
            DecodeError::InvalidLastSymbol(..) if text.len() % 4 == 1 => EncodingError::TextLength,
            DecodeError::InvalidLastSymbol(..) => EncodingError::TrailingBits,
            DecodeError::InvalidLength(_) => EncodingError::TextLength,
        })
    }

    /// Encodes bytes.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Url => URL_SAFE_NO_PAD.encode(bytes),
            Self::Padded => STANDARD.encode(bytes),
        }
    }
}

impl From<der::Error> for EncodingError {
    fn from(error: der::Error) -> Self {
        match error.kind() {
            ErrorKind::IndefiniteLength => Self::Indefinite,
            // The `der` crate turns `Overlength` in a header into `Length`.
            ErrorKind::Length { .. } | ErrorKind::Overlength | ErrorKind::Noncanonical { .. } => {
                Self::NotMinimal
            }
            ErrorKind::Incomplete { .. } => Self::Truncated,
            other => Self::Der(other.to_string()),
        }
    }
}

/// Parses a single value with this tag that fills all of `bytes`.
pub(in crate::domain) fn only_value<'a>(
    bytes: &'a [u8],
    tag: Tag,
    expected: &'static str,
    place: &'static str,
) -> Result<&'a [u8], EncodingError> {
    let mut reader = SliceReader::new(bytes)?;
    let value = value_of(next_value(&mut reader)?, tag, expected)?;
    if reader.is_finished() {
        Ok(value)
    } else {
        Err(EncodingError::Trailing(place))
    }
}

/// The content octets of a value with this tag.
pub(in crate::domain) fn value_of<'a>(
    any: AnyRef<'a>,
    tag: Tag,
    expected: &'static str,
) -> Result<&'a [u8], EncodingError> {
    let found = any.header().tag();
    if found == tag {
        Ok(any.value())
    } else {
        Err(EncodingError::Tag {
            expected,
            found: found.to_string(),
        })
    }
}

/// The next value, of any tag.
pub(in crate::domain) fn next_value<'a>(
    reader: &mut SliceReader<'a>,
) -> Result<AnyRef<'a>, EncodingError> {
    Ok(reader.decode::<AnyRef<'a>>()?)
}

/// All consecutive values in these octets.
pub(in crate::domain) fn values(octets: &[u8]) -> Result<Vec<AnyRef<'_>>, EncodingError> {
    let mut reader = SliceReader::new(octets)?;
    let mut values = Vec::new();
    while !reader.is_finished() {
        values.push(next_value(&mut reader)?);
    }
    Ok(values)
}

/// The tag `[number]` EXPLICIT.
pub(in crate::domain) const fn explicit(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// Encodes one value.
pub(in crate::domain) fn tlv(tag: Tag, value: &[u8]) -> Result<Vec<u8>, der::Error> {
    AnyRef::new(tag, value)?.to_der()
}
