//! Claim constraints, which limit the PASSporTs that a certificate can sign: `JWTClaimConstraints`
//! (RFC 8226 §8) and, with `mustExclude`, `EnhancedJWTClaimConstraints` (RFC 9118 §3). Strict DER
//! in both directions.
//!
//! ```asn1
//! EnhancedJWTClaimConstraints ::= SEQUENCE {      -- EXPLICIT TAGS, at least one present
//!   mustInclude [0] JWTClaimNames OPTIONAL, permittedValues [1] JWTClaimValuesList OPTIONAL,
//!   mustExclude [2] JWTClaimNames OPTIONAL }
//! JWTClaimValuesList ::= SEQUENCE SIZE (1..MAX) OF JWTClaimValues
//! JWTClaimValues ::= SEQUENCE { claim JWTClaimName, values SEQUENCE SIZE (1..MAX) OF UTF8String }
//! JWTClaimNames ::= SEQUENCE SIZE (1..MAX) OF JWTClaimName        JWTClaimName ::= IA5String
//! ```
//! Without `mustExclude` the two have the same DER, so one type covers both. Like a TNAuthList, a
//! value keeps the bytes that it was read from.

use std::fmt;
use std::str::FromStr;

use der::Tag;
use der::asn1::AnyRef;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use thiserror::Error;

use crate::domain::text::strict_encoding::{
    EncodingError, Spelling, explicit, only_value, tlv, value_of, values,
};

/// The most bytes of the DER: far more than certificates have, and few enough for the 64 KiB limit
/// of a token.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Claims that every PASSporT has (RFC 8225 §5). RFC 9118 §3 forbids excluding them.
const REQUIRED_CLAIMS: [&str; 3] = ["iat", "orig", "dest"];

/// Why a value is not a JWTClaimConstraints.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClaimConstraintsError {
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error("has {0} bytes; at most {MAX_LENGTH} are accepted")]
    TooLong(usize),
    #[error("is empty; at least one of mustInclude, permittedValues and mustExclude is required")]
    Empty,
    #[error("{0} is empty; at least one element is required, SIZE (1..MAX)")]
    EmptyList(&'static str),
    #[error("a claim name is printable ASCII without spaces")]
    Name,
    #[error("a value of `{0}` is not UTF-8")]
    Value(ClaimName),
    #[error("{place} names `{claim}` more than once")]
    Twice {
        place: &'static str,
        claim: ClaimName,
    },
    #[error("permittedValues has a value of `{0}` more than once")]
    ValueTwice(ClaimName),
    #[error("`{0}` is in mustInclude and in mustExclude, which no PASSporT can satisfy")]
    Contradiction(ClaimName),
    #[error("mustExclude names `{0}`, which every PASSporT has (RFC 9118 §3)")]
    AlwaysThere(ClaimName),
}

/// The name of a claim of a PASSporT, such as `rcd`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ClaimName(String);

impl ClaimName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimName {
    type Err = ClaimConstraintsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or(ClaimConstraintsError::Name)
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The values that a claim can have, if it is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PermittedValues {
    pub claim: ClaimName,
    /// At least one, each once.
    pub values: Vec<String>,
}

/// The content of the constraints, each list in its original order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Constraints {
    /// Claims that must be present.
    pub must_include: Vec<ClaimName>,
    pub permitted_values: Vec<PermittedValues>,
    /// Claims that must be absent.
    pub must_exclude: Vec<ClaimName>,
}

/// Valid constraints, with their exact DER bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimConstraints {
    der: Vec<u8>,
    says: Constraints,
}

impl ClaimConstraints {
    /// Parses DER, strictly.
    pub fn from_der(der: &[u8]) -> Result<Self, ClaimConstraintsError> {
        if der.is_empty() {
            return Err(EncodingError::Empty.into());
        }
        if der.len() > MAX_LENGTH {
            return Err(ClaimConstraintsError::TooLong(der.len()));
        }
        let says = read(der)?;
        says.check()?;
        Ok(Self {
            der: der.to_vec(),
            says,
        })
    }

    /// Encodes these constraints.
    ///
    /// # Errors
    /// [`ClaimConstraintsError`] if they are empty, too long, or cannot be satisfied by any
    /// PASSporT.
    pub fn new(says: Constraints) -> Result<Self, ClaimConstraintsError> {
        says.check()?;
        let der = write(&says).map_err(EncodingError::from)?;
        if der.len() > MAX_LENGTH {
            return Err(ClaimConstraintsError::TooLong(der.len()));
        }
        Ok(Self { der, says })
    }

    /// Parses a `tkvalue`: base64url without padding.
    pub fn from_tkvalue(text: &str) -> Result<Self, ClaimConstraintsError> {
        Self::from_der(&Spelling::Url.decode(text)?)
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

    /// The content of the constraints.
    #[must_use]
    pub const fn says(&self) -> &Constraints {
        &self.says
    }

    /// The names of all claims in the three lists, with repetitions.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimName> {
        let permitted = self.says.permitted_values.iter().map(|p| &p.claim);
        let names = self.says.must_include.iter().chain(permitted);
        names.chain(&self.says.must_exclude)
    }
}

/// `{"mustInclude":[..],"permittedValues":[{"claim":..,"values":[..]}],"mustExclude":[..]}`,
/// without what is absent.
impl Serialize for ClaimConstraints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        if !self.says.must_include.is_empty() {
            object.serialize_entry("mustInclude", &self.says.must_include)?;
        }
        if !self.says.permitted_values.is_empty() {
            object.serialize_entry("permittedValues", &self.says.permitted_values)?;
        }
        if !self.says.must_exclude.is_empty() {
            object.serialize_entry("mustExclude", &self.says.must_exclude)?;
        }
        object.end()
    }
}

impl Constraints {
    fn check(&self) -> Result<(), ClaimConstraintsError> {
        let permitted: Vec<&ClaimName> = self.permitted_values.iter().map(|p| &p.claim).collect();
        let (include, exclude): (Vec<_>, Vec<_>) = (
            self.must_include.iter().collect(),
            self.must_exclude.iter().collect(),
        );
        if include.is_empty() && permitted.is_empty() && exclude.is_empty() {
            return Err(ClaimConstraintsError::Empty);
        }
        for (place, names) in [
            ("mustInclude", &include),
            ("permittedValues", &permitted),
            ("mustExclude", &exclude),
        ] {
            if let Some(claim) = first_twice(names) {
                let claim = (*claim).clone();
                return Err(ClaimConstraintsError::Twice { place, claim });
            }
        }
        for PermittedValues { claim, values } in &self.permitted_values {
            if values.is_empty() {
                return Err(ClaimConstraintsError::EmptyList("a list of values"));
            }
            if first_twice(values).is_some() {
                return Err(ClaimConstraintsError::ValueTwice(claim.clone()));
            }
        }
        if let Some(claim) = include.iter().find(|claim| exclude.contains(claim)) {
            return Err(ClaimConstraintsError::Contradiction((**claim).clone()));
        }
        let mut excluded = exclude.iter();
        match excluded.find(|claim| REQUIRED_CLAIMS.contains(&claim.as_str())) {
            Some(claim) => Err(ClaimConstraintsError::AlwaysThere((**claim).clone())),
            None => Ok(()),
        }
    }
}

fn first_twice<T: Ord>(items: &[T]) -> Option<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    twice.map(|pair| pair[0])
}

fn read(der: &[u8]) -> Result<Constraints, ClaimConstraintsError> {
    let parts = only_value(der, Tag::Sequence, "a SEQUENCE", "the constraints")?;
    let mut says = Constraints::default();
    let mut next = 0;
    for part in values(parts)? {
        let tag = part.header().tag();
        let Some(number) = (next..3).find(|number| tag == explicit(*number)) else {
            return Err(EncodingError::Tag {
                expected: "the EXPLICIT tags [0] mustInclude, [1] permittedValues, [2] mustExclude, each once and in this order",
                found: tag.to_string(),
            }
            .into());
        };
        next = number + 1;
        match number {
            0 => says.must_include = names(part.value(), "mustInclude")?,
            1 => says.permitted_values = permitted_values(part.value())?,
            _ => says.must_exclude = names(part.value(), "mustExclude")?,
        }
    }
    Ok(says)
}

fn items<'a>(
    octets: &'a [u8],
    place: &'static str,
) -> Result<Vec<AnyRef<'a>>, ClaimConstraintsError> {
    let items = values(only_value(octets, Tag::Sequence, "a SEQUENCE", place)?)?;
    if items.is_empty() {
        return Err(ClaimConstraintsError::EmptyList(place));
    }
    Ok(items)
}

fn names(octets: &[u8], place: &'static str) -> Result<Vec<ClaimName>, ClaimConstraintsError> {
    items(octets, place)?.into_iter().map(name).collect()
}

fn name(any: AnyRef<'_>) -> Result<ClaimName, ClaimConstraintsError> {
    let octets = value_of(any, Tag::Ia5String, "an IA5String")?;
    let text = std::str::from_utf8(octets).map_err(|_| ClaimConstraintsError::Name)?;
    text.parse()
}

fn permitted_values(octets: &[u8]) -> Result<Vec<PermittedValues>, ClaimConstraintsError> {
    let each = items(octets, "permittedValues")?.into_iter().map(|any| {
        let fields = values(value_of(any, Tag::Sequence, "a SEQUENCE")?)?;
        let [claim, list] = fields[..] else {
            let count = fields.len();
            return Err(EncodingError::Tag {
                expected: "a claim and the list of its values",
                found: format!("{count} elements"),
            }
            .into());
        };
        let claim = name(claim)?;
        let list = values(value_of(list, Tag::Sequence, "a SEQUENCE")?)?;
        let texts = list.into_iter().map(|any| {
            let octets = value_of(any, Tag::Utf8String, "a UTF8String")?;
            let text = std::str::from_utf8(octets);
            text.map(str::to_owned)
                .map_err(|_| ClaimConstraintsError::Value(claim.clone()))
        });
        let values = texts.collect::<Result<_, _>>()?;
        Ok(PermittedValues { claim, values })
    });
    each.collect()
}

fn write(says: &Constraints) -> Result<Vec<u8>, der::Error> {
    let mut parts = Vec::new();
    let names = |names: &[ClaimName]| {
        let each = names.iter();
        each.map(|name| tlv(Tag::Ia5String, name.as_str().as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    let permitted = says.permitted_values.iter().map(|permitted| {
        let values = permitted.values.iter();
        let values = values.map(|value| tlv(Tag::Utf8String, value.as_bytes()));
        let values = values.collect::<Result<Vec<_>, _>>()?.concat();
        let mut fields = tlv(Tag::Ia5String, permitted.claim.as_str().as_bytes())?;
        fields.extend(tlv(Tag::Sequence, &values)?);
        tlv(Tag::Sequence, &fields)
    });
    for (number, list) in [
        (0, names(&says.must_include)?),
        (1, permitted.collect::<Result<Vec<_>, _>>()?),
        (2, names(&says.must_exclude)?),
    ] {
        if !list.is_empty() {
            let list = tlv(Tag::Sequence, &list.concat())?;
            parts.extend(tlv(explicit(number), &list)?);
        }
    }
    tlv(Tag::Sequence, &parts)
}
