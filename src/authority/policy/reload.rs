//! Looks at the folder of policies again and again, and puts a changed set into force: all of it or nothing.

use std::path::PathBuf;

use super::PolicySet;
use super::engine::files::Folder;
use crate::authority::Authority;
use crate::domain::Caller;
use crate::store::StoreError;

/// What is remembered from look to look.
#[derive(Debug)]
pub struct PolicyWatch {
    dir: PathBuf,
    /// The files as they were when they were last judged, sound or not.
    judged: Option<[u8; 32]>,
    /// Changed files that the last look saw. Who edits several files must not be judged in the midst of it, so they are
    /// judged when another look sees the same.
    seen: Option<[u8; 32]>,
    /// Why the files cannot be in force, as long as they cannot.
    fault: Option<String>,
    /// The same of files that were judged.
    verdict: Option<String>,
}

impl PolicyWatch {
    /// Watches a folder.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            judged: None,
            seen: None,
            fault: None,
            verdict: None,
        }
    }

    /// Why the folder's policies are not in force, while they are not.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// One look. A faulty set changes nothing but the log, once, and a metric.
    pub async fn look(&mut self, authority: &Authority, caller: &Caller) {
        let fault = match Folder::read(&self.dir) {
            Ok(folder) => self.weigh(&folder, authority, caller).await,
            Err(error) => {
                self.seen = None;
                Some(error.to_string())
            }
        };
        if let Some(fault) = fault.as_ref().filter(|_| fault != self.fault) {
            log::error!("the policies stay as they are: {fault}");
        } else if fault.is_none() && self.fault.is_some() {
            log::info!("the policies of the folder are in force");
        }
        self.fault = fault;
        let failed = i64::from(self.fault.is_some());
        authority.metrics.policies.reload_failed.set(failed);
    }

    /// Why the files cannot be in force; none if they are, or may be soon.
    async fn weigh(
        &mut self,
        folder: &Folder,
        authority: &Authority,
        caller: &Caller,
    ) -> Option<String> {
        let content = Some(folder.content());
        if content == self.judged {
            self.seen = None;
            return self.verdict.clone();
        }
        if content != self.seen {
            self.seen = content;
            return self.fault.clone();
        }
        let fault = match PolicySet::tested(folder) {
            Ok(policy) => {
                if let Err(error) = self.change(authority, caller, policy).await {
                    // The files are as good as they were: the next look tries again.
                    return Some(format!("the audit trail cannot be written: {error}"));
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        (self.judged, self.seen) = (content, None);
        self.verdict.clone_from(&fault);
        fault
    }

    async fn change(
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
