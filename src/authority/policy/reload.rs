//! Polls the folder of policies, and puts a changed set into force as a whole or not at all.

use std::path::PathBuf;

use super::PolicyError;
use super::PolicySet;
use super::engine::files::Folder;
use crate::authority::Authority;
use crate::domain::Caller;
use crate::store::StoreError;

/// The state that is kept between polls.
#[derive(Debug)]
pub struct PolicyWatch {
    dir: PathBuf,
    /// The content that was last validated, valid or not.
    validated: Option<[u8; 32]>,
    /// Changed content that the previous poll found. It is validated when two polls in a row find
    /// the same, so that a set is not loaded while someone is still editing its files.
    pending: Option<[u8; 32]>,
    /// Why the folder is not in force, while it is not.
    fault: Option<String>,
    /// Why the content in `validated` is invalid.
    invalid: Option<String>,
}

impl PolicyWatch {
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            validated: None,
            pending: None,
            fault: None,
            invalid: None,
        }
    }

    /// Why the policies of the folder are not in force, while they are not.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Polls once. An invalid set is only reported: once in the log, and by a metric as long as it
    /// lasts.
    pub async fn poll(&mut self, authority: &Authority, caller: &Caller) {
        let fault = match Folder::read(&self.dir) {
            Ok(folder) => self.check(&folder, authority, caller).await,
            Err(error) => {
                self.pending = None;
                Some(error.to_string())
            }
        };
        if let Some(fault) = fault.as_ref().filter(|_| fault != self.fault) {
            log::error!("the previous policies stay in force: {fault}");
        } else if fault.is_none() && self.fault.is_some() {
            log::info!("the policies of the folder are in force");
        }
        self.fault = fault;
        let failed = i64::from(self.fault.is_some());
        authority.metrics.policies.reload_failed.set(failed);
    }

    /// Validates the folder if it has changed. Returns why it is not in force; `None` if it is, or
    /// may be after the next poll.
    async fn check(
        &mut self,
        folder: &Folder,
        authority: &Authority,
        caller: &Caller,
    ) -> Option<String> {
        let content = Some(folder.content());
        if content == self.validated {
            self.pending = None;
            return self.invalid.clone();
        }
        if content != self.pending {
            self.pending = content;
            return self.fault.clone();
        }
        let fault = match PolicySet::tested(folder) {
            Ok(policy) => {
                if let Err(error) = self.put_into_force(authority, caller, policy).await {
                    // The files are valid, so leave `validated` alone: the next poll tries again.
                    return Some(format!("cannot write the audit trail: {error}"));
                }
                None
            }
            // Not the fault of the files, so the next poll tries the same ones again.
            Err(error @ PolicyError::Loader(_)) => return Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        (self.validated, self.pending) = (content, None);
        self.invalid.clone_from(&fault);
        fault
    }

    async fn put_into_force(
        &self,
        authority: &Authority,
        caller: &Caller,
        policy: PolicySet,
    ) -> Result<(), StoreError> {
        if policy.set() == authority.policy.in_force().set() {
            return Ok(());
        }
        for warning in policy.warnings() {
            log::warn!("policies: {warning}");
        }
        authority.change_policies(caller, policy).await
    }
}
