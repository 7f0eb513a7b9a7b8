//! Client certificates: whom one names. It comes from the TLS handshake, or from a proxy that ended TLS; either way it is
//! checked here again, since a connection can outlive its certificate, and a proxy is believed what it saw and no more.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::ssl::SslRef;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{GeneralNameRef, X509, X509ExtendedKeyUsage, X509Name, X509Ref};

use super::Identity;
use super::client_ca::{Anchors, AnchorsError, MAX_CHAIN};
use super::proof_cache::ProofCache;
use super::rejection::{CertificateFault, Rejection};
use super::role_accounts::standing;
use crate::domain::signing::certificate::Certificate;
use crate::domain::{AccountId, Proof, Role, Time};

/// Bytes of one certificate.
const MAX_LENGTH: usize = 65_536;
/// Seconds after which a certificate is checked again from the start, so that a CRL that has ended is noticed.
const CHECKED_AGAIN: i64 = 60;

/// A client certificate that was presented, with what was sent to vouch for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// DER.
    leaf: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

impl PresentedCertificate {
    /// The certificate of the client at the other end of a TLS connection, if it presented one.
    #[must_use]
    pub fn of_connection(tls: &SslRef) -> Option<Self> {
        let leaf = tls.peer_certificate()?.to_der().ok()?;
        let chain = tls.peer_cert_chain().into_iter().flatten();
        let chain = chain
            .take(MAX_CHAIN.into())
            .filter_map(|one| one.to_der().ok());
        Some(Self {
            chain: chain.collect(),
            leaf,
        })
    }

    /// A certificate that came alone, in DER.
    pub(super) fn alone(leaf: Vec<u8>) -> Self {
        Self {
            leaf,
            chain: Vec::new(),
        }
    }
}

/// What a certificate has to have to name a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The subject as a whole, as `tn-authority certificate inspect` shows it (RFC 4514).
    Subject(String),
    /// One of its DNS names; case does not matter, wildcards stand for nothing.
    Dns(String),
    /// One of its URIs, byte for byte.
    Uri(String),
    /// The SHA-256 of its DER.
    Sha256([u8; 32]),
}

/// A caller that a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateCaller {
    /// Its name in the configuration, and in the audit trail.
    pub name: String,
    pub by: Match,
    pub role: Role,
    pub accounts: Vec<AccountId>,
}

/// Who vouches for client certificates, and whom they name.
#[derive(Debug)]
pub struct ClientCertificates {
    anchors: Anchors,
    callers: Vec<CertificateCaller>,
    remembered: ProofCache<CachedCertificate>,
}

/// Whom a certificate that was checked names, if anybody.
#[derive(Debug, Clone)]
struct CachedCertificate {
    named: Result<Arc<Identity>, Rejection>,
    checked: Time,
    /// The first second at which it and all that vouch for it are valid, and the first at which they are not any more.
    valid: (Time, Time),
    generation: u64,
}

impl CachedCertificate {
    fn holds(&self, now: Time, generation: u64) -> bool {
        let (from, until) = self.valid;
        let fresh = TimeDelta::zero()..TimeDelta::seconds(CHECKED_AGAIN);
        self.generation == generation
            && (from..until).contains(&now)
            && fresh.contains(&now.signed_duration_since(self.checked))
    }
}

impl ClientCertificates {
    /// Trusts each CA of a PEM file, and takes no certificate that a CRL of another one names.
    ///
    /// # Errors
    /// [`AnchorsError`] says which file or caller is wrong.
    pub fn new(
        ca_file: PathBuf,
        crl: Option<PathBuf>,
        mut callers: Vec<CertificateCaller>,
    ) -> Result<Self, AnchorsError> {
        let anchors = Anchors::read(ca_file, crl)?;
        for caller in &mut callers {
            let accounts = std::mem::take(&mut caller.accounts);
            caller.accounts =
                standing(caller.role, accounts).map_err(|error| AnchorsError::Standing {
                    name: caller.name.clone(),
                    error,
                })?;
        }
        Ok(Self {
            anchors,
            callers,
            remembered: ProofCache::new(),
        })
    }

    /// For the TLS handshake: who vouches for clients.
    ///
    /// # Errors
    /// [`ErrorStack`] if OpenSSL fails.
    pub fn for_handshakes(&self) -> Result<(X509Store, Stack<X509Name>), ErrorStack> {
        self.anchors.for_handshakes()
    }

    /// Whom a certificate names, now.
    pub(super) fn authenticate(
        &self,
        presented: &PresentedCertificate,
        now: Time,
    ) -> Result<Identity, Rejection> {
        let generation = self.anchors.generation();
        let holds = |kept: &CachedCertificate| kept.holds(now, generation);
        let kept = match self.remembered.get(&presented.leaf, holds) {
            Some(kept) => kept,
            None => self.check(presented, generation, now)?,
        };
        let proven = kept.named?;
        Ok((*proven).clone())
    }

    fn check(
        &self,
        presented: &PresentedCertificate,
        generation: u64,
        now: Time,
    ) -> Result<CachedCertificate, Rejection> {
        if presented.leaf.len() > MAX_LENGTH {
            return Err(CertificateFault::Unreadable.into());
        }
        let unreadable = |_: ErrorStack| Rejection::from(CertificateFault::Unreadable);
        let leaf = X509::from_der(&presented.leaf).map_err(unreadable)?;
        let certificate =
            Certificate::from_der(&presented.leaf).map_err(|_| CertificateFault::Unreadable)?;
        let mut chain = Stack::new().map_err(unreadable)?;
        for der in &presented.chain {
            let one = X509::from_der(der).map_err(unreadable)?;
            chain.push(one).map_err(unreadable)?;
        }
        let valid = self.anchors.path(&leaf, &chain, now)?;
        // Without the extension a certificate may be for anything; whoever issues it for clients says so.
        let usage = leaf.extended_key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::SSL_CLIENT)) {
            return Err(CertificateFault::Usage.into());
        }
        let kept = CachedCertificate {
            named: self.named(&leaf, &certificate, valid.1),
            checked: now,
            valid,
            generation,
        };
        self.remembered.keep(&presented.leaf, kept.clone());
        Ok(kept)
    }

    fn named(
        &self,
        leaf: &X509Ref,
        certificate: &Certificate,
        ends: Time,
    ) -> Result<Arc<Identity>, Rejection> {
        let digest = sha256(certificate.as_der());
        let subject = certificate.subject();
        let names = leaf.subject_alt_names();
        let alternative =
            |is_it: &dyn Fn(&GeneralNameRef) -> bool| names.iter().flatten().any(is_it);
        let mut matching = self.callers.iter().filter(|caller| match &caller.by {
            Match::Subject(wanted) => *wanted == subject,
            Match::Dns(wanted) => alternative(&|name| {
                name.dnsname()
                    .is_some_and(|own| own.eq_ignore_ascii_case(wanted))
            }),
            Match::Uri(wanted) => alternative(&|name| name.uri() == Some(wanted)),
            Match::Sha256(wanted) => *wanted == digest,
        });
        match (matching.next(), matching.next()) {
            (None, _) => Err(Rejection::Unmapped(hex::encode(digest))),
            (Some(_), Some(_)) => Err(CertificateFault::Ambiguous.into()),
            (Some(caller), None) => Ok(Arc::new(Identity {
                id: format!("certificate:{}", caller.name),
                proof: Proof::Certificate,
                role: caller.role,
                accounts: caller.accounts.clone(),
                expires: Some(ends),
            })),
        }
    }
}
