//! Authenticates by client certificate, from the TLS handshake or from a proxy that terminates TLS.
//! In both cases the path is verified here again: a connection can outlive its certificate, and a
//! proxy is trusted to pass on the certificate, not to have verified it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::ssl::SslRef;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{GeneralNameRef, X509, X509ExtendedKeyUsage, X509Name, X509Ref};
use parking_lot::RwLock;

use super::Identity;
use super::client_ca::{Anchors, AnchorsError, MAX_CHAIN};
use super::crl_source::CrlSettings;
use super::proof_cache::ProofCache;
use super::rejection::{CertificateFault, Rejection};
use super::role_accounts::role_accounts;
use crate::domain::signing::certificate::Certificate;
use crate::domain::{AccountId, Proof, Role, Time};
use crate::telemetry::Metrics;

/// Bytes of one certificate.
const MAX_LENGTH: usize = 65_536;
/// Seconds after which a certificate is verified again, so that an expired CRL is noticed.
const RECHECK_SECONDS: i64 = 60;

/// A client certificate as presented, with the intermediate certificates that came with it.
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

    /// A certificate and its intermediates, in DER.
    pub(super) const fn new(leaf: Vec<u8>, chain: Vec<Vec<u8>>) -> Self {
        Self { leaf, chain }
    }
}

/// How a certificate is matched to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The whole subject, as `tn-authority certificate inspect` prints it (RFC 4514).
    Subject(String),
    /// One of its DNS names; case-insensitive. Wildcards are not expanded.
    Dns(String),
    /// One of its URIs, byte for byte.
    Uri(String),
    /// The SHA-256 of its DER.
    Sha256([u8; 32]),
}

/// A caller that authenticates by certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateCaller {
    /// Its name in the configuration, and in the audit trail.
    pub name: String,
    pub by: Match,
    pub role: Role,
    pub accounts: Vec<AccountId>,
}

/// The CAs of client certificates, and the callers that the certificates are mapped to.
#[derive(Debug)]
pub struct ClientCertificates {
    anchors: RwLock<Arc<Anchors>>,
    callers: Vec<CertificateCaller>,
    cache: ProofCache<CachedCertificate>,
}

/// CAs that were read again, and are not in force yet.
#[derive(Debug)]
pub struct NewAnchors(Arc<Anchors>);

impl NewAnchors {
    /// As [`ClientCertificates::for_handshakes`].
    pub fn for_handshakes(&self) -> Result<HandshakeAnchors, ErrorStack> {
        self.0.for_handshakes()
    }
}

/// Trust anchors and their names, for the TLS handshake.
pub type HandshakeAnchors = (X509Store, Stack<X509Name>);

/// A verified certificate, and the caller it is mapped to or why there is none.
#[derive(Debug, Clone)]
struct CachedCertificate {
    identity: Result<Arc<Identity>, Rejection>,
    checked: Time,
    /// When the whole path becomes valid, and when it no longer is.
    valid: (Time, Time),
    generation: u64,
}

impl CachedCertificate {
    fn is_valid(&self, now: Time, generation: u64) -> bool {
        let (from, until) = self.valid;
        let fresh = TimeDelta::zero()..TimeDelta::seconds(RECHECK_SECONDS);
        self.generation == generation
            && (from..until).contains(&now)
            && fresh.contains(&now.signed_duration_since(self.checked))
    }
}

impl ClientCertificates {
    /// Trusts each CA of a PEM file, and refuses the certificates that a CRL revokes.
    ///
    /// # Errors
    /// [`AnchorsError`] says which file or caller is wrong.
    pub fn new(
        ca_file: PathBuf,
        crls: Option<CrlSettings>,
        mut callers: Vec<CertificateCaller>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AnchorsError> {
        let anchors = Anchors::read(ca_file, crls, metrics)?;
        for caller in &mut callers {
            let accounts = std::mem::take(&mut caller.accounts);
            caller.accounts = role_accounts(caller.role, accounts).map_err(|error| {
                AnchorsError::RoleAccounts {
                    name: caller.name.clone(),
                    error,
                }
            })?;
        }
        Ok(Self {
            anchors: RwLock::new(Arc::new(anchors)),
            callers,
            cache: ProofCache::new(),
        })
    }

    /// The trust anchors and their names, for the TLS handshake.
    pub fn for_handshakes(&self) -> Result<HandshakeAnchors, ErrorStack> {
        self.anchors().for_handshakes()
    }

    /// Whether the file of the CAs is another one than those in force were read from.
    #[must_use]
    pub fn has_other_file(&self) -> bool {
        self.anchors().has_other_file()
    }

    /// Reads the CAs again. They are in force once they are passed to [`Self::replace`].
    ///
    /// # Errors
    /// [`AnchorsError`] says which file is wrong.
    pub fn read_again(&self, now: Time) -> Result<NewAnchors, AnchorsError> {
        Ok(NewAnchors(Arc::new(self.anchors().read_again(now)?)))
    }

    /// Puts CAs into force. Certificates that were verified before are verified again.
    pub fn replace(&self, new: NewAnchors) {
        *self.anchors.write() = new.0;
    }

    fn anchors(&self) -> Arc<Anchors> {
        Arc::clone(&self.anchors.read())
    }

    /// Authenticates the caller that the certificate is mapped to.
    pub(super) fn authenticate(
        &self,
        presented: &PresentedCertificate,
        now: Time,
    ) -> Result<Identity, Rejection> {
        let anchors = self.anchors();
        let generation = anchors.generation(now);
        let is_valid = |cached: &CachedCertificate| cached.is_valid(now, generation);
        let verified = match self.cache.get(&presented.leaf, is_valid) {
            Some(cached) => cached,
            None => self.check(presented, (&anchors, generation), now)?,
        };
        let identity = verified.identity?;
        Ok((*identity).clone())
    }

    fn check(
        &self,
        presented: &PresentedCertificate,
        (anchors, generation): (&Anchors, u64),
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
        let valid = anchors.path(&leaf, &chain, now)?;
        // A certificate without the extension is valid for any purpose. Require CAs to be explicit.
        let usage = leaf.extended_key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::SSL_CLIENT)) {
            return Err(CertificateFault::Usage.into());
        }
        let verified = CachedCertificate {
            identity: self.identity(&leaf, &certificate, valid.1),
            checked: now,
            valid,
            generation,
        };
        self.cache.keep(&presented.leaf, verified.clone());
        Ok(verified)
    }

    /// The one caller that the certificate matches.
    fn identity(
        &self,
        leaf: &X509Ref,
        certificate: &Certificate,
        ends: Time,
    ) -> Result<Arc<Identity>, Rejection> {
        let digest = sha256(certificate.as_der());
        let subject = certificate.subject();
        let names = leaf.subject_alt_names();
        let alternative =
            |matches: &dyn Fn(&GeneralNameRef) -> bool| names.iter().flatten().any(matches);
        let mut matching = self.callers.iter().filter(|caller| match &caller.by {
            Match::Subject(expected) => *expected == subject,
            Match::Dns(expected) => alternative(&|name| {
                name.dnsname()
                    .is_some_and(|own| own.eq_ignore_ascii_case(expected))
            }),
            Match::Uri(expected) => alternative(&|name| name.uri() == Some(expected)),
            Match::Sha256(expected) => *expected == digest,
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
