//! TLS of the API's listener. Its files can be replaced while the service runs.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use actix_service::ServiceFactory;
use actix_tls::accept::openssl::{Acceptor, AcceptorService};
use actix_web::rt::net::TcpStream;
use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, SslAcceptor, SslAcceptorBuilder, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, select_next_proto,
};
use openssl::x509::X509;
use openssl::x509::verify::X509VerifyFlags;
use parking_lot::RwLock;

use super::super::tls_key::read_tls_key;
use super::super::tls_warnings::validity;
use super::HttpError;
use crate::callers::HandshakeAnchors;
use crate::config::Config;
use crate::regular_file::{self, FileStamp};

/// The protocols that are offered (RFC 7301). Not HTTP/2, whose streams would need bounds of their
/// own.
const PROTOCOLS: &[u8] = b"\x08http/1.1";

/// Checks the TLS settings of the API, and describes them.
pub fn check_listener(config: &Config) -> Result<&'static str, HttpError> {
    Ok(match TlsFiles::of(config) {
        Some(files) => {
            files.acceptor(None)?;
            "1.2 and 1.3, with the configured certificate"
        }
        None if config.server.behind_proxy => "terminated by a proxy",
        None => "none: plain HTTP on loopback",
    })
}

/// The files of the API's certificate and key.
#[derive(Debug)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    passphrase: Option<PathBuf>,
    /// Whether clients must present a certificate.
    require_client: bool,
}

type Stamps = [Option<FileStamp>; 3];

/// What the listener accepts connections with, until its files are replaced.
pub(in crate::app) struct ListenerTls {
    files: TlsFiles,
    in_force: RwLock<InForce>,
}

struct InForce {
    acceptor: SslAcceptor,
    /// Increases with each replacement.
    generation: u64,
    /// Of the files, from before they were read.
    stamps: Stamps,
}

/// A certificate and key that were read again, and are not in force yet.
pub(in crate::app) struct NewTls {
    acceptor: SslAcceptor,
    stamps: Stamps,
}

impl ListenerTls {
    /// Reads the files. `None` if no certificate is configured, which is permitted only on loopback
    /// and behind a proxy.
    ///
    /// # Errors
    /// [`HttpError`] names the file that is wrong.
    pub(super) fn open(
        config: &Config,
        clients: Option<HandshakeAnchors>,
    ) -> Result<Option<Self>, HttpError> {
        let Some(files) = TlsFiles::of(config) else {
            return Ok(None);
        };
        let stamps = files.stamps();
        let in_force = InForce {
            acceptor: files.acceptor(clients)?,
            generation: 0,
            stamps,
        };
        Ok(Some(Self {
            files,
            in_force: RwLock::new(in_force),
        }))
    }

    /// Whether a file is another one than was read.
    pub(in crate::app) fn has_other_files(&self) -> bool {
        self.in_force.read().stamps != self.files.stamps()
    }

    /// Reads the files again. They are in force once they are passed to [`Self::replace`].
    ///
    /// # Errors
    /// [`HttpError`] names the file that is wrong.
    pub(in crate::app) fn read_again(
        &self,
        clients: Option<HandshakeAnchors>,
    ) -> Result<NewTls, HttpError> {
        let stamps = self.files.stamps();
        let acceptor = self.files.acceptor(clients)?;
        Ok(NewTls { acceptor, stamps })
    }

    /// New connections are accepted with this. Those that are open stay as they are.
    pub(in crate::app) fn replace(&self, new: NewTls) {
        let mut in_force = self.in_force.write();
        *in_force = InForce {
            acceptor: new.acceptor,
            generation: in_force.generation + 1,
            stamps: new.stamps,
        };
    }

    /// The period of the certificate in force, in seconds since 1970.
    pub(in crate::app) fn validity(&self) -> Option<(i64, i64)> {
        validity_of(&self.in_force.read().acceptor)
    }
}

impl NewTls {
    /// The period of the certificate, in seconds since 1970.
    pub(in crate::app) fn validity(&self) -> Option<(i64, i64)> {
        validity_of(&self.acceptor)
    }
}

fn validity_of(acceptor: &SslAcceptor) -> Option<(i64, i64)> {
    validity(acceptor.context().certificate()?).ok()
}

impl TlsFiles {
    fn of(config: &Config) -> Option<Self> {
        let server = &config.server;
        Some(Self {
            certificate: server.tls_certificate.clone()?,
            key: server.tls_key.clone()?,
            passphrase: server.tls_passphrase_file.clone(),
            require_client: config.client_certificates.require,
        })
    }

    fn stamps(&self) -> Stamps {
        let passphrase = self.passphrase.as_deref();
        [
            FileStamp::of(&self.certificate),
            FileStamp::of(&self.key),
            passphrase.and_then(FileStamp::of),
        ]
    }

    /// TLS 1.2 and 1.3, as in Mozilla's intermediate profile.
    fn acceptor(&self, clients: Option<HandshakeAnchors>) -> Result<SslAcceptor, HttpError> {
        let wrong = |error| {
            let path = self.certificate.clone();
            if has_certificate(&path) {
                HttpError::Tls { path, error }
            } else {
                HttpError::TlsNoCertificate(path)
            }
        };
        let other_key = |_| HttpError::TlsOtherKey {
            key: self.key.clone(),
            certificate: self.certificate.clone(),
        };
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        regular_file::open(&self.certificate).map_err(|error| HttpError::TlsUnreadable {
            path: self.certificate.clone(),
            error,
        })?;
        builder
            .set_certificate_chain_file(&self.certificate)
            .map_err(wrong)?;
        builder
            .set_private_key(&*read_tls_key(&self.key, self.passphrase.as_deref())?)
            .map_err(other_key)?;
        builder.check_private_key().map_err(other_key)?;
        if let Some(clients) = clients {
            ask_for_certificates(&mut builder, clients, self.require_client)?;
        }
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::NOACK)
        });
        // An idle connection needs no buffers for records, which are 16 KiB each.
        builder.set_mode(SslMode::RELEASE_BUFFERS);
        Ok(builder.build())
    }
}

fn has_certificate(path: &Path) -> bool {
    let pem = regular_file::read_text(path).unwrap_or_default();
    X509::stack_from_pem(pem.as_bytes()).is_ok_and(|found| !found.is_empty())
}

/// An acceptor, and the generation of what it accepts connections with.
type OfGeneration = (u64, Rc<AcceptorService>);

/// Accepts the connections of one worker.
#[derive(Clone)]
pub(super) struct WorkerAcceptor {
    tls: Arc<ListenerTls>,
    current: Rc<RefCell<Option<OfGeneration>>>,
}

impl WorkerAcceptor {
    pub(super) fn new(tls: Arc<ListenerTls>) -> Self {
        let current = Rc::default();
        Self { tls, current }
    }

    /// For a new connection.
    pub(super) fn current(&self) -> Option<Rc<AcceptorService>> {
        let mut current = self.current.borrow_mut();
        let in_force = self.tls.in_force.read();
        if let Some((generation, acceptor)) = &*current
            && *generation == in_force.generation
        {
            return Some(Rc::clone(acceptor));
        }
        let acceptor = Acceptor::new(in_force.acceptor.clone());
        let acceptor = ServiceFactory::<TcpStream>::new_service(&acceptor, ());
        let acceptor = Rc::new(acceptor.into_inner().ok()?);
        *current = Some((in_force.generation, Rc::clone(&acceptor)));
        Some(acceptor)
    }
}

/// Requests a certificate from clients. An untrusted one ends the handshake; without one it
/// continues, unless a certificate is required.
fn ask_for_certificates(
    builder: &mut SslAcceptorBuilder,
    (anchors, names): HandshakeAnchors,
    require: bool,
) -> Result<(), ErrorStack> {
    // Each configured CA is a trust anchor, even without its root.
    builder.set_verify_cert_store(anchors)?;
    builder
        .verify_param_mut()
        .set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    builder.set_client_ca_list(names);
    let mut mode = SslVerifyMode::PEER;
    if require {
        mode |= SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    }
    builder.set_verify(mode);
    // A resumed session would carry a client certificate that this handshake has not verified, and
    // without its chain. So resumption is off: no cache, no tickets.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_num_tickets(0)?;
    builder.set_session_id_context(b"tn-authority")
}
