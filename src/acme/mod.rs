//! The enterprise's side: an ACME client (RFC 8555) for certificates with a TNAuthList. It answers
//! challenges with authority tokens (RFC 9447, RFC 9448), and supports automatic renewal by the CA
//! (STAR, RFC 8739).
//!
//! No existing crate supports such orders. instant-acme has a fixed set of four identifier types
//! and answers challenges with an empty object; acme-lib, yacme and rustls-acme support only host
//! names. Most of them depend on rustls, a second TLS stack, which `deny.toml` forbids.
//!
//! The client is small and strict: one identifier per order, ES256, HTTPS. It parses only those
//! parts of a response that it needs, and checks those that matter: URLs, statuses, the identifier,
//! and the certificate itself. Sizes and times are limited. It does not use the authority's own
//! modules; it calls the authority over HTTP, as any other client does.

mod error;
mod jws;
mod open_order;
mod order;
pub mod renewal;
mod session;
mod star;
mod token_endpoint;
mod wait;
mod wire;

pub use error::{AcmeError, Kind, ProblemDocument};
pub use jws::{AccountKey, ExternalBinding};
pub use open_order::OpenOrder;
pub use order::{CertificateRequest, IssuedCertificate, PlacedOrder, check_issued, redeem};
pub use session::{AcmeSession, ChallengeMember, SessionSettings};
pub use star::AutoRenewal;
pub use token_endpoint::TokenEndpoint;
pub use wait::{Pause, Sleep, Stopped};

use crate::domain::{Fingerprint, TnAuthList};

/// The claims that a requested token must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWanted<'a> {
    pub list: &'a TnAuthList,
    /// Whether the certificate may issue others.
    pub ca: bool,
    /// The fingerprint of the ACME account key.
    pub fingerprint: Fingerprint,
}
