//! Strict DER of the list, in both directions: what RFC 8226 §9 allows, in its canonical encoding.

use der::asn1::AnyRef;
use der::{Encode as _, Reader as _, SliceReader, Tag};

use super::entry::{TelephoneNumber, TelephoneNumberRange, TnEntry};
use super::error::{MalformedReason, TnAuthListError};
use crate::domain::numbers::spc::SpcError;
use crate::domain::text::strict_encoding::{
    EncodingError, explicit, next_value, only_value, tlv, value_of,
};

/// Parses the entries of a list.
pub(super) fn read_list(der: &[u8]) -> Result<Vec<TnEntry>, TnAuthListError> {
    let list =
        only_value(der, Tag::Sequence, "a SEQUENCE", "the list").map_err(MalformedReason::from)?;
    let mut reader = SliceReader::new(list).map_err(encoding)?;
    let mut entries = Vec::new();
    while !reader.is_finished() {
        let entry = next_value(&mut reader)
            .map_err(MalformedReason::from)
            .and_then(read_entry);
        let number = entries.len() + 1;
        entries.push(entry.map_err(|reason| TnAuthListError {
            entry: Some(number),
            reason,
        })?);
    }
    Ok(entries)
}

/// Encodes a list of these entries.
pub(super) fn write_list(entries: &[TnEntry]) -> Result<Vec<u8>, der::Error> {
    let mut list = Vec::new();
    for entry in entries {
        let (number, value) = match entry {
            TnEntry::Spc(spc) => (0, tlv(Tag::Ia5String, spc.as_str().as_bytes())?),
            TnEntry::Range(range) => {
                let mut fields = tlv(Tag::Ia5String, range.start().as_str().as_bytes())?;
                fields.extend(range.count().to_der()?);
                (1, tlv(Tag::Sequence, &fields)?)
            }
            TnEntry::One(one) => (2, tlv(Tag::Ia5String, one.as_str().as_bytes())?),
        };
        list.extend(tlv(explicit(number), &value)?);
    }
    tlv(Tag::Sequence, &list)
}

fn read_entry(entry: AnyRef<'_>) -> Result<TnEntry, MalformedReason> {
    let tag = entry.header().tag();
    if tag == explicit(0) {
        let text = only_value(entry.value(), Tag::Ia5String, "an IA5String", "the spc")?;
        let text = std::str::from_utf8(text).map_err(|_| SpcError::Character)?;
        Ok(TnEntry::Spc(text.parse()?))
    } else if tag == explicit(1) {
        let fields = only_value(entry.value(), Tag::Sequence, "a SEQUENCE", "the range")?;
        read_range(fields).map(TnEntry::Range)
    } else if tag == explicit(2) {
        let text = only_value(entry.value(), Tag::Ia5String, "an IA5String", "the number")?;
        TelephoneNumber::new(text).map(TnEntry::One)
    } else {
        Err(EncodingError::Tag {
            expected: "an EXPLICIT tag [0] spc, [1] range or [2] one",
            found: tag.to_string(),
        }
        .into())
    }
}

fn read_range(fields: &[u8]) -> Result<TelephoneNumberRange, MalformedReason> {
    let mut reader = SliceReader::new(fields).map_err(encoding)?;
    let start = next_value(&mut reader)?;
    let start = TelephoneNumber::new(value_of(start, Tag::Ia5String, "an IA5String")?)?;
    let count = next_value(&mut reader)?;
    let count = read_count(value_of(count, Tag::Integer, "an INTEGER")?, start)?;
    if !reader.is_finished() {
        return Err(MalformedReason::RangeExtension);
    }
    TelephoneNumberRange::new(start, count)
}

/// Parses the octets of an INTEGER, without arithmetic that a hostile length could overflow.
fn read_count(octets: &[u8], start: TelephoneNumber) -> Result<u64, MalformedReason> {
    let digits = start.as_str().len();
    match octets {
        [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => {
            Err(EncodingError::NotMinimal.into())
        }
        [0x80..=0xff, ..] => Err(MalformedReason::CountTooSmall(
            "a negative number".to_owned(),
        )),
        [..] if octets.len() > 8 => Err(MalformedReason::CountTooLarge { digits }),
        [..] => Ok(octets.iter().fold(0, |sum, b| sum << 8 | u64::from(*b))),
    }
}

fn encoding(error: der::Error) -> MalformedReason {
    EncodingError::from(error).into()
}
