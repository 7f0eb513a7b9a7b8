//! Verifies an authority token as a CA does: the nine steps of RFC 9448 §6, in order.
//!
//! Uses only the domain types and OpenSSL, and shares no code with `signer`, so that verification
//! does not repeat a mistake of signing. It makes no requests: the caller supplies the certificates
//! of an `x5u`.

mod account_key;
pub mod claims;
mod jws;
mod report;
mod steps;
mod trust;

pub use account_key::{OffCurve, check_account_key};
pub use claims::{ClaimsError, TokenClaims};
pub use jws::JwsError;
pub use report::{AcmeProblem, Step, StepOutcome, VerificationReport};
pub use trust::{MissingChain, TrustError, TrustList};

use thiserror::Error;

use crate::domain::{Dialect, Fingerprint, Time, TkType, TkValue};

/// What the CA knows when it receives a token.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// The authorities whose tokens the CA trusts.
    pub trust: TrustList,
    /// The fingerprint of the ACME account's key.
    pub fingerprint: Fingerprint,
    /// The type of the ACME order's identifier.
    pub tktype: TkType,
    /// The accepted encoding of `tkvalue`.
    pub dialect: Dialect,
    /// The identifier of the ACME order. Without it `tkvalue` is parsed but not compared.
    pub identifier: Option<TkValue>,
    /// `cA` of the CSR's basicConstraints. Without it `ca` is parsed but not compared.
    pub ca: Option<bool>,
    /// The name of the CA, for tokens with an audience (`aud`, RFC 7519 §4.1.3).
    pub audience: Option<String>,
}

/// Verifies a token as of `at`. Every step that can be performed is, so that the report lists all
/// faults.
#[must_use]
pub fn verify(token: &str, expected: &Expectations, at: Time) -> VerificationReport {
    match jws::Jws::parse(token) {
        Ok(jws) => steps::walk(&jws, expected, at),
        Err(error) => VerificationReport::unreadable(&error),
    }
}

/// The `x5u` of a token: the URL of its signer's chain. It is untrusted input, so a caller may
/// fetch it only from a host on its own allowlist.
#[must_use]
pub fn x5u(token: &str) -> Option<String> {
    let jws = jws::Jws::parse(token).ok()?;
    Some(jws.header("x5u")?.as_str()?.to_owned())
}

/// Why every verifier would refuse a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LintError {
    #[error(transparent)]
    Jws(#[from] JwsError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

/// Checks a token by all rules that do not depend on the verifier, so that clients and issuers can
/// detect malformed tokens early. The signature is not verified.
///
/// # Errors
/// [`LintError`] names the first fault.
pub fn lint(token: &str, dialect: Dialect) -> Result<TokenClaims, LintError> {
    let jws = jws::Jws::parse(token)?;
    Ok(TokenClaims::read(jws.payload(), dialect)?)
}
