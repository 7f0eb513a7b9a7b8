//! TLS of the API's listener.

use std::path::Path;

use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, SslAcceptor, SslAcceptorBuilder, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, select_next_proto,
};
use openssl::x509::verify::X509VerifyFlags;

use super::super::tls_key::read_tls_key;
use super::HttpError;
use crate::callers::ClientCertificates;
use crate::config::Config;
use crate::regular_file;

/// The protocols that are offered (RFC 7301). Not HTTP/2, whose streams would need bounds of their
/// own.
const PROTOCOLS: &[u8] = b"\x08http/1.1";

/// Checks the TLS settings of the API, and describes them.
pub fn check_listener(config: &Config) -> Result<&'static str, HttpError> {
    Ok(match acceptor(config, None)? {
        Some(_) => "1.2 and 1.3, with the configured certificate",
        None if config.server.behind_proxy => "terminated by a proxy",
        None => "none: plain HTTP on loopback",
    })
}

/// TLS 1.2 and 1.3, as in Mozilla's intermediate profile. `None` if no certificate is configured,
/// which is permitted only on loopback and behind a proxy.
///
/// # Errors
/// [`HttpError`] names the file that is wrong.
pub(super) fn acceptor(
    config: &Config,
    clients: Option<&ClientCertificates>,
) -> Result<Option<SslAcceptor>, HttpError> {
    let files = config
        .server
        .tls_certificate
        .as_deref()
        .zip(config.server.tls_key.as_deref());
    let Some((certificate, key)) = files else {
        return Ok(None);
    };
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |error| HttpError::Tls { path, error }
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    regular_file::open(certificate).map_err(|error| HttpError::TlsUnreadable {
        path: certificate.to_owned(),
        error,
    })?;
    builder
        .set_certificate_chain_file(certificate)
        .map_err(wrong(certificate))?;
    let passphrase = config.server.tls_passphrase_file.as_deref();
    builder
        .set_private_key(&*read_tls_key(key, passphrase)?)
        .map_err(wrong(key))?;
    builder.check_private_key().map_err(wrong(key))?;
    if let Some(clients) = clients {
        ask_for_certificates(&mut builder, clients, config.client_certificates.require)?;
    }
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::NOACK)
    });
    // An idle connection needs no buffers for records, which are 16 KiB each.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    Ok(Some(builder.build()))
}

/// Requests a certificate from clients. An untrusted one ends the handshake; without one it
/// continues, unless a certificate is required.
fn ask_for_certificates(
    builder: &mut SslAcceptorBuilder,
    clients: &ClientCertificates,
    require: bool,
) -> Result<(), ErrorStack> {
    let (anchors, names) = clients.for_handshakes()?;
    // As in `for_handshakes`: each configured CA is a trust anchor, even without its root.
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
