//! Who vouches for client certificates: CAs, and the CRLs in which they take it back.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::stack::{Stack, StackRef};
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{
    X509, X509Name, X509PurposeId, X509Ref, X509StoreContext, X509StoreContextRef,
};
use thiserror::Error;

use super::rejection::CertificateFault;
use super::role_accounts::StandingError;
use crate::domain::Time;
use crate::domain::clock::from_unix;
use crate::domain::signing::certificate::{Certificate, CertificateError};

/// Certificates between a client's and an anchor.
pub(super) const MAX_CHAIN: u8 = 8;
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

/// The CAs, each of them an anchor, with or without its root.
#[derive(Debug)]
pub(super) struct Anchors {
    certificates: Vec<X509>,
    crl: Option<PathBuf>,
    rules: Mutex<Rules>,
}

/// What certificates are checked by, made anew for each second in which one has to be checked.
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

impl Anchors {
    /// Reads the CAs of a PEM file, and looks whether there is a CRL where one shall be.
    pub(super) fn read(ca_file: PathBuf, crl: Option<PathBuf>) -> Result<Self, AnchorsError> {
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
        let certificates = chain.iter().map(|one| X509::from_der(one.as_der()));
        let anchors = Self {
            certificates: certificates.collect::<Result<_, _>>()?,
            crl,
            rules: Mutex::default(),
        };
        anchors.build(from_unix(0))?;
        Ok(anchors)
    }

    /// For the TLS handshake, which has a clock of its own: the anchors, and their names.
    pub(super) fn for_handshakes(&self) -> Result<(X509Store, Stack<X509Name>), ErrorStack> {
        let (mut store, mut names) = (X509StoreBuilder::new()?, Stack::new()?);
        for anchor in &self.certificates {
            names.push(anchor.subject_name().to_owned()?)?;
            store.add_cert(anchor.clone())?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        Ok((store.build(), names))
    }

    /// Another number whenever the file of the CRL is another one.
    pub(super) fn generation(&self) -> u64 {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(self.crl.as_ref());
        if rules.stamp != stamp {
            rules.stamp = stamp;
            rules.store = None;
            rules.generation += 1;
        }
        rules.generation
    }

    /// A path from the certificate to an anchor (RFC 5280 §6), for TLS clients and now: from when until when
    /// all of it is valid. The last second of a certificate is one of validity in RFC 5280 §4.1.2.5, but not to OpenSSL, and
    /// the stricter reading counts.
    pub(super) fn path(
        &self,
        leaf: &X509Ref,
        chain: &StackRef<X509>,
        now: Time,
    ) -> Result<(Time, Time), CertificateFault> {
        let store = self.store(now).map_err(|error| {
            log::warn!("client certificates cannot be checked: {error}");
            CertificateFault::Path("the CRL cannot be read")
        })?;
        let verify = |context: &mut X509StoreContextRef| {
            if !context.verify_cert()? {
                let why = context.error().error_string();
                return Ok(Err(CertificateFault::Path(why)));
            }
            validity(context)
        };
        let verified =
            X509StoreContext::new().and_then(|mut c| c.init(&store, leaf, chain, verify));
        verified.unwrap_or(Err(CertificateFault::Unreadable))
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

    fn build(&self, at: Time) -> Result<X509Store, AnchorsError> {
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.certificates {
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
