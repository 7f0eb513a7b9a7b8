//! Takes over files that operators replace while the service runs: the certificate and key of the
//! API's listener, the CAs of client certificates, and the keys of issuers that come from files.
//! Certificates that sign tokens, policies and CRLs have their own ways.

use std::sync::Arc;

use openssl::error::ErrorStack;
use thiserror::Error;

use super::http::{HttpError, ListenerTls};
use crate::api::Service;
use crate::callers::{AnchorsError, ClientCertificates, NewAnchors};

/// Why files do not replace those in force.
#[derive(Debug, Error)]
enum ReloadError {
    #[error(transparent)]
    Tls(#[from] HttpError),
    #[error("`client_certificates`: {0}")]
    Clients(#[from] AnchorsError),
    #[error("the certificate in `server.tls_certificate` has expired")]
    Expired,
    #[error("the certificate in `server.tls_certificate` is not valid yet")]
    NotYetValid,
}

impl From<ErrorStack> for ReloadError {
    fn from(error: ErrorStack) -> Self {
        Self::Tls(error.into())
    }
}

/// Watches the files.
pub(super) struct FileReload {
    service: Arc<Service>,
    tls: Option<Arc<ListenerTls>>,
    /// What was wrong when the files were last read.
    fault: Option<String>,
}

impl FileReload {
    pub(super) fn new(service: Arc<Service>, tls: Option<Arc<ListenerTls>>) -> Self {
        let reload = Self {
            service,
            tls,
            fault: None,
        };
        reload.show_expiry();
        reload
    }

    /// Reads what has changed, or all if an operator asks. Faulty files change nothing, and are
    /// read again each time.
    pub(super) fn poll(&mut self, is_asked: bool) {
        for issuer in &self.service.callers.trust().issuers {
            issuer.read_file_again(is_asked);
        }
        let has_changed = self
            .clients()
            .is_some_and(ClientCertificates::has_other_file)
            || self.tls.as_ref().is_some_and(|tls| tls.has_other_files());
        let has_any = self.tls.is_some() || self.clients().is_some();
        if !has_any || (!is_asked && !has_changed && self.fault.is_none()) {
            return;
        }
        let fault = self.take_over().err().map(|error| error.to_string());
        let metrics = &self.service.authority.metrics().listener_tls;
        metrics.reload_failed.set(fault.is_some().into());
        match &fault {
            Some(fault) if self.fault.as_ref() != Some(fault) => {
                log::error!(
                    "the TLS certificate and the client CAs in force stay in force: {fault}"
                );
            }
            None => log::info!("took over the TLS certificate and the client CAs from their files"),
            Some(_) => {}
        }
        self.fault = fault;
        self.show_expiry();
    }

    /// Replaces all or nothing, since the listener shows the client CAs.
    fn take_over(&self) -> Result<(), ReloadError> {
        let now = self.service.authority.now();
        let clients = self.clients().map(|clients| clients.read_again(now));
        let clients = clients.transpose()?;
        let anchors = clients.as_ref().map(NewAnchors::for_handshakes);
        if let Some(tls) = &self.tls {
            let new = tls.read_again(anchors.transpose()?)?;
            let counts = |(from, until): (i64, i64)| (from..until).contains(&now.timestamp());
            // If that in force does not count either, the new one is not worse.
            if tls.validity().is_some_and(counts)
                && let Some((from, _)) = new.validity().filter(|new| !counts(*new))
            {
                return Err(if now.timestamp() < from {
                    ReloadError::NotYetValid
                } else {
                    ReloadError::Expired
                });
            }
            tls.replace(new);
        }
        if let Some((in_force, new)) = self.clients().zip(clients) {
            in_force.replace(new);
        }
        Ok(())
    }

    fn clients(&self) -> Option<&ClientCertificates> {
        self.service.callers.trust().certificates.as_ref()
    }

    fn show_expiry(&self) {
        let validity = self.tls.as_ref().and_then(|tls| tls.validity());
        let metrics = &self.service.authority.metrics().listener_tls;
        metrics
            .not_after
            .set(validity.map_or(0, |(_, until)| until));
    }
}
