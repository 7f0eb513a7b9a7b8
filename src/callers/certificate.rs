//! Client certificates: whom one names. It comes from the TLS handshake, or from a proxy that ended TLS; either way it is
//! checked here again, since a connection can outlive its certificate, and a proxy is believed what it saw and no more.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use chrono::TimeDelta;
use openssl::error::ErrorStack;
use openssl::ssl::{SslFiletype, SslRef};
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{
    X509, X509ExtendedKeyUsage, X509Name, X509PurposeId, X509Ref, X509StoreContext,
    X509StoreContextRef,
};
use thiserror::Error;

use super::Proven;
use super::refusal::{CertificateFault, Refusal};
use super::remembered::Remembered;
use super::standing::{StandingError, standing};
use crate::domain::clock::from_unix;
use crate::domain::certificate::{Certificate, CertificateError};
use crate::domain::hex::hex;
use crate::domain::{AccountId, Proof, Role, Time};

/// Certificates between a client's and an anchor.
const MAX_CHAIN: u8 = 8;
/// Bytes of one certificate.
const LONGEST: usize = 65_536;
/// Seconds after which a certificate is checked again from the start, so that an expired CRL is noticed.
const CHECKED_AGAIN: i64 = 60;
/// 112 bits: RSA from 2048 bits on, no SHA-1.
const SECURITY_LEVEL: i32 = 2;

/// Why client certificates cannot be taken.
#[derive(Debug, Error)]
pub enum AnchorsError {
    #[error("`{path}` cannot be read: {error}")]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("`{path}`: {error}")]
    Certificate {
        path: PathBuf,
        error: CertificateError,
    },
    #[error("`{path}`: `{subject}` is no certificate of a CA, and only those vouch for others")]
    NotACa { path: PathBuf, subject: String },
    #[error("`{path}` holds no CRL in PEM: {error}")]
    Crl { path: PathBuf, error: ErrorStack },
    #[error("`client_certificates.callers.{name}`: {error}")]
    Standing { name: String, error: StandingError },
    #[error("OpenSSL cannot use the certificates: {0}")]
    OpenSsl(#[from] ErrorStack),
}

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
        let chain = chain.take(MAX_CHAIN.into()).filter_map(|one| one.to_der().ok());
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
    anchors: Vec<X509>,
    crl: Option<PathBuf>,
    callers: Vec<CertificateCaller>,
    rules: Mutex<Rules>,
    remembered: Remembered<Kept>,
}

/// What certificates are checked by, which is made anew for each second in which one has to be checked.
#[derive(Default)]
struct Rules {
    store: Option<(Time, Arc<X509Store>)>,
    /// Of the CRL's file.
    stamp: Option<(SystemTime, u64)>,
    /// Another one for each CRL.
    generation: u64,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Whom a certificate that was checked names, if anybody.
#[derive(Debug, Clone)]
struct Kept {
    named: Result<Arc<Proven>, Refusal>,
    checked: Time,
    /// The first and the last second at which it and all that vouch for it are valid.
    valid: (Time, Time),
    generation: u64,
}

impl Kept {
    fn holds(&self, now: Time, generation: u64) -> bool {
        let (from, until) = self.valid;
        let fresh = TimeDelta::zero()..TimeDelta::seconds(CHECKED_AGAIN);
        self.generation == generation
            && (from..=until).contains(&now)
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
        let read = |error| AnchorsError::Read {
            path: ca_file.clone(),
            error,
        };
        let pem = fs::read_to_string(&ca_file).map_err(read)?;
        let chain = Certificate::chain_from_pem(&pem);
        let chain = chain.map_err(|error| AnchorsError::Certificate {
            path: ca_file.clone(),
            error,
        })?;
        if let Some(other) = chain.iter().find(|one| !one.is_ca()) {
            return Err(AnchorsError::NotACa {
                path: ca_file,
                subject: other.subject(),
            });
        }
        let anchors = chain.iter().map(|one| X509::from_der(one.as_der()));
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?;
        for caller in &mut callers {
            let accounts = std::mem::take(&mut caller.accounts);
            caller.accounts =
                standing(caller.role, accounts).map_err(|error| AnchorsError::Standing {
                    name: caller.name.clone(),
                    error,
                })?;
        }
        let certificates = Self {
            anchors,
            crl,
            callers,
            rules: Mutex::default(),
            remembered: Remembered::new(),
        };
        certificates.build(from_unix(0))?;
        Ok(certificates)
    }

    /// For the TLS handshake: who vouches for clients.
    ///
    /// # Errors
    /// [`ErrorStack`] if OpenSSL fails.
    pub fn for_handshakes(&self) -> Result<(X509Store, Stack<X509Name>), ErrorStack> {
        let mut names = Stack::new()?;
        for anchor in &self.anchors {
            names.push(anchor.subject_name().to_owned()?)?;
        }
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.anchors {
            store.add_cert(anchor.clone())?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        Ok((store.build(), names))
    }

    /// Whom a certificate names, now.
    pub(super) fn prove(&self, presented: &PresentedCertificate, now: Time) -> Result<Proven, Refusal> {
        let generation = self.generation();
        let holds = |kept: &Kept| kept.holds(now, generation);
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
    ) -> Result<Kept, Refusal> {
        if presented.leaf.len() > LONGEST {
            return Err(CertificateFault::Unreadable.into());
        }
        let unreadable = |_: ErrorStack| Refusal::from(CertificateFault::Unreadable);
        let leaf = X509::from_der(&presented.leaf).map_err(unreadable)?;
        let certificate =
            Certificate::from_der(&presented.leaf).map_err(|_| CertificateFault::Unreadable)?;
        let mut chain = Stack::new().map_err(unreadable)?;
        for der in &presented.chain {
            let one = X509::from_der(der).map_err(unreadable)?;
            chain.push(one).map_err(unreadable)?;
        }
        let store = self.store(now).map_err(|error| {
            log::warn!("client certificates cannot be checked: {error}");
            CertificateFault::Path("the CRL cannot be read")
        })?;
        let path = path(&store, &leaf, &chain).map_err(unreadable)?;
        let valid = path.map_err(CertificateFault::Path)?;
        // Without the extension a certificate may be for anything; whoever issues it for clients says so.
        let usage = leaf.extended_key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::SSL_CLIENT)) {
            return Err(CertificateFault::Usage.into());
        }
        let kept = Kept {
            named: self.named(&leaf, &certificate, valid.1),
            checked: now,
            valid,
            generation,
        };
        self.remembered.keep(&presented.leaf, kept.clone(), |kept| {
            kept.holds(now, generation)
        });
        Ok(kept)
    }

    fn named(
        &self,
        leaf: &X509Ref,
        certificate: &Certificate,
        last: Time,
    ) -> Result<Arc<Proven>, Refusal> {
        let digest = openssl::sha::sha256(certificate.as_der());
        let subject = certificate.subject();
        let names = leaf.subject_alt_names();
        let alternative = |is_it: &dyn Fn(&openssl::x509::GeneralNameRef) -> bool| {
            names.iter().flatten().any(is_it)
        };
        let mut matching = self.callers.iter().filter(|caller| match &caller.by {
            Match::Subject(wanted) => *wanted == subject,
            Match::Dns(wanted) => alternative(&|name| {
                name.dnsname().is_some_and(|own| own.eq_ignore_ascii_case(wanted))
            }),
            Match::Uri(wanted) => alternative(&|name| name.uri() == Some(wanted)),
            Match::Sha256(wanted) => *wanted == digest,
        });
        match (matching.next(), matching.next()) {
            (None, _) => Err(Refusal::Unmapped(hex(&digest))),
            (Some(_), Some(_)) => Err(CertificateFault::Ambiguous.into()),
            (Some(caller), None) => Ok(Arc::new(Proven {
                id: format!("certificate:{}", caller.name),
                proof: Proof::Certificate,
                role: caller.role,
                accounts: caller.accounts.clone(),
                // RFC 5280 §4.1.2.5: the last second is one of validity.
                expires: last.checked_add_signed(TimeDelta::seconds(1)),
            })),
        }
    }

    /// Another number whenever the file of the CRL is another one.
    fn generation(&self) -> u64 {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(self.crl.as_ref());
        if rules.stamp != stamp {
            rules.stamp = stamp;
            rules.store = None;
            rules.generation += 1;
        }
        rules.generation
    }

    fn store(&self, now: Time) -> Result<Arc<X509Store>, AnchorsError> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        match &rules.store {
            Some((at, store)) if *at == now => Ok(Arc::clone(store)),
            _ => {
                let store = Arc::new(self.build(now)?);
                rules.store = Some((now, Arc::clone(&store)));
                Ok(store)
            }
        }
    }

    /// RFC 5280 §6 for TLS clients, at this time. Every certificate of the CA file is an anchor, with or without its root.
    fn build(&self, at: Time) -> Result<X509Store, AnchorsError> {
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.anchors {
            store.add_cert(anchor.clone())?;
        }
        let mut flags = X509VerifyFlags::PARTIAL_CHAIN;
        if let Some(path) = &self.crl {
            let read = |error| AnchorsError::Read {
                path: path.clone(),
                error,
            };
            fs::metadata(path).map_err(read)?;
            let loaded = store
                .add_lookup(X509Lookup::file())?
                .load_crl_file(path, SslFiletype::PEM);
            loaded.map_err(|error| AnchorsError::Crl {
                path: path.clone(),
                error,
            })?;
            flags |= X509VerifyFlags::CRL_CHECK;
        }
        let mut rules = X509VerifyParam::new()?;
        rules.set_flags(flags)?;
        rules.set_time(at.timestamp());
        rules.set_purpose(X509PurposeId::SSL_CLIENT)?;
        rules.set_auth_level(SECURITY_LEVEL);
        rules.set_depth(MAX_CHAIN.into());
        store.set_param(&rules)?;
        Ok(store.build())
    }
}

fn stamp(path: Option<&PathBuf>) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// A path from the certificate to an anchor: the first and the last second at which all of it is valid, or why there is
/// none.
fn path(
    store: &X509Store,
    leaf: &X509,
    chain: &Stack<X509>,
) -> Result<Result<(Time, Time), &'static str>, ErrorStack> {
    let verify = |context: &mut X509StoreContextRef| {
        if !context.verify_cert()? {
            return Ok(Err(context.error().error_string()));
        }
        let path = context.chain().into_iter().flatten();
        let mut valid = (Time::MIN_UTC, Time::MAX_UTC);
        for one in path {
            let Ok(one) = Certificate::from_der(&one.to_der()?) else {
                return Ok(Err("a certificate of the path cannot be read"));
            };
            valid = (valid.0.max(one.not_before()), valid.1.min(one.not_after()));
        }
        Ok(Ok(valid))
    };
    X509StoreContext::new()?.init(store, leaf, chain, verify)
}
