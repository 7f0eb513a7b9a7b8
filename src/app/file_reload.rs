//! Takes over files that operators replace while the service runs: the certificate and key of the
//! API's listener, the CAs of client certificates, of webhooks and of issuers' endpoints, and the
//! keys of issuers that come from files.
//! Certificates that sign tokens, policies and CRLs have their own ways.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use openssl::error::ErrorStack;
use thiserror::Error;

use super::http::{HttpError, ListenerTls};
use crate::api::Service;
use crate::callers::{AnchorsError, ClientCertificates, NewAnchors};

/// What the log calls the files of the API's listener.
const LISTENER: &str = "the TLS certificate and the client CAs";

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
    /// What was wrong when files were last read, by what is in them.
    faults: BTreeMap<String, String>,
}

impl FileReload {
    pub(super) fn new(service: Arc<Service>, tls: Option<Arc<ListenerTls>>) -> Self {
        let reload = Self {
            service,
            tls,
            faults: BTreeMap::new(),
        };
        reload.show_expiry();
        reload
    }

    /// Reads what has changed, or all if an operator asks. Faulty files change nothing, and are
    /// read again each time.
    pub(super) fn poll(&mut self, is_asked: bool) {
        let service = Arc::clone(&self.service);
        for issuer in &service.callers.trust().issuers {
            issuer.read_file_again(is_asked);
            if let Some(file) = issuer.ca_file() {
                let what = format!("the CAs of the issuer `{}`", issuer.name());
                let is_due = is_asked || file.has_changed();
                self.read_again(&what, is_due, |_| issuer.read_ca_file_again());
            }
        }
        let webhooks = &service.webhooks;
        if let Some(file) = webhooks.ca_file() {
            let is_due = is_asked || file.has_changed();
            self.read_again("the CAs of webhooks", is_due, |_| {
                webhooks.read_ca_file_again()
            });
        }
        let has_changed = self
            .clients()
            .is_some_and(ClientCertificates::has_other_file)
            || self.tls.as_ref().is_some_and(|tls| tls.has_other_files());
        if self.tls.is_some() || self.clients().is_some() {
            let is_due = is_asked || has_changed;
            self.read_again(LISTENER, is_due, Self::take_over);
        }
        let metrics = &service.authority.metrics().listener_tls;
        metrics.reload_failed.set((!self.faults.is_empty()).into());
        self.show_expiry();
    }

    /// Reads some files again if that is due, or they were faulty, and logs what comes of it.
    fn read_again<E: Display>(
        &mut self,
        what: &str,
        is_due: bool,
        read: impl FnOnce(&Self) -> Result<(), E>,
    ) {
        if !is_due && !self.faults.contains_key(what) {
            return;
        }
        match read(self) {
            Ok(()) => {
                log::info!("took over {what}");
                self.faults.remove(what);
            }
            Err(fault) => {
                let fault = fault.to_string();
                if self.faults.get(what) != Some(&fault) {
                    log::error!("{what} in force stay in force: {fault}");
                }
                self.faults.insert(what.to_owned(), fault);
            }
        }
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
