//! The authorities that a CA trusts (RFC 9447 §4: "trusts the TA certificate out of band"), and how
//! a token's `x5u` or `x5c` leads to one. An `x5u` is never fetched here: it is untrusted input,
//! and RFC 8725 §3.10 warns against following it.
//!
//! A signer is trusted if one of these is true:
//! - its certificate is, byte for byte, in the trust list, which makes it a trust anchor;
//! - its chain leads to a certificate of the trust list, according to RFC 5280 at the time of the
//!   check;
//! - there is no trust list, and its chain was supplied for exactly the token's `x5u`, which makes
//!   it a trust anchor;
//! - no chain was supplied for the `x5u`, but the signature verifies with a certificate of the
//!   trust list: that certificate is the signer, regardless of where it is published.
//!
//! The validity period of a trust anchor is not part of path validation (RFC 5280 §6.1.1). The
//! report says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext, X509VerifyResult};
use serde_json::Value;
use thiserror::Error;

use super::jws::Jws;
use crate::domain::Time;
use crate::domain::signing::certificate::{Certificate, CertificateError, KeyKind};
use crate::domain::text::printable::printable;

/// More certificates than a real chain has.
const MAX_CHAIN: usize = 10;

/// Why a token's signer is not trusted, or a trust list cannot be built.
#[derive(Debug, Error)]
pub enum TrustError {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error("`{0}` is not an https URL")]
    NotHttps(String),
    #[error("`x5u` is not a string")]
    X5uKind,
    #[error(
        "no chain was supplied for `{0}`, which is not fetched, and no certificate of the trust list \
         verifies the signature"
    )]
    UnknownUrl(String),
    #[error("`{url}` does not answer: {why}")]
    NoAnswer { url: String, why: String },
    #[error("the answer of `{url}` is no certificate chain: {why}")]
    BadAnswer { url: String, why: String },
    #[error("the authority has withdrawn the chain at `{0}`, because its key is distrusted")]
    Withdrawn(String),
    #[error("`x5c` is not an array of 1 to {MAX_CHAIN} strings")]
    X5cKind,
    #[error("certificate {number} of `x5c` is not padded base64 of DER (RFC 7515 §4.1.6): {why}")]
    X5cItem { number: usize, why: String },
    #[error("no trust list was given for the chain of {0}")]
    NoTrustList(String),
    #[error("the chain of {subject} does not lead to the trust list: {why}")]
    Path {
        subject: String,
        why: X509VerifyResult,
    },
    #[error("the key of {subject} is {kind}, but ES256 needs EC P-256")]
    Key { subject: String, kind: KeyKind },
    #[error("the key usage of {0} does not include `digitalSignature`")]
    KeyUsage(String),
}

/// The trusted certificates, and the chains that were supplied for URLs.
#[derive(Debug, Clone, Default)]
pub struct TrustList {
    certificates: Vec<Certificate>,
    chains: BTreeMap<String, Vec<Certificate>>,
    missing: BTreeMap<String, MissingChain>,
    /// URLs whose chain the authority has withdrawn.
    withdrawn: BTreeSet<String>,
}

/// Why a chain was not obtained from its URL, although its host is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingChain {
    /// The host did not answer, or not completely.
    NoAnswer(String),
    /// The answer is another one than a chain.
    BadAnswer(String),
}

impl TrustList {
    /// Trusts each certificate of a PEM text: certificates of authorities, or of CAs that issue
    /// them.
    ///
    /// # Errors
    /// [`TrustError`] if the text contains no certificate, or a malformed one.
    pub fn trust_pem(&mut self, pem: &str) -> Result<(), TrustError> {
        self.certificates.extend(readable_chain(pem)?);
        Ok(())
    }

    /// Supplies the chain that is published at `url`: the signer's certificate, then those of its
    /// issuers.
    ///
    /// # Errors
    /// [`TrustError`] if the URL is not https, or the text is not a chain.
    pub fn publish_pem(&mut self, url: &str, pem: &str) -> Result<(), TrustError> {
        let url = https(url)?.to_owned();
        self.chains.insert(url, readable_chain(pem)?);
        Ok(())
    }

    /// Trusts no token with this `x5u`, whatever is in the trust list: the authority says that the
    /// key is distrusted.
    pub fn withdraw(&mut self, url: &str) {
        self.withdrawn.insert(url.to_owned());
    }

    /// Whether a chain was supplied for `url`.
    #[must_use]
    pub fn knows(&self, url: &str) -> bool {
        self.chains.contains_key(url)
    }

    /// Records that no chain was obtained from `url`, which step 2 then reports.
    pub fn is_missing(&mut self, url: &str, why: MissingChain) {
        self.missing.insert(url.to_owned(), why);
    }

    /// RFC 9448 §6, step 2: the signer that `x5u` leads to.
    pub(super) fn by_url(
        &self,
        x5u: &Value,
        jws: &Jws<'_>,
        at: Time,
    ) -> Result<TrustedSigner, TrustError> {
        let url = https(x5u.as_str().ok_or(TrustError::X5uKind)?)?;
        if self.withdrawn.contains(url) {
            return Err(TrustError::Withdrawn(printable(url)));
        }
        match self.chains.get(url).map(Vec::as_slice) {
            Some([leaf, ..]) if self.certificates.is_empty() => {
                TrustedSigner::new(leaf, TrustBasis::Pinned)
            }
            Some(chain) => self.by_path(chain, at),
            None => self
                .certificates
                .iter()
                .filter(|certificate| fit_to_sign(certificate).is_ok())
                .find(|certificate| has_signed(certificate, jws))
                .ok_or_else(|| self.why_unknown(url))
                .and_then(|certificate| TrustedSigner::new(certificate, TrustBasis::Signature)),
        }
    }

    fn why_unknown(&self, url: &str) -> TrustError {
        let shown = printable(url);
        match self.missing.get(url).cloned() {
            Some(MissingChain::NoAnswer(why)) => TrustError::NoAnswer { url: shown, why },
            Some(MissingChain::BadAnswer(why)) => TrustError::BadAnswer { url: shown, why },
            None => TrustError::UnknownUrl(shown),
        }
    }

    /// RFC 9448 §6, step 3: the signer that `x5c` contains. If it is the certificate to which `x5u`
    /// led, it is trusted already.
    pub(super) fn by_chain(
        &self,
        x5c: &Value,
        by_url: Option<&TrustedSigner>,
        at: Time,
    ) -> Result<TrustedSigner, TrustError> {
        let chain = x5c_chain(x5c)?;
        match (by_url, chain.first()) {
            (Some(signer), Some(leaf)) if signer.certificate == *leaf => Ok(signer.clone()),
            _ => self.by_path(&chain, at),
        }
    }

    fn by_path(&self, chain: &[Certificate], at: Time) -> Result<TrustedSigner, TrustError> {
        let (leaf, rest) = chain.split_first().ok_or(CertificateError::None)?;
        if self.certificates.contains(leaf) {
            return TrustedSigner::new(leaf, TrustBasis::Listed);
        }
        if self.certificates.is_empty() {
            return Err(TrustError::NoTrustList(subject(leaf)));
        }
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.certificates {
            store.add_cert(X509::from_der(anchor.as_der())?)?;
        }
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_time(at.timestamp());
        // An intermediate in the trust list is an anchor too, even without its root.
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        store.set_param(&parameters)?;
        let mut untrusted = Stack::new()?;
        for certificate in rest {
            untrusted.push(X509::from_der(certificate.as_der())?)?;
        }
        let signer = X509::from_der(leaf.as_der())?;
        let (valid, why) =
            X509StoreContext::new()?.init(&store.build(), &signer, &untrusted, |context| {
                Ok((context.verify_cert()?, context.error()))
            })?;
        if valid {
            TrustedSigner::new(leaf, TrustBasis::Path)
        } else {
            let subject = subject(leaf);
            Err(TrustError::Path { subject, why })
        }
    }
}

/// A certificate that is trusted to sign tokens.
#[derive(Debug, Clone)]
pub(super) struct TrustedSigner {
    certificate: Certificate,
    public_key: Vec<u8>,
    basis: TrustBasis,
}

/// Why a signer is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrustBasis {
    /// Supplied for the `x5u`, without a trust list.
    Pinned,
    /// In the trust list.
    Listed,
    /// In the trust list, and found because it verifies the signature.
    Signature,
    /// Its chain leads to the trust list.
    Path,
}

impl TrustedSigner {
    fn new(certificate: &Certificate, basis: TrustBasis) -> Result<Self, TrustError> {
        fit_to_sign(certificate)?;
        Ok(Self {
            public_key: certificate.public_key_der()?,
            certificate: certificate.clone(),
            basis,
        })
    }

    /// The key, as a `SubjectPublicKeyInfo`.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Display for TrustedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&subject(&self.certificate))?;
        f.write_str(match self.basis {
            TrustBasis::Pinned => ", trusted because its chain was supplied; its validity period was not checked",
            TrustBasis::Listed => ", in the trust list; its validity period was not checked",
            TrustBasis::Signature => {
                ", in the trust list and identified by its signature; its validity period was not checked"
            }
            TrustBasis::Path => ", by a path to the trust list",
        })
    }
}

/// ES256 and RFC 8226 §4 require P-256; RFC 5280 §4.2.1.3 requires `digitalSignature` if there is a
/// key usage.
fn fit_to_sign(certificate: &Certificate) -> Result<(), TrustError> {
    match certificate.key_kind() {
        KeyKind::EcP256 if certificate.may_sign() => Ok(()),
        KeyKind::EcP256 => Err(TrustError::KeyUsage(subject(certificate))),
        kind @ KeyKind::Other(_) => Err(TrustError::Key {
            subject: subject(certificate),
            kind,
        }),
    }
}

fn has_signed(certificate: &Certificate, jws: &Jws<'_>) -> bool {
    let key = certificate.public_key_der();
    key.is_ok_and(|key| jws.is_signed_by(&key).unwrap_or(false))
}

fn subject(certificate: &Certificate) -> String {
    format!("`{}`", printable(&certificate.subject()))
}

/// Checks for an absolute https URL with a host, no user and no fragment. URLs are then compared
/// byte for byte.
fn https(url: &str) -> Result<&str, TrustError> {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_url = !host.is_empty()
        && !host.contains('@')
        && !rest.contains('#')
        && rest.bytes().all(|b| b.is_ascii_graphic());
    if is_url {
        Ok(url)
    } else {
        Err(TrustError::NotHttps(printable(url)))
    }
}

/// Parses a chain, with OpenSSL too: it will do the path validation, so it must accept each
/// certificate.
fn readable_chain(pem: &str) -> Result<Vec<Certificate>, TrustError> {
    let chain = Certificate::chain_from_pem(pem)?;
    for certificate in &chain {
        X509::from_der(certificate.as_der())?;
    }
    Ok(chain)
}

fn x5c_chain(x5c: &Value) -> Result<Vec<Certificate>, TrustError> {
    let items = x5c.as_array().ok_or(TrustError::X5cKind)?;
    if items.is_empty() || items.len() > MAX_CHAIN {
        return Err(TrustError::X5cKind);
    }
    let numbered = items.iter().zip(1..);
    numbered
        .map(|(item, number)| {
            let malformed = |why: String| TrustError::X5cItem { number, why };
            let text = item.as_str().ok_or(TrustError::X5cKind)?;
            let der = STANDARD
                .decode(text)
                .map_err(|e| malformed(e.to_string()))?;
            Certificate::from_der(&der).map_err(|e| malformed(e.to_string()))
        })
        .collect()
}
