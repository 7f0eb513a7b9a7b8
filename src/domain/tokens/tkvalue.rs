//! What a token is about: the registry of token types (RFC 9447 §4: `tktype` and `tkvalue`).
//!
//! A new type is a variant of [`TkType`] and of [`Scope`]; the compiler then names every place that has to know of it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::claim_constraints::{ClaimConstraints, ClaimConstraintsError, ClaimName};
use super::tn_auth_list::{TnAuthList, TnAuthListError};
use crate::domain::accounts::dialect::Dialect;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::text::strict_encoding::{EncodingError, Spelling};

/// The token types, which are ACME identifier types too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TkType {
    /// Telephone numbers and service provider codes (RFC 9448 §5.4).
    #[default]
    TnAuthList,
    /// What a certificate's PASSporTs may say (draft-ietf-acme-authority-token-jwtclaimcon), the enhanced constraints of
    /// RFC 9118 included: the draft defines one identifier type for both extensions.
    JwtClaimConstraints,
}

impl TkType {
    /// All types.
    pub const ALL: [Self; 2] = [Self::TnAuthList, Self::JwtClaimConstraints];

    /// The word of the standards.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TnAuthList => "TNAuthList",
            Self::JwtClaimConstraints => "JWTClaimConstraints",
        }
    }
}

/// A word that names no token type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected TNAuthList or JWTClaimConstraints")]
pub struct TkTypeError;

impl FromStr for TkType {
    type Err = TkTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|tktype| tktype.as_str() == text)
            .ok_or(TkTypeError)
    }
}

impl fmt::Display for TkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TkType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a text is no `tkvalue` of its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TkValueError {
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error(transparent)]
    TnAuthList(#[from] TnAuthListError),
    #[error(transparent)]
    ClaimConstraints(#[from] ClaimConstraintsError),
}

/// A value of one of the types. Its JSON is that of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scope {
    TnAuthList(TnAuthList),
    JwtClaimConstraints(ClaimConstraints),
}

/// A value of one of the types, and how it was spelled: what is written back is what was read, character for character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TkValue {
    scope: Scope,
    spelling: Spelling,
}

impl TkValue {
    /// Reads a value in the spellings of a dialect. Its DER is read strictly in each of them.
    ///
    /// # Errors
    /// [`TkValueError`] says what is wrong.
    pub fn read(tktype: TkType, text: &str, dialect: Dialect) -> Result<Self, TkValueError> {
        let padded = |why: EncodingError| match dialect {
            Dialect::Strict => Err(why),
            Dialect::Legacy => match Spelling::Padded.decode(text) {
                Ok(der) => Ok((Spelling::Padded, der)),
                // What is wrong with the form that was meant, not with the other.
                Err(error) if is_meant_as_padded(text) => Err(error),
                Err(_) => Err(why),
            },
        };
        let url = Spelling::Url.decode(text).map(|der| (Spelling::Url, der));
        let (spelling, der) = url.or_else(padded)?;
        let scope = match tktype {
            TkType::TnAuthList => Scope::TnAuthList(TnAuthList::from_der(&der)?),
            TkType::JwtClaimConstraints => {
                Scope::JwtClaimConstraints(ClaimConstraints::from_der(&der)?)
            }
        };
        Ok(Self { scope, spelling })
    }

    /// Whether a strict account could have written it.
    ///
    /// # Errors
    /// What is wrong with it for a strict account.
    pub fn is_strict(&self) -> Result<(), TkValueError> {
        match self.spelling {
            Spelling::Url => Ok(()),
            Spelling::Padded => {
                Self::read(self.tktype(), &self.text(), Dialect::Strict).map(|_| ())
            }
        }
    }

    /// Its type.
    #[must_use]
    pub const fn tktype(&self) -> TkType {
        match self.scope {
            Scope::TnAuthList(_) => TkType::TnAuthList,
            Scope::JwtClaimConstraints(_) => TkType::JwtClaimConstraints,
        }
    }

    /// The value itself.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The text, as it was read.
    #[must_use]
    pub fn text(&self) -> String {
        self.spelling.encode(match &self.scope {
            Scope::TnAuthList(list) => list.as_der(),
            Scope::JwtClaimConstraints(constraints) => constraints.as_der(),
        })
    }

    /// The numbers that a list names; constraints name none.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry is no E.164 number.
    pub fn numbers(&self) -> Result<Vec<NumberRange>, TnAuthListError> {
        match &self.scope {
            Scope::TnAuthList(list) => list.numbers(),
            Scope::JwtClaimConstraints(_) => Ok(Vec::new()),
        }
    }

    /// The service provider codes that a list names.
    pub fn spcs(&self) -> impl Iterator<Item = &Spc> {
        let list = match &self.scope {
            Scope::TnAuthList(list) => Some(list),
            Scope::JwtClaimConstraints(_) => None,
        };
        list.into_iter().flat_map(TnAuthList::spcs)
    }

    /// The names of the claims that constraints speak of.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimName> {
        let constraints = match &self.scope {
            Scope::TnAuthList(_) => None,
            Scope::JwtClaimConstraints(constraints) => Some(constraints),
        };
        constraints.into_iter().flat_map(ClaimConstraints::claims)
    }

    /// How much it says: the entries of a list, or the claims that constraints speak of.
    #[must_use]
    pub fn entries(&self) -> usize {
        match &self.scope {
            Scope::TnAuthList(list) => list.entries().len(),
            Scope::JwtClaimConstraints(constraints) => constraints.claims().count(),
        }
    }
}

/// Whether a text that is in no form has something of padded standard base64, and nothing of base64url.
fn is_meant_as_padded(text: &str) -> bool {
    text.contains(['+', '/', '=']) && !text.contains(['-', '_'])
}

impl From<TnAuthList> for TkValue {
    fn from(list: TnAuthList) -> Self {
        Self {
            scope: Scope::TnAuthList(list),
            spelling: Spelling::Url,
        }
    }
}

impl From<ClaimConstraints> for TkValue {
    fn from(constraints: ClaimConstraints) -> Self {
        Self {
            scope: Scope::JwtClaimConstraints(constraints),
            spelling: Spelling::Url,
        }
    }
}
