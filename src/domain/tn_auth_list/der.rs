//! Strict DER of the list, both ways: what RFC 8226 allows, in its only spelling.

use der::asn1::AnyRef;
use der::{Encode as _, Reader as _, SliceReader, Tag, TagNumber};

use super::entry::{TelephoneNumber, TelephoneNumberRange, TnEntry};
use super::error::{Reason, TnAuthListError};
use crate::domain::spc::SpcError;

/// Reads the entries of a list.
pub(super) fn read_list(der: &[u8]) -> Result<Vec<TnEntry>, TnAuthListError> {
    let list = only_value(der, Tag::Sequence, "a SEQUENCE", "the list")?;
    let mut reader = SliceReader::new(list).map_err(Reason::from)?;
    let mut entries = Vec::new();
    while !reader.is_finished() {
        let entry = AnyRef::decode_from(&mut reader).and_then(read_entry);
        let number = entries.len() + 1;
        entries.push(entry.map_err(|reason| TnAuthListError {
            entry: Some(number),
            reason,
        })?);
    }
    Ok(entries)
}

/// Writes the list of these entries.
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
        list.extend(tlv(alternative(number), &value)?);
    }
    tlv(Tag::Sequence, &list)
}

/// Reads one value of this tag that fills all of `bytes`.
fn only_value<'a>(
    bytes: &'a [u8],
    tag: Tag,
    expected: &'static str,
    place: &'static str,
) -> Result<&'a [u8], Reason> {
    let mut reader = SliceReader::new(bytes)?;
    let any = AnyRef::decode_from(&mut reader)?;
    let value = value_of(any, tag, expected)?;
    if reader.is_finished() {
        Ok(value)
    } else {
        Err(Reason::Trailing(place))
    }
}

fn value_of<'a>(any: AnyRef<'a>, tag: Tag, expected: &'static str) -> Result<&'a [u8], Reason> {
    let found = any.header().tag();
    if found == tag {
        Ok(any.value())
    } else {
        Err(Reason::Tag {
            expected,
            found: found.to_string(),
        })
    }
}

const fn alternative(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

fn read_entry(entry: AnyRef<'_>) -> Result<TnEntry, Reason> {
    let tag = entry.header().tag();
    if tag == alternative(0) {
        let text = only_value(entry.value(), Tag::Ia5String, "an IA5String", "the spc")?;
        let text = std::str::from_utf8(text).map_err(|_| SpcError::Character)?;
        Ok(TnEntry::Spc(text.parse()?))
    } else if tag == alternative(1) {
        let fields = only_value(entry.value(), Tag::Sequence, "a SEQUENCE", "the range")?;
        read_range(fields).map(TnEntry::Range)
    } else if tag == alternative(2) {
        let text = only_value(entry.value(), Tag::Ia5String, "an IA5String", "the number")?;
        TelephoneNumber::new(text).map(TnEntry::One)
    } else {
        Err(Reason::Tag {
            expected: "an EXPLICIT tag [0] spc, [1] range or [2] one",
            found: tag.to_string(),
        })
    }
}

fn read_range(fields: &[u8]) -> Result<TelephoneNumberRange, Reason> {
    let mut reader = SliceReader::new(fields)?;
    let start = AnyRef::decode_from(&mut reader)?;
    let start = TelephoneNumber::new(value_of(start, Tag::Ia5String, "an IA5String")?)?;
    let count = AnyRef::decode_from(&mut reader)?;
    let count = read_count(value_of(count, Tag::Integer, "an INTEGER")?, start)?;
    if !reader.is_finished() {
        return Err(Reason::RangeExtension);
    }
    TelephoneNumberRange::new(start, count)
}

/// Reads the octets of an INTEGER without arithmetic that a hostile length could overflow.
fn read_count(octets: &[u8], start: TelephoneNumber) -> Result<u64, Reason> {
    let digits = start.as_str().len();
    match octets {
        [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Reason::NotMinimal),
        [0x80..=0xff, ..] => Err(Reason::CountTooSmall("a negative number".to_owned())),
        [..] if octets.len() > 8 => Err(Reason::CountTooLarge { digits }),
        [..] => Ok(octets.iter().fold(0, |sum, b| sum << 8 | u64::from(*b))),
    }
}

fn tlv(tag: Tag, value: &[u8]) -> Result<Vec<u8>, der::Error> {
    AnyRef::new(tag, value)?.to_der()
}

/// `AnyRef::decode` with this module's errors.
trait DecodeFrom<'a>: Sized {
    fn decode_from(reader: &mut SliceReader<'a>) -> Result<Self, Reason>;
}

impl<'a> DecodeFrom<'a> for AnyRef<'a> {
    fn decode_from(reader: &mut SliceReader<'a>) -> Result<Self, Reason> {
        reader.decode::<AnyRef<'a>>().map_err(Reason::from)
    }
}
