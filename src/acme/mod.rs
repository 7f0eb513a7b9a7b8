//! The enterprise's side: an ACME client (RFC 8555) for certificates with a TNAuthList, which proves its numbers with
//! authority tokens (RFC 9447, RFC 9448), and lets the CA renew them where it does (STAR, RFC 8739).
//!
//! Written here, since no crate that was found carries what it takes. instant-acme knows four kinds of identifiers, and its
//! challenges are answered with an empty object; acme-lib, yacme and rustls-acme know host names alone. Most of them bring
//! rustls, a second TLS stack, which `deny.toml` keeps out.
//!
//! Small and strict: one identifier an order, ES256, HTTPS. What a CA says is read as far as it is needed here, and checked
//! where it decides something: URLs, statuses, the identifier, and the certificate itself. Everything is bounded in size
//! and in time. Knows nothing of the authority's own rooms; it is a stranger to it, who asks over HTTP.

mod error;
mod jws;
mod order;
pub mod renewal;
mod session;
mod star;
mod token_endpoint;
mod wait;
mod wire;

pub use error::{AcmeError, Kind, ProblemDocument};
pub use jws::{AccountKey, ExternalBinding};
pub use order::{CertificateRequest, IssuedCertificate, PlacedOrder, check_issued, redeem};
pub use session::{AcmeSession, ChallengeMember, SessionSettings};
pub use star::AutoRenewal;
pub use token_endpoint::TokenEndpoint;
pub use wait::{Pause, Sleep, Stopped};

use crate::domain::{Fingerprint, TnAuthList};

/// What a token has to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWanted<'a> {
    pub list: &'a TnAuthList,
    /// Whether the certificate may issue others.
    pub ca: bool,
    /// Of the ACME account's key.
    pub fingerprint: Fingerprint,
}
