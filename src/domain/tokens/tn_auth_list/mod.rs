//! The TNAuthList (RFC 8226 §9) and its strict DER, in both directions.
//!
//! ```asn1
//! TNAuthorizationList ::= SEQUENCE SIZE (1..MAX) OF TNEntry       -- EXPLICIT TAGS
//! TNEntry ::= CHOICE {
//!   spc [0] ServiceProviderCode, range [1] TelephoneNumberRange, one [2] TelephoneNumber }
//! ServiceProviderCode  ::= IA5String
//! TelephoneNumberRange ::= SEQUENCE { start TelephoneNumber, count INTEGER (2..MAX), ... }
//! TelephoneNumber ::= IA5String (SIZE (1..15)) (FROM ("0123456789#*"))
//! ```
//! A CA compares `tkvalue` with the ACME identifier byte by byte (RFC 9448 §6). So a list keeps the
//! bytes and the order that it was read from, and only one spelling of a list is accepted.

mod der;
mod entry;
mod error;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::text::strict_encoding::{EncodingError, Spelling};
use error::MalformedReason;

pub use entry::{TelephoneNumber, TelephoneNumberRange, TnEntry};
pub use error::TnAuthListError;

/// A list of at least one entry, with its exact DER bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TnAuthList {
    der: Vec<u8>,
    entries: Vec<TnEntry>,
}

impl TnAuthList {
    /// Parses DER, strictly: only what RFC 8226 allows, in its canonical encoding.
    ///
    /// # Errors
    /// [`TnAuthListError`] names the entry and what is wrong with it.
    pub fn from_der(der: &[u8]) -> Result<Self, TnAuthListError> {
        if der.is_empty() {
            return Err(EncodingError::Empty.into());
        }
        let entries = der::read_list(der)?;
        if entries.is_empty() {
            return Err(MalformedReason::EmptyList.into());
        }
        Ok(Self {
            der: der.to_vec(),
            entries,
        })
    }

    /// Parses a `tkvalue`: base64url of the DER without padding (RFC 7515 §2, RFC 9448 §3).
    ///
    /// # Errors
    /// [`TnAuthListError`] for another base64 spelling, or for DER that is not a list.
    pub fn from_tkvalue(text: &str) -> Result<Self, TnAuthListError> {
        Self::from_der(&Spelling::Url.decode(text)?)
    }

    /// Parses the legacy spelling: padded standard base64.
    ///
    /// # Errors
    /// [`TnAuthListError`] for another base64 spelling, or for DER that is not a list.
    pub fn from_legacy_tkvalue(text: &str) -> Result<Self, TnAuthListError> {
        Self::from_der(&Spelling::Padded.decode(text)?)
    }

    /// Encodes these entries, in this order.
    pub fn from_entries(entries: Vec<TnEntry>) -> Result<Self, TnAuthListError> {
        if entries.is_empty() {
            return Err(MalformedReason::EmptyList.into());
        }
        let der = der::write_list(&entries).map_err(EncodingError::from)?;
        Ok(Self { der, entries })
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[TnEntry] {
        &self.entries
    }

    /// The DER, byte for byte as it was read.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The `tkvalue`: base64url of the DER, without padding.
    #[must_use]
    pub fn to_tkvalue(&self) -> String {
        Spelling::Url.encode(&self.der)
    }

    /// The numbers of the entries, in order. An `spc` entry has none of its own.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry is not an E.164 number: it has `#` or `*`, or a leading 0
    /// (RFC 8224 §8.3).
    pub fn numbers(&self) -> Result<Vec<NumberRange>, TnAuthListError> {
        let numbered = self.entries.iter().zip(1..);
        numbered
            .filter_map(|(entry, number)| {
                let range = entry.numbers()?;
                Some(range.map_err(|reason| TnAuthListError {
                    entry: Some(number),
                    reason,
                }))
            })
            .collect()
    }

    /// The service provider codes of the entries, in order.
    pub fn spcs(&self) -> impl Iterator<Item = &Spc> {
        self.entries.iter().filter_map(|entry| match entry {
            TnEntry::Spc(spc) => Some(spc),
            TnEntry::Range(_) | TnEntry::One(_) => None,
        })
    }
}

/// `{"entries":[{"spc":..},{"range":{"start":..,"count":..}},{"one":..}]}`
impl Serialize for TnAuthList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry("entries", &self.entries)?;
        object.end()
    }
}
