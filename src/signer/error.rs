//! Why there is no signer, or no signature. What the operator has to mend stands in each message.

use std::io;
use std::path::PathBuf;

use josekit::JoseError;
use openssl::error::ErrorStack;
use thiserror::Error;

use crate::domain::Spc;
use crate::domain::certificate::{CertificateError, SigningFault};
use crate::domain::clock::{Time, rfc3339};
use crate::domain::tn_auth_list::TnAuthListError;

/// All that goes wrong in this room.
#[derive(Debug, Error)]
pub enum SignerError {
    #[error("cannot read the {what} `{}`: {source}", .path.display())]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "the signing key is encrypted with a passphrase, and nobody is there to type it; decrypt it with `openssl pkey` \
         and protect the file with its permissions"
    )]
    KeyEncrypted,
    #[error(
        "the file of the signing key holds no private key: expected `-----BEGIN PRIVATE KEY-----`, found {found}"
    )]
    NotAPrivateKey { found: String },
    #[error("the signing key is malformed: {0}")]
    KeyMalformed(String),
    #[error(
        "the signing key is of type {0}; ES256 needs an EC key on the curve P-256 (RFC 7518 §3.4)"
    )]
    KeyType(String),
    #[error("the signing key is on the curve `{0}`; ES256 needs P-256 (RFC 7518 §3.4)")]
    KeyCurve(String),
    #[error("the certificate chain cannot be read: {0}")]
    Chain(#[from] CertificateError),
    #[error(
        "certificate {number} of the chain (`{subject}`) is not issued by certificate {} (`{next}`): {why}; the file has \
         the signing certificate first, then the certificate of its issuer, and so on (RFC 7515 §4.1.5)",
        .number + 1
    )]
    ChainOrder {
        number: usize,
        subject: String,
        next: String,
        why: String,
    },
    #[error("certificate {number} of the chain (`{subject}`) is valid from {} to {} only", rfc3339(.from), rfc3339(.until))]
    IssuerNotInForce {
        number: usize,
        subject: String,
        from: Time,
        until: Time,
    },
    #[error("the certificate `{subject}` cannot be used for signing: {}", joined(.faults))]
    LeafFaults {
        subject: String,
        faults: Vec<SigningFault>,
    },
    #[error(
        "the signing key does not belong to the certificate `{subject}`: their public keys differ; the first certificate \
         of the chain has to be the one of the key"
    )]
    OtherKey { subject: String },
    #[error("no service provider code is configured; set `spcs` in the section `carrier`")]
    NoSpc,
    #[error(
        "the certificate `{subject}` names the service provider codes {}, and none of the carrier's own: {}",
        quoted(.named), quoted(.own)
    )]
    OtherSpc {
        subject: String,
        named: Vec<Spc>,
        own: Vec<Spc>,
    },
    #[error("the grant is for the chain `{wanted}`, and this signer has `{own}`")]
    OtherChain { wanted: String, own: String },
    #[error("the grant ends at {}, after the certificate chain does, at {}", rfc3339(.grant), rfc3339(.chain))]
    OutlivesChain { grant: Time, chain: Time },
    #[error("a TNAuthList cannot be written: {0}")]
    TnAuthList(#[from] TnAuthListError),
    #[error("the claims cannot be written: {0}")]
    Claims(#[from] serde_json::Error),
    #[error("the token cannot be signed: {0}")]
    Jws(#[from] JoseError),
    #[error("openssl: {0}")]
    OpenSsl(#[from] ErrorStack),
}

fn joined(faults: &[SigningFault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

fn quoted(spcs: &[Spc]) -> String {
    let spcs: Vec<String> = spcs.iter().map(|spc| format!("`{spc}`")).collect();
    spcs.join(", ")
}
