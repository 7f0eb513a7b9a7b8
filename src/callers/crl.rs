//! Reads certificate revocation lists (RFC 5280 §5), and says which one replaces which.

use std::cmp::Ordering;

use chrono::TimeDelta;
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Crl, X509NameRef, X509Ref};
use thiserror::Error;
use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::name::RdnSequence;

use crate::domain::Time;
use crate::domain::clock::from_unix;
use crate::domain::text::printable::printable;

/// Extensions that say for which certificates a list is: `authorityKeyIdentifier` (RFC 5280
/// §5.2.1), since a CA may have had several keys, `issuingDistributionPoint` (§5.2.5) and
/// `deltaCRLIndicator` (§5.2.4).
const SCOPE: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.29.35"),
    ObjectIdentifier::new_unwrap("2.5.29.28"),
    ObjectIdentifier::new_unwrap("2.5.29.27"),
];

/// Why a file with CRLs is unusable.
#[derive(Debug, Error)]
pub enum CrlError {
    #[error("it has no CRL: there is no line `-----BEGIN X509 CRL-----`")]
    None,
    #[error("CRL {number} has no line `-----END X509 CRL-----`")]
    Unfinished { number: usize },
    #[error("CRL {number} cannot be read: {error}")]
    Malformed { number: usize, error: ErrorStack },
    #[error("the CRL of `{issuer}` is not signed by that CA")]
    Signature { issuer: String },
    #[error("OpenSSL cannot read the CRLs: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error("the CRLs cannot be handed to OpenSSL in a temporary file: {0}")]
    Temporary(std::io::Error),
}

/// A revocation list.
pub(super) struct Crl {
    pub(super) pem: Vec<u8>,
    signed: X509Crl,
    /// The CA and the extensions of [`SCOPE`]: what a newer list must have in common.
    scope: Vec<Vec<u8>>,
    pub(super) this_update: Time,
    pub(super) next_update: Option<Time>,
}

impl Crl {
    /// Reads all CRLs of a PEM text.
    pub(super) fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, CrlError> {
        const BEGIN: &str = "-----BEGIN X509 CRL-----";
        const END: &str = "-----END X509 CRL-----";
        let text = String::from_utf8_lossy(text);
        let mut lists = Vec::new();
        for (block, number) in text.split(BEGIN).skip(1).zip(1..) {
            let (body, _) = block
                .split_once(END)
                .ok_or(CrlError::Unfinished { number })?;
            let pem = format!("{BEGIN}{body}{END}\n");
            let crl = X509Crl::from_pem(pem.as_bytes());
            let crl = crl.map_err(|error| CrlError::Malformed { number, error })?;
            lists.push(Self::new(crl)?);
        }
        if lists.is_empty() {
            return Err(CrlError::None);
        }
        Ok(lists)
    }

    fn new(crl: X509Crl) -> Result<Self, CrlError> {
        let next_update = crl.next_update().map(unix_time);
        Ok(Self {
            pem: crl.to_pem()?,
            scope: scope(&crl)?,
            this_update: unix_time(crl.last_update())?,
            next_update: next_update.transpose()?,
            signed: crl,
        })
    }

    /// Whether it lists certificates of this CA.
    pub(super) fn is_of(&self, ca: &X509NameRef) -> bool {
        self.signed
            .issuer_name()
            .try_cmp(ca)
            .is_ok_and(|order| order == Ordering::Equal)
    }

    /// The CA, in the form of RFC 4514.
    pub(super) fn issuer(&self) -> String {
        let der = self.signed.issuer_name().to_der().unwrap_or_default();
        let name = RdnSequence::from_der(&der).map(|name| name.to_string());
        printable(&name.unwrap_or_default())
    }

    /// Checks the signature, if the CA is one of these. That of another CA is checked when a
    /// certificate comes with it.
    pub(super) fn check_signature(&self, cas: &[X509]) -> Result<(), CrlError> {
        let mut own = cas
            .iter()
            .filter(|ca| self.is_of(ca.subject_name()))
            .peekable();
        if own.peek().is_none() || own.any(|ca| self.is_signed_by(ca)) {
            return Ok(());
        }
        let issuer = self.issuer();
        Err(CrlError::Signature { issuer })
    }

    pub(super) fn is_signed_by(&self, ca: &X509Ref) -> bool {
        let key = ca.public_key();
        key.is_ok_and(|key| self.signed.verify(&key).unwrap_or(false))
    }

    /// Whether this list says the same, about the same certificates, at another time.
    pub(super) fn has_scope_of(&self, other: &Self) -> bool {
        self.scope == other.scope
    }

    /// The time from which the list no longer counts, if it counts for `grace` longer than it says.
    pub(super) fn ends(&self, grace: TimeDelta) -> Time {
        let next = self
            .next_update
            .and_then(|next| next.checked_add_signed(grace));
        next.unwrap_or(Time::MAX_UTC)
    }

    pub(super) fn counts(&self, now: Time, grace: TimeDelta) -> bool {
        (self.this_update..self.ends(grace)).contains(&now)
    }
}

/// An old list (v1) has no extensions, and is not one that `x509_cert` reads.
fn scope(crl: &X509Crl) -> Result<Vec<Vec<u8>>, ErrorStack> {
    let mut scope = vec![crl.issuer_name().to_der()?];
    let list = CertificateList::<Raw>::from_der(&crl.to_der()?);
    let extensions = list.ok().and_then(|list| list.tbs_cert_list.crl_extensions);
    let extensions = extensions.into_iter().flatten();
    let named = extensions.filter(|extension| SCOPE.contains(&extension.extn_id));
    scope.extend(named.filter_map(|extension| extension.to_der().ok()));
    Ok(scope)
}

fn unix_time(time: &Asn1TimeRef) -> Result<Time, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(from_unix(
        i64::from(since.days) * 86_400 + i64::from(since.secs),
    ))
}
