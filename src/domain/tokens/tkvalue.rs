//! What a token is about: the registry of token types (RFC 9447 §4: `tktype` and `tkvalue`).
//!
//! A new type is a variant of [`TkType`] and of [`TkContent`]; the compiler then names every place that has to know of it.

use serde::Serialize;
use thiserror::Error;

use super::claim_constraints::{ClaimConstraints, ClaimConstraintsError, ClaimName};
use super::tn_auth_list::{TnAuthList, TnAuthListError};
use crate::domain::accounts::dialect::Dialect;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::text::strict_encoding::{EncodingError, Spelling};
use crate::domain::words::words;

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

words! {
    /// The word of the standards.
    impl Display, FromStr, Serialize for TkType {
        TnAuthList = "TNAuthList",
        JwtClaimConstraints = "JWTClaimConstraints",
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
pub enum TkContent {
    TnAuthList(TnAuthList),
    JwtClaimConstraints(ClaimConstraints),
}

/// A value of one of the types, and how it was spelled: what is written back is what was read, character for character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TkValue {
    scope: TkContent,
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
            TkType::TnAuthList => TkContent::TnAuthList(TnAuthList::from_der(&der)?),
            TkType::JwtClaimConstraints => {
                TkContent::JwtClaimConstraints(ClaimConstraints::from_der(&der)?)
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
            TkContent::TnAuthList(_) => TkType::TnAuthList,
            TkContent::JwtClaimConstraints(_) => TkType::JwtClaimConstraints,
        }
    }

    /// The value itself.
    #[must_use]
    pub const fn scope(&self) -> &TkContent {
        &self.scope
    }

    /// The text, as it was read.
    #[must_use]
    pub fn text(&self) -> String {
        self.spelling.encode(match &self.scope {
            TkContent::TnAuthList(list) => list.as_der(),
            TkContent::JwtClaimConstraints(constraints) => constraints.as_der(),
        })
    }

    /// The numbers that a list names; constraints name none.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry is no E.164 number.
    pub fn numbers(&self) -> Result<Vec<NumberRange>, TnAuthListError> {
        match &self.scope {
            TkContent::TnAuthList(list) => list.numbers(),
            TkContent::JwtClaimConstraints(_) => Ok(Vec::new()),
        }
    }

    /// The service provider codes that a list names.
    pub fn spcs(&self) -> impl Iterator<Item = &Spc> {
        let list = match &self.scope {
            TkContent::TnAuthList(list) => Some(list),
            TkContent::JwtClaimConstraints(_) => None,
        };
        list.into_iter().flat_map(TnAuthList::spcs)
    }

    /// The names of the claims that constraints speak of.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimName> {
        let constraints = match &self.scope {
            TkContent::TnAuthList(_) => None,
            TkContent::JwtClaimConstraints(constraints) => Some(constraints),
        };
        constraints.into_iter().flat_map(ClaimConstraints::claims)
    }

    /// How much it says: the entries of a list, or the claims that constraints speak of.
    #[must_use]
    pub fn entries(&self) -> usize {
        match &self.scope {
            TkContent::TnAuthList(list) => list.entries().len(),
            TkContent::JwtClaimConstraints(constraints) => constraints.claims().count(),
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
            scope: TkContent::TnAuthList(list),
            spelling: Spelling::Url,
        }
    }
}

impl From<ClaimConstraints> for TkValue {
    fn from(constraints: ClaimConstraints) -> Self {
        Self {
            scope: TkContent::JwtClaimConstraints(constraints),
            spelling: Spelling::Url,
        }
    }
}
