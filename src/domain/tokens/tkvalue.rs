//! The token types of this authority, and their values (RFC 9447 §4: `tktype` and `tkvalue`).
//!
//! To add a type, add a variant to [`TkType`] and [`TkContent`]; the compiler then finds every
//! place to extend.

use serde::Serialize;
use thiserror::Error;

use super::claim_constraints::{ClaimConstraints, ClaimConstraintsError, ClaimName};
use super::tn_auth_list::{TnAuthList, TnAuthListError};
use crate::domain::accounts::dialect::Dialect;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::text::strict_encoding::{EncodingError, Spelling};
use crate::domain::text::words::words;

/// The token types, which are ACME identifier types as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TkType {
    /// Telephone numbers and service provider codes (RFC 9448 §5.4).
    #[default]
    TnAuthList,
    /// Claim constraints of a certificate (draft-ietf-acme-authority-token-jwtclaimcon), including
    /// the enhanced ones of RFC 9118: the draft defines one identifier type for both extensions.
    JwtClaimConstraints,
}

words! {
    /// The name in the standards.
    impl Display, FromStr, Serialize for TkType {
        TnAuthList = "TNAuthList",
        JwtClaimConstraints = "JWTClaimConstraints",
    }
}

/// Why a text is not a `tkvalue` of its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TkValueError {
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error(transparent)]
    TnAuthList(#[from] TnAuthListError),
    #[error(transparent)]
    ClaimConstraints(#[from] ClaimConstraintsError),
}

/// A parsed value of one of the types. It is serialized as that value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TkContent {
    TnAuthList(TnAuthList),
    JwtClaimConstraints(ClaimConstraints),
}

/// A `tkvalue`: its content and its spelling. Writing it repeats the text character for character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TkValue {
    scope: TkContent,
    spelling: Spelling,
}

impl TkValue {
    /// Parses a text in the spellings that a dialect allows. The DER is parsed strictly in all of
    /// them.
    pub fn read(tktype: TkType, text: &str, dialect: Dialect) -> Result<Self, TkValueError> {
        let padded = |why: EncodingError| match dialect {
            Dialect::Strict => Err(why),
            Dialect::Legacy => match Spelling::Padded.decode(text) {
                Ok(der) => Ok((Spelling::Padded, der)),
                // Reports the error of the encoding that was probably intended.
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

    /// Checks that a strict account could have sent it.
    pub fn is_strict(&self) -> Result<(), TkValueError> {
        match self.spelling {
            Spelling::Url => Ok(()),
            Spelling::Padded => {
                Self::read(self.tktype(), &self.text(), Dialect::Strict).map(|_| ())
            }
        }
    }

    #[must_use]
    pub const fn tktype(&self) -> TkType {
        match self.scope {
            TkContent::TnAuthList(_) => TkType::TnAuthList,
            TkContent::JwtClaimConstraints(_) => TkType::JwtClaimConstraints,
        }
    }

    /// The content.
    #[must_use]
    pub const fn scope(&self) -> &TkContent {
        &self.scope
    }

    /// The text, in the spelling in which it was read.
    #[must_use]
    pub fn text(&self) -> String {
        self.spelling.encode(match &self.scope {
            TkContent::TnAuthList(list) => list.as_der(),
            TkContent::JwtClaimConstraints(constraints) => constraints.as_der(),
        })
    }

    /// The numbers in a list; constraints have none.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry is not an E.164 number.
    pub fn numbers(&self) -> Result<Vec<NumberRange>, TnAuthListError> {
        match &self.scope {
            TkContent::TnAuthList(list) => list.numbers(),
            TkContent::JwtClaimConstraints(_) => Ok(Vec::new()),
        }
    }

    /// The service provider codes in a list.
    pub fn spcs(&self) -> impl Iterator<Item = &Spc> {
        let list = match &self.scope {
            TkContent::TnAuthList(list) => Some(list),
            TkContent::JwtClaimConstraints(_) => None,
        };
        list.into_iter().flat_map(TnAuthList::spcs)
    }

    /// The claim names in constraints.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimName> {
        let constraints = match &self.scope {
            TkContent::TnAuthList(_) => None,
            TkContent::JwtClaimConstraints(constraints) => Some(constraints),
        };
        constraints.into_iter().flat_map(ClaimConstraints::claims)
    }

    /// Its size: the number of entries in a list, or of claims in constraints.
    #[must_use]
    pub fn entries(&self) -> usize {
        match &self.scope {
            TkContent::TnAuthList(list) => list.entries().len(),
            TkContent::JwtClaimConstraints(constraints) => constraints.claims().count(),
        }
    }
}

/// Whether an invalid text has characters of padded standard base64, and none that only base64url
/// has.
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
