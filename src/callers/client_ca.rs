//! The CAs that client certificates are verified with, and their CRLs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::stack::{Stack, StackRef};
use openssl::x509::store::{X509Store, X509StoreBuilder, X509StoreRef};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{
    X509, X509Name, X509PurposeId, X509Ref, X509StoreContext, X509StoreContextRef,
};
use parking_lot::Mutex;
use thiserror::Error;

use super::crl::CrlError;
use super::crl_source::{CrlSettings, CrlSource};
use super::rejection::CertificateFault;
use super::role_accounts::RoleAccountsError;
use crate::domain::Time;
use crate::domain::clock::from_unix;
use crate::domain::signing::certificate::{Certificate, CertificateError};
use crate::regular_file::{self, FileStamp};
use crate::telemetry::Metrics;

/// Intermediate certificates between a client's and an anchor.
pub(super) const MAX_CHAIN: u8 = 8;
/// OpenSSL's level for 112 bits: RSA keys of at least 2048 bits, no SHA-1.
const SECURITY_LEVEL: i32 = 2;

/// Why client certificates cannot be configured like this.
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
    #[error("`{path}`: `{subject}` is not a CA certificate; list CA certificates only")]
    NotACa { path: PathBuf, subject: String },
    #[error("`{path}` is not a file of CRLs in PEM: {error}")]
    Crl { path: PathBuf, error: CrlError },
    #[error("`client_certificates.callers.{name}`: {error}")]
    RoleAccounts {
        name: String,
        error: RoleAccountsError,
    },
    #[error("OpenSSL cannot use the certificates: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The CAs. Each is a trust anchor, whether or not its root is listed, too.
#[derive(Debug)]
pub(super) struct Anchors {
    ca_file: PathBuf,
    /// Of the file, from before it was read.
    stamp: Option<FileStamp>,
    certificates: Vec<X509>,
    crls: Option<CrlSource>,
    /// What the generations of the CRLs are added to.
    first_generation: u64,
    store: Mutex<TimedStore>,
}

/// The OpenSSL store for paths. It contains the time, so it is rebuilt for each second in which a
/// certificate is verified.
#[derive(Default)]
struct TimedStore(Option<(Time, Arc<X509Store>)>);

impl std::fmt::Debug for TimedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TimedStore(..)")
    }
}

impl Anchors {
    /// Reads the CAs of a PEM file, and the configured CRLs.
    pub(super) fn read(
        ca_file: PathBuf,
        crls: Option<CrlSettings>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AnchorsError> {
        let stamp = FileStamp::of(&ca_file);
        let certificates = read_cas(&ca_file)?;
        let read = |settings| CrlSource::read(settings, certificates.clone(), Arc::clone(metrics));
        let anchors = Self {
            crls: crls.map(read).transpose()?,
            ca_file,
            stamp,
            certificates,
            first_generation: 0,
            store: Mutex::default(),
        };
        anchors.build(from_unix(0))?;
        Ok(anchors)
    }

    /// Reads the CAs again. What a faulty file would replace stays as it is.
    pub(super) fn read_again(&self, now: Time) -> Result<Self, AnchorsError> {
        let stamp = FileStamp::of(&self.ca_file);
        let certificates = read_cas(&self.ca_file)?;
        let crls = self.crls.as_ref();
        let crls = crls.map(|crls| crls.for_cas(certificates.clone(), now));
        let anchors = Self {
            crls: crls.transpose()?,
            ca_file: self.ca_file.clone(),
            stamp,
            certificates,
            first_generation: self.generation(now) + 1,
            store: Mutex::default(),
        };
        anchors.build(from_unix(0))?;
        Ok(anchors)
    }

    /// Whether the file of the CAs is another one than these were read from.
    pub(super) fn has_other_file(&self) -> bool {
        self.stamp != FileStamp::of(&self.ca_file)
    }

    /// The anchors and their names, for the TLS handshake, which uses its own clock and no CRL.
    pub(super) fn for_handshakes(&self) -> Result<(X509Store, Stack<X509Name>), ErrorStack> {
        let (mut store, mut names) = (X509StoreBuilder::new()?, Stack::new()?);
        for anchor in &self.certificates {
            names.push(anchor.subject_name().to_owned()?)?;
            store.add_cert(anchor.clone())?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        Ok((store.build(), names))
    }

    /// A number that changes whenever the CAs or the CRLs do.
    pub(super) fn generation(&self, now: Time) -> u64 {
        let crls = self.crls.as_ref().map_or(0, |crls| crls.current(now).1);
        self.first_generation + crls
    }

    /// Finds a path from the certificate to an anchor that is valid now, for TLS clients (RFC 5280
    /// §6). Returns the period in which all of it is valid. RFC 5280 §4.1.2.5 includes the last
    /// second of a certificate, but OpenSSL does not; so it is excluded here, too. A CRL ends the
    /// period, too.
    pub(super) fn path(
        &self,
        leaf: &X509Ref,
        chain: &StackRef<X509>,
        now: Time,
    ) -> Result<(Time, Time), CertificateFault> {
        let store = self.store(now).map_err(|error| {
            log::warn!("client certificates cannot be verified: {error}");
            CertificateFault::Path("OpenSSL cannot be set up")
        })?;
        let path = verify(&store, leaf, chain)?;
        let (from, until) = path.valid;
        let Some(crls) = &self.crls else {
            return Ok((from, until));
        };
        let (set, _) = crls.current(now);
        let issuer = path.issuer.ok_or(CertificateFault::Unreadable)?;
        let counts = crls.validity(&set, &issuer, now)?;
        verify(set.store(), leaf, chain)?;
        Ok((from.max(counts.0), until.min(counts.1)))
    }

    fn store(&self, now: Time) -> Result<Arc<X509Store>, AnchorsError> {
        let mut timed = self.store.lock();
        match &timed.0 {
            Some((at, store)) if *at == now => Ok(Arc::clone(store)),
            Some(_) | None => {
                let store = Arc::new(self.build(now)?);
                timed.0 = Some((now, Arc::clone(&store)));
                Ok(store)
            }
        }
    }

    fn build(&self, at: Time) -> Result<X509Store, AnchorsError> {
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.certificates {
            store.add_cert(anchor.clone())?;
        }
        let mut rules = X509VerifyParam::new()?;
        rules.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        rules.set_time(at.timestamp());
        rules.set_purpose(X509PurposeId::SSL_CLIENT)?;
        rules.set_auth_level(SECURITY_LEVEL);
        rules.set_depth(MAX_CHAIN.into());
        store.set_param(&rules)?;
        Ok(store.build())
    }
}

/// The CAs of a PEM file.
fn read_cas(ca_file: &Path) -> Result<Vec<X509>, AnchorsError> {
    let path = || ca_file.to_owned();
    let pem = regular_file::read_text(ca_file).map_err(|error| AnchorsError::Read {
        path: path(),
        error,
    })?;
    let chain = Certificate::chain_from_pem(&pem).map_err(|error| AnchorsError::Certificate {
        path: path(),
        error,
    })?;
    if let Some(other) = chain.iter().find(|one| !one.is_ca()) {
        return Err(AnchorsError::NotACa {
            path: path(),
            subject: other.subject(),
        });
    }
    let certificates = chain.iter().map(|one| X509::from_der(one.as_der()));
    Ok(certificates.collect::<Result<_, _>>()?)
}

/// A verified path.
struct VerifiedPath {
    valid: (Time, Time),
    issuer: Option<X509>,
}

/// Verifies a certificate by the rules of a store.
fn verify(
    store: &X509StoreRef,
    leaf: &X509Ref,
    chain: &StackRef<X509>,
) -> Result<VerifiedPath, CertificateFault> {
    let verify = |context: &mut X509StoreContextRef| {
        if !context.verify_cert()? {
            let why = context.error().error_string();
            return Ok(Err(CertificateFault::Path(why)));
        }
        let issuer = context.chain().and_then(|path| path.get(1));
        let issuer = issuer.map(ToOwned::to_owned);
        Ok(validity(context)?.map(|valid| VerifiedPath { valid, issuer }))
    };
    let verified = X509StoreContext::new().and_then(|mut c| c.init(store, leaf, chain, verify));
    verified.unwrap_or(Err(CertificateFault::Unreadable))
}

fn validity(
    context: &X509StoreContextRef,
) -> Result<Result<(Time, Time), CertificateFault>, ErrorStack> {
    let mut valid = (Time::MIN_UTC, Time::MAX_UTC);
    for one in context.chain().into_iter().flatten() {
        let Ok(one) = Certificate::from_der(&one.to_der()?) else {
            return Ok(Err(CertificateFault::Unreadable));
        };
        valid = (valid.0.max(one.not_before()), valid.1.min(one.not_after()));
    }
    Ok(Ok(valid))
}
