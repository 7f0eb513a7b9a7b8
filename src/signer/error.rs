//! Why a signer could not be set up, or could not sign. Each message says what the operator has to
//! fix.

use std::io;
use std::path::PathBuf;

use josekit::JoseError;
use openssl::error::ErrorStack;
use thiserror::Error;

use crate::domain::Spc;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::signing::certificate::{CertificateError, SigningFault};
use crate::domain::tokens::tn_auth_list::TnAuthListError;

/// Every error of this module.
#[derive(Debug, Error)]
pub enum SignerError {
    #[error("cannot read the {what} `{}`: {source}", .path.display())]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "the signing key is encrypted and no passphrase is configured; set `signer.passphrase_file`, or decrypt \
         the key with `openssl pkey` and restrict the permissions of the file"
    )]
    KeyEncrypted,
    #[error("the signing key is encrypted, and the configured passphrase does not decrypt it")]
    KeyPassphrase,
    #[error("the signing key is no longer available")]
    KeyGone,
    #[error(
        "`{0}` is neither a certificate nor a key; expected PEM, or a line that starts with `pkcs11:`"
    )]
    NotForSigning(String),
    #[error("`{0}` has several key URIs; write a file for each")]
    SeveralUris(String),
    #[error("cannot read the folder of signing keys `{}`: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "none of the signing keys matches the certificate `{subject}`; put its key into the same folder, or set \
         `signer.key_file` or `signer.key_uri`"
    )]
    NoKey { subject: String },
    #[error("the file changed while it was read")]
    Unsettled,
    #[error("no usable signing key and certificate: {}", .0.join("; "))]
    NothingSigns(Vec<String>),
    /// As [`SignerError::NothingSigns`], and an HSM has refused the PIN, so another start would
    /// only try it again.
    #[error("no usable signing key and certificate: {}", .0.join("; "))]
    PinRefused(Vec<String>),
    #[error("this replica has not synchronized its certificates with the database for {0} seconds")]
    NotAgreed(u64),
    #[error("the grant was made for the chain `{0}`, for which this process has no key")]
    UnknownChain(String),
    #[error(
        "the key file contains no private key: expected `-----BEGIN PRIVATE KEY-----`, found {found}"
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
        "certificate {number} of the chain (`{subject}`) was not issued by certificate {} (`{next}`): {why}; the \
         file must contain the signing certificate first, then that of its issuer, and so on without a gap \
         (RFC 7515 §4.1.5)",
        .number + 1
    )]
    ChainOrder {
        number: usize,
        subject: String,
        next: String,
        why: String,
    },
    #[error(
        "certificate {number} of the chain (`{subject}`) is valid only from {} to {}",
        rfc3339(.from), rfc3339(.until)
    )]
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
        "the signing key does not match the certificate `{subject}`: their public keys differ; the first certificate \
         of the chain must be that of the key"
    )]
    OtherKey { subject: String },
    #[error("no service provider code is configured; set `carrier.spcs`")]
    NoSpc,
    #[error(
        "the certificate `{subject}` is for the service provider codes {}, none of which is one of the carrier's: {}{}",
        quoted(.named), quoted(.own), case_hint(.named, .own)
    )]
    OtherSpc {
        subject: String,
        named: Vec<Spc>,
        own: Vec<Spc>,
    },
    #[error(transparent)]
    Hsm(#[from] HsmError),
    #[error("the grant was made for the chain `{wanted}`, but this signer has `{own}`")]
    OtherChain { wanted: String, own: String },
    #[error(
        "the grant expires at {}, after the certificate chain, which expires at {}",
        rfc3339(.grant), rfc3339(.chain)
    )]
    OutlivesChain { grant: Time, chain: Time },
    #[error("cannot encode the TNAuthList: {0}")]
    TnAuthList(#[from] TnAuthListError),
    #[error("cannot encode the claims: {0}")]
    Claims(#[from] serde_json::Error),
    #[error("`{0}` is not a distinguished name (RFC 4514); an example is `CN=SHAKEN 1234`")]
    Subject(String),
    #[error(
        "`{0}` is not a subject alternative name; examples are `DNS:authority.example.com`, `URI:https://example.com`, \
         `email:pki@example.com` and `IP:192.0.2.1`"
    )]
    AlternativeName(String),
    #[error(
        "`{0}` is not the OID of a certificate policy; an example is `2.16.840.1.114569.1.1.3`"
    )]
    Policy(String),
    #[error("cannot encode the certificate signing request: {0}")]
    Request(#[from] der::Error),
    #[error("cannot encode the header of the token: {0}")]
    Jws(#[from] JoseError),
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// Why a key in an HSM did not sign. The caller can retry later.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HsmError {
    #[error("the queue for the HSM is full")]
    Busy,
    #[error("the HSM did not answer in time")]
    Timeout,
    #[error(
        "the PKCS #11 module `{}` has not answered for {seconds} seconds, in which it should load, log in and sign once; \
         check the HSM and the connection to it, or set a longer `signer.pkcs11.open_timeout`",
        .module.display()
    )]
    Silent { module: PathBuf, seconds: u64 },
    #[error("the HSM returned a signature that its public key does not verify")]
    WrongSignature,
    #[error("the HSM cannot be used: {0}")]
    Device(String),
    #[error(
        "the HSM refused the PIN; it is not tried again until it is changed, because more attempts would lock \
         the token"
    )]
    Pin,
    #[error("the HSM has locked the PIN; its security officer has to reset it")]
    PinLocked,
    #[error(
        "the HSM allows only one more try of the PIN, so it is not tried, because a wrong one would lock the token; log \
         in with the right PIN by another tool, which resets the count"
    )]
    PinLastTry,
    #[error("the key in the HSM cannot be used: {0}")]
    Key(String),
    #[error("the key URI is ambiguous: {0}")]
    Ambiguous(String),
    #[error("the key URI is malformed: {0}")]
    Uri(String),
}

impl SignerError {
    /// The `kind` label of the metric of failed signatures.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hsm(HsmError::Busy) => "busy",
            Self::Hsm(HsmError::Timeout | HsmError::Silent { .. }) => "timeout",
            Self::Hsm(HsmError::WrongSignature) => "wrong-signature",
            Self::Hsm(
                HsmError::Device(_)
                | HsmError::Pin
                | HsmError::PinLocked
                | HsmError::PinLastTry
                | HsmError::Key(_)
                | HsmError::Ambiguous(_)
                | HsmError::Uri(_),
            )
            | Self::KeyGone => "device",
            Self::NotAgreed(_) => "not-agreed",
            _ => "other",
        }
    }
}

impl HsmError {
    /// Whether a person has to see to the PIN before it may be tried again.
    #[must_use]
    pub const fn is_about_the_pin(&self) -> bool {
        match self {
            Self::Pin | Self::PinLocked | Self::PinLastTry => true,
            Self::Busy
            | Self::Timeout
            | Self::Silent { .. }
            | Self::WrongSignature
            | Self::Device(_)
            | Self::Key(_)
            | Self::Ambiguous(_)
            | Self::Uri(_) => false,
        }
    }
}

fn joined(faults: &[SigningFault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

/// A CA's order form often changes the case of a code, so say so if that is the only difference.
fn case_hint(named: &[Spc], own: &[Spc]) -> String {
    let alike = |a: &&Spc| {
        own.iter()
            .any(|b| a.as_str().eq_ignore_ascii_case(b.as_str()))
    };
    named.iter().find(alike).map_or_else(String::new, |spc| {
        format!("; `{spc}` differs only in case, but codes are case-sensitive")
    })
}

fn quoted(spcs: &[Spc]) -> String {
    let spcs: Vec<String> = spcs.iter().map(|spc| format!("`{spc}`")).collect();
    spcs.join(", ")
}
