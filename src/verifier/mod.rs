//! What a CA does with an authority token: the nine steps of RFC 9448 §6, in order.
//!
//! Knows the domain and OpenSSL, and nothing of those who make tokens: an error in making one must not be repeated in
//! checking it. Never fetches anything; a certificate for an `x5u` is handed in.

mod account_key;
pub mod claims;
mod jws;
mod report;
mod steps;
mod trust;

pub use account_key::{OffCurve, check_account_key};
pub use claims::{ClaimsError, TokenClaims};
pub use jws::JwsError;
pub use report::{Step, StepOutcome, VerificationReport};
pub use trust::{TrustError, TrustList};

use thiserror::Error;

use crate::domain::{Dialect, Fingerprint, Time, TkType, TkValue};

/// What the CA knows when a token comes in.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// Whom the CA trusts to make tokens.
    pub trust: TrustList,
    /// The fingerprint of the ACME account's key.
    pub fingerprint: Fingerprint,
    /// The type of the ACME order's identifier.
    pub tktype: TkType,
    /// How strictly `tkvalue` is read.
    pub dialect: Dialect,
    /// The identifier of the ACME order. Without it `tkvalue` is read but not compared.
    pub identifier: Option<TkValue>,
    /// `cA` of the CSR's basicConstraints. Without it `ca` is read but not compared.
    pub ca: Option<bool>,
    /// The name of the CA, for tokens that are made out to somebody (`aud`, RFC 7519 §4.1.3).
    pub audience: Option<String>,
}

/// Checks a token as it stood at `at`. Every step that can be made is made, so that the report names all that is wrong.
#[must_use]
pub fn verify(token: &str, expected: &Expectations, at: Time) -> VerificationReport {
    match jws::Jws::parse(token) {
        Ok(jws) => steps::walk(&jws, expected, at),
        Err(error) => VerificationReport::unreadable(&error),
    }
}

/// The URL that a token names for its signer's chain, for those who fetch it. It is the sender's, so it may be fetched only
/// from a host that is on a list of the reader's.
#[must_use]
pub fn x5u(token: &str) -> Option<String> {
    let jws = jws::Jws::parse(token).ok()?;
    Some(jws.header("x5u")?.as_str()?.to_owned())
}

/// Why a token could not be accepted by anybody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LintError {
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

/// Reads a token by all the rules that need no knowledge of its reader, for those who make tokens in some dialect.
///
/// # Errors
/// [`LintError`] names the first thing that is wrong.
pub fn lint(token: &str, dialect: Dialect) -> Result<TokenClaims, LintError> {
    let jws = jws::Jws::parse(token)?;
    Ok(TokenClaims::read(jws.payload(), dialect)?)
}
