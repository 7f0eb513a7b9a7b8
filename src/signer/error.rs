//! Why there is no signer, or no signature. What the operator has to mend stands in each message.

use std::io;
use std::path::PathBuf;

use josekit::JoseError;
use openssl::error::ErrorStack;
use thiserror::Error;

use crate::domain::Spc;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::signing::certificate::{CertificateError, SigningFault};
use crate::domain::tokens::tn_auth_list::TnAuthListError;

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
        "the signing key is encrypted with a passphrase, and none is configured; set `signer.passphrase_file`, or decrypt \
         it with `openssl pkey` and protect the file with its permissions"
    )]
    KeyEncrypted,
    #[error("the signing key is encrypted, and the passphrase that is configured does not open it")]
    KeyPassphrase,
    #[error("the key has stopped answering")]
    KeyGone,
    #[error(
        "`{0}` is neither a certificate nor a key; expected PEM, or a line that starts with `pkcs11:`"
    )]
    NotForSigning(String),
    #[error("the folder of the signers `{}` cannot be read: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "no key here belongs to the certificate `{subject}`; put its key beside it, or name it in `signer.key_file` or \
         `signer.key_uri`"
    )]
    NoKey { subject: String },
    #[error("the file is being written, or was while it was read")]
    Unsettled,
    #[error("nothing can sign: {}", .0.join("; "))]
    NothingSigns(Vec<String>),
    #[error("the replicas have not agreed on the certificates for {0} seconds")]
    NotAgreed(u64),
    #[error("the grant is for the chain `{0}`, which this process has no key for")]
    UnknownChain(String),
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
         the signing certificate first, then the certificate of its issuer, and so on without a gap (RFC 7515 §4.1.5)",
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
        "the certificate `{subject}` names the service provider codes {}, and none of the carrier's own: {}{}",
        quoted(.named), quoted(.own), case_hint(.named, .own)
    )]
    OtherSpc {
        subject: String,
        named: Vec<Spc>,
        own: Vec<Spc>,
    },
    #[error(transparent)]
    Hsm(#[from] HsmError),
    #[error("the grant is for the chain `{wanted}`, and this signer has `{own}`")]
    OtherChain { wanted: String, own: String },
    #[error("the grant ends at {}, after the certificate chain does, at {}", rfc3339(.grant), rfc3339(.chain))]
    OutlivesChain { grant: Time, chain: Time },
    #[error("a TNAuthList cannot be written: {0}")]
    TnAuthList(#[from] TnAuthListError),
    #[error("the claims cannot be written: {0}")]
    Claims(#[from] serde_json::Error),
    #[error("`{0}` is no name in the form of RFC 4514, such as `CN=SHAKEN 1234`")]
    Subject(String),
    #[error("the certificate request cannot be written: {0}")]
    Request(#[from] der::Error),
    #[error("the header of the token cannot be written: {0}")]
    Jws(#[from] JoseError),
    #[error("openssl: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// What a key in a module of hardware failed with. Each of them means: no signature, and come again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HsmError {
    #[error("as many signatures wait for the HSM as may")]
    Busy,
    #[error("the HSM did not answer in time")]
    Timeout,
    #[error("the HSM answered with a signature that is not its key's")]
    WrongSignature,
    #[error("the HSM cannot be used: {0}")]
    Device(String),
    #[error(
        "the HSM refused the PIN; it is not tried again until it is changed, since a few more tries would lock the token"
    )]
    Pin,
    #[error("the URI of the key is malformed: {0}")]
    Uri(String),
}

impl SignerError {
    /// One word for a metric.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hsm(HsmError::Busy) => "busy",
            Self::Hsm(HsmError::Timeout) => "timeout",
            Self::Hsm(HsmError::WrongSignature) => "wrong-signature",
            Self::Hsm(HsmError::Device(_) | HsmError::Pin | HsmError::Uri(_)) | Self::KeyGone => {
                "device"
            }
            Self::NotAgreed(_) => "not-agreed",
            _ => "other",
        }
    }
}

fn joined(faults: &[SigningFault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

/// Codes that differ in case alone are a frequent slip of a CA's form.
fn case_hint(named: &[Spc], own: &[Spc]) -> String {
    let alike = |a: &&Spc| {
        own.iter()
            .any(|b| a.as_str().eq_ignore_ascii_case(b.as_str()))
    };
    named.iter().find(alike).map_or_else(String::new, |spc| {
        format!(
            "; `{spc}` differs in upper and lower case alone, but codes are compared byte for byte"
        )
    })
}

fn quoted(spcs: &[Spc]) -> String {
    let spcs: Vec<String> = spcs.iter().map(|spc| format!("`{spc}`")).collect();
    spcs.join(", ")
}
