//! X.509 certificates as STIR uses them (RFC 8226): names, validity, kind of key, and the
//! TNAuthList extension of §9.
//!
//! Parsing only. Signatures and paths are verified by the modules that rely on a certificate.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use thiserror::Error;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::domain::clock::{Time, from_unix, rfc3339};
use crate::domain::tokens::tn_auth_list::{TnAuthList, TnAuthListError};

/// `id-pe-TNAuthList`, RFC 8226 Appendix A.
pub const ID_PE_TN_AUTH_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.26");
pub(super) const ID_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const ID_BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

const ID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Why a text contains no readable certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    #[error("no certificate found: there is no line `-----BEGIN CERTIFICATE-----`")]
    None,
    #[error("certificate {number} cannot be read: {why}")]
    Malformed { number: usize, why: String },
    #[error("the certificate cannot be read: {0}")]
    Der(#[from] der::Error),
}

/// Why a certificate has no usable TNAuthList.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtensionError {
    #[error("the certificate has no TNAuthList extension (1.3.6.1.5.5.7.1.26)")]
    Absent,
    #[error("the certificate has more than one TNAuthList extension")]
    Repeated,
    #[error("the certificate's TNAuthList is malformed: {0}")]
    Malformed(#[from] TnAuthListError),
}

/// Why the key of a certificate cannot sign authority tokens.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SigningFault {
    #[error("the certificate has an old version of X.509, without extensions")]
    Version,
    #[error("the key is {0}, but ES256 needs EC P-256")]
    Key(KeyKind),
    #[error("the certificate's key usage does not name `digitalSignature`")]
    KeyUsage,
    #[error("the certificate is not valid before {}", rfc3339(.0))]
    NotYetValid(Time),
    #[error("the certificate expired: its last second was {}", rfc3339(.0))]
    Expired(Time),
    #[error(transparent)]
    TnAuthList(#[from] ExtensionError),
    #[error("the certificate's TNAuthList names no service provider code")]
    NoSpc,
}

/// The kind of a certificate's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The only kind that ES256 (RFC 7518 §3.4) and RFC 8226 §4 allow.
    EcP256,
    /// Any other kind, by name.
    Other(&'static str),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcP256 => "EC P-256",
            Self::Other(name) => name,
        })
    }
}

/// A parsed certificate, with its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) inner: CertificateInner<Raw>,
}

impl Certificate {
    /// Parses all certificates of a PEM text, in order. Text between them is ignored.
    ///
    /// # Errors
    /// [`CertificateError`] if there is none, or one cannot be parsed.
    pub fn chain_from_pem(pem: &str) -> Result<Vec<Self>, CertificateError> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        let mut chain = Vec::new();
        for block in pem.split(BEGIN).skip(1) {
            let malformed = |why: String| CertificateError::Malformed {
                number: chain.len() + 1,
                why,
            };
            let (body, _) = block
                .split_once(END)
                .ok_or_else(|| malformed(format!("no line `{END}`")))?;
            let text: String = body.split_ascii_whitespace().collect();
            let der = STANDARD
                .decode(text)
                .map_err(|e| malformed(e.to_string()))?;
            let inner = CertificateInner::<Raw>::from_der(&der);
            let inner = inner.map_err(|e| malformed(e.to_string()))?;
            chain.push(Self { der, inner });
        }
        if chain.is_empty() {
            return Err(CertificateError::None);
        }
        Ok(chain)
    }

    /// Parses the first certificate of a PEM text and ignores what follows.
    ///
    /// # Errors
    /// [`CertificateError`] if there is none, or it cannot be parsed.
    pub fn first_from_pem(pem: &str) -> Result<Self, CertificateError> {
        const END: &str = "-----END CERTIFICATE-----";
        let end = pem.find(END).map_or(pem.len(), |at| at + END.len());
        let mut first = Self::chain_from_pem(&pem[..end])?.into_iter();
        first.next().ok_or(CertificateError::None)
    }

    /// Parses one certificate from DER and keeps its exact bytes.
    ///
    /// # Errors
    /// [`CertificateError::Der`] if it cannot be parsed, or bytes follow it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let inner = CertificateInner::<Raw>::from_der(der)?;
        let der = der.to_vec();
        Ok(Self { der, inner })
    }

    /// The DER, byte for byte as it was read.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, in the form of RFC 4514.
    #[must_use]
    pub fn subject(&self) -> String {
        self.inner.tbs_certificate().subject().to_string()
    }

    /// The issuer, in the form of RFC 4514.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.inner.tbs_certificate().issuer().to_string()
    }

    /// The serial number in hex.
    #[must_use]
    pub fn serial(&self) -> String {
        let bytes = self.inner.tbs_certificate().serial_number().as_bytes();
        hex::encode(bytes)
    }

    /// The first instant at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> Time {
        let validity = self.inner.tbs_certificate().validity();
        unix_time(validity.not_before)
    }

    /// The last second at which the certificate is valid (RFC 5280 §4.1.2.5: inclusive).
    #[must_use]
    pub fn not_after(&self) -> Time {
        let validity = self.inner.tbs_certificate().validity();
        unix_time(validity.not_after)
    }

    /// The kind of the public key.
    #[must_use]
    pub fn key_kind(&self) -> KeyKind {
        let algorithm = &self
            .inner
            .tbs_certificate()
            .subject_public_key_info()
            .algorithm;
        let curve = || {
            let curve = algorithm.parameters.as_ref();
            curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
        };
        match algorithm.oid {
            ID_EC_PUBLIC_KEY if curve() == Some(ID_P256) => KeyKind::EcP256,
            ID_EC_PUBLIC_KEY if curve() == Some(ID_P384) => KeyKind::Other("EC P-384"),
            ID_EC_PUBLIC_KEY if curve() == Some(ID_P521) => KeyKind::Other("EC P-521"),
            ID_EC_PUBLIC_KEY => KeyKind::Other("EC on another curve"),
            ID_RSA => KeyKind::Other("RSA"),
            ID_ED25519 => KeyKind::Other("Ed25519"),
            _ => KeyKind::Other("of another algorithm"),
        }
    }

    /// The DER of the public key, as a `SubjectPublicKeyInfo`.
    pub fn public_key_der(&self) -> Result<Vec<u8>, CertificateError> {
        let key = self.inner.tbs_certificate().subject_public_key_info();
        Ok(key.to_der()?)
    }

    /// Whether the key usage permits signing; without that extension it does (RFC 5280 §4.2.1.3).
    #[must_use]
    pub fn may_sign(&self) -> bool {
        let usage = self.extensions(ID_KEY_USAGE).next();
        usage.is_none_or(|value| {
            KeyUsage::from_der(value).is_ok_and(|usage| usage.digital_signature())
        })
    }

    /// Whether it is a CA certificate (RFC 5280 §4.2.1.9).
    #[must_use]
    pub fn is_ca(&self) -> bool {
        let constraints = self.extensions(ID_BASIC_CONSTRAINTS).next();
        constraints.is_some_and(|value| BasicConstraints::from_der(value).is_ok_and(|c| c.ca))
    }

    /// The TNAuthList of the certificate, parsed strictly (RFC 8226 §9).
    ///
    /// # Errors
    /// [`ExtensionError`] if there is not exactly one, or it is malformed.
    pub fn tn_auth_list(&self) -> Result<TnAuthList, ExtensionError> {
        let mut values = self.extensions(ID_PE_TN_AUTH_LIST);
        match (values.next(), values.next()) {
            (None, _) => Err(ExtensionError::Absent),
            (Some(_), Some(_)) => Err(ExtensionError::Repeated),
            (Some(value), None) => Ok(TnAuthList::from_der(value)?),
        }
    }

    /// The raw bytes of the TNAuthList extension, even if they are malformed.
    #[must_use]
    pub fn tn_auth_list_der(&self) -> Option<&[u8]> {
        self.extensions(ID_PE_TN_AUTH_LIST).next()
    }

    /// Whether it has X.509 version 3. Older versions have no extensions, so no TNAuthList either.
    #[must_use]
    pub fn has_extensions(&self) -> bool {
        self.inner.tbs_certificate().version() == x509_cert::Version::V3
    }

    /// All reasons why the key cannot sign authority tokens at `at`; empty if it can. A CA
    /// certificate is as good as an end-entity one: RFC 9448 requires neither.
    #[must_use]
    pub fn signing_faults(&self, at: Time) -> Vec<SigningFault> {
        let mut faults = Vec::new();
        if !self.has_extensions() {
            faults.push(SigningFault::Version);
        }
        if self.key_kind() != KeyKind::EcP256 {
            faults.push(SigningFault::Key(self.key_kind()));
        }
        if !self.may_sign() {
            faults.push(SigningFault::KeyUsage);
        }
        if at < self.not_before() {
            faults.push(SigningFault::NotYetValid(self.not_before()));
        }
        if at > self.not_after() {
            faults.push(SigningFault::Expired(self.not_after()));
        }
        match self.tn_auth_list() {
            Ok(list) if list.spcs().next().is_none() => faults.push(SigningFault::NoSpc),
            Ok(_) => {}
            Err(error) => faults.push(error.into()),
        }
        faults
    }

    fn extensions(&self, id: ObjectIdentifier) -> impl Iterator<Item = &[u8]> {
        let all = self.inner.tbs_certificate().extensions();
        all.into_iter()
            .flatten()
            .filter(move |extension| extension.extn_id == id)
            .map(|extension| extension.extn_value.as_bytes())
    }
}

fn unix_time(time: x509_cert::time::Time) -> Time {
    let seconds = time.to_unix_duration().as_secs();
    from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}
