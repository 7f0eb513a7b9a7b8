//! The CRLs in force. They come from a file, which operators replace while the service runs.
//!
//! A faulty replacement never ends what was good. A list is replaced by a newer one of the same CA
//! that is valid, and by nothing else; until then it counts as long as it says. Whatever the file
//! lacks is reported, and read again after [`RETRY_SECONDS`] or when the file changes.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use openssl::ssl::SslFiletype;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Ref};
use parking_lot::Mutex;
use tempfile::NamedTempFile;

use super::client_ca::AnchorsError;
use super::crl::{Crl, CrlError};
use super::rejection::CertificateFault;
use crate::domain::Time;
use crate::domain::clock::rfc3339;
use crate::regular_file::{self, FileStamp};
use crate::telemetry::Metrics;

/// Bytes of the file. The largest public CRLs have a few megabytes.
const MAX_BYTES: u64 = 67_108_864;
/// Seconds after which a faulty file is read again, even if it is unchanged.
const RETRY_SECONDS: i64 = 10;

/// Where the CRLs are, and how long they count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlSettings {
    pub file: PathBuf,
    /// Seconds for which a CRL still counts after its `nextUpdate`.
    pub grace: u32,
}

/// The CRLs of the client CAs.
pub(super) struct CrlSource {
    settings: CrlSettings,
    cas: Vec<X509>,
    metrics: Arc<Metrics>,
    state: Mutex<CrlState>,
}

struct CrlState {
    in_force: Arc<CrlSet>,
    /// Increases whenever the CRLs do change.
    generation: u64,
    stamp: Option<FileStamp>,
    attempted: Option<Time>,
    /// What is wrong with the file, while something is.
    fault: Option<String>,
}

/// Lists that are in force together.
pub(super) struct CrlSet {
    lists: Vec<Arc<Crl>>,
    /// Checks revocation alone, at any time: the times of the lists are checked here.
    store: X509Store,
}

impl CrlSource {
    /// Reads the file for the first time, or for other CAs than before.
    pub(super) fn read(
        settings: CrlSettings,
        cas: Vec<X509>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AnchorsError> {
        let stamp = FileStamp::of(&settings.file);
        let wrong = |error| AnchorsError::Crl {
            path: settings.file.clone(),
            error,
        };
        let (lists, forged) = Self::read_file(&settings, &cas)?;
        if let Some(error) = forged.into_iter().next() {
            return Err(wrong(error));
        }
        let in_force = CrlSet::new(lists, &cas).map_err(wrong)?;
        metrics.client_crl_loaded("new");
        metrics.client_crl_next_update(in_force.next_update());
        Ok(Self {
            state: Mutex::new(CrlState {
                in_force: Arc::new(in_force),
                generation: 0,
                stamp,
                attempted: None,
                fault: None,
            }),
            settings,
            cas,
            metrics,
        })
    }

    /// The same lists for other CAs. Those in force stay in force, unless the file has newer ones,
    /// or none of the CAs has signed them.
    pub(super) fn for_cas(&self, cas: Vec<X509>, now: Time) -> Result<Self, AnchorsError> {
        let new = Self::read(self.settings.clone(), cas, Arc::clone(&self.metrics))?;
        let old = self.state.lock().in_force.lists.clone();
        let old = old.into_iter();
        let old: Vec<_> = old
            .filter(|list| list.check_signature(&new.cas).is_ok())
            .collect();
        let mut state = new.state.lock();
        let found = state.in_force.lists.clone();
        let (lists, faults) = merge(&old, found, now, self.grace());
        let in_force = CrlSet::new(lists, &new.cas).map_err(|error| AnchorsError::Crl {
            path: self.settings.file.clone(),
            error,
        })?;
        state.in_force = Arc::new(in_force);
        // A fault is reported when the file is read again.
        state.stamp = state.stamp.filter(|_| faults.is_empty());
        drop(state);
        Ok(new)
    }

    /// The newest list of each scope, and why others cannot be used.
    fn read_file(
        settings: &CrlSettings,
        cas: &[X509],
    ) -> Result<(Vec<Arc<Crl>>, Vec<CrlError>), AnchorsError> {
        let path = &settings.file;
        let text = regular_file::read(path, MAX_BYTES).map_err(|error| AnchorsError::Read {
            path: path.clone(),
            error,
        })?;
        let lists = Crl::all_from_pem(&text).map_err(|error| AnchorsError::Crl {
            path: path.clone(),
            error,
        })?;
        let (mut newest, mut forged) = (Vec::<Arc<Crl>>::new(), Vec::new());
        for list in lists {
            if let Err(error) = list.check_signature(cas) {
                forged.push(error);
                continue;
            }
            match newest.iter_mut().find(|other| other.has_scope_of(&list)) {
                Some(other) if other.this_update < list.this_update => *other = Arc::new(list),
                Some(_) => {}
                None => newest.push(Arc::new(list)),
            }
        }
        Ok((newest, forged))
    }

    /// The CRLs in force, and a number that changes whenever they do. Reads the file if it has
    /// changed, or was faulty a while ago.
    pub(super) fn current(&self, now: Time) -> (Arc<CrlSet>, u64) {
        let mut state = self.state.lock();
        let stamp = FileStamp::of(&self.settings.file);
        let waiting = TimeDelta::zero()..TimeDelta::seconds(RETRY_SECONDS);
        let is_waiting = |then: Time| waiting.contains(&now.signed_duration_since(then));
        let retry = state.fault.is_some() && !state.attempted.is_some_and(is_waiting);
        if state.stamp != stamp || retry {
            (state.stamp, state.attempted) = (stamp, Some(now));
            self.reload(&mut state, now);
        }
        (Arc::clone(&state.in_force), state.generation)
    }

    fn grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.settings.grace.into())
    }

    fn reload(&self, state: &mut CrlState, now: Time) {
        let (outcome, fault) = match self.replacement(&state.in_force.lists, now) {
            Ok((set, faults)) => {
                let fault = (!faults.is_empty()).then(|| faults.join("; "));
                let outcome = match (&set, &fault) {
                    (_, Some(_)) => "failed",
                    (Some(_), None) => "new",
                    (None, None) => "unchanged",
                };
                if let Some(set) = set {
                    log::info!(crls = set.lists.len(); "new CRLs of client certificates are in force");
                    state.in_force = Arc::new(set);
                    state.generation += 1;
                }
                (outcome, fault)
            }
            Err(error) => ("failed", Some(error.to_string())),
        };
        self.metrics.client_crl_loaded(outcome);
        self.metrics
            .client_crl_next_update(state.in_force.next_update());
        if let Some(fault) = fault
            .as_ref()
            .filter(|new| state.fault.as_ref() != Some(*new))
        {
            let path = self.settings.file.display().to_string();
            log::error!(path = path.as_str(); "the CRLs in force stay in force: {fault}");
        } else if fault.is_none() && state.fault.is_some() {
            log::info!("the file with the CRLs of client certificates is usable again");
        }
        state.fault = fault;
    }

    /// The CRLs that follow these, unless they stay the same; and what is wrong with the file.
    fn replacement(
        &self,
        old: &[Arc<Crl>],
        now: Time,
    ) -> Result<(Option<CrlSet>, Vec<String>), AnchorsError> {
        let (found, forged) = Self::read_file(&self.settings, &self.cas)?;
        let (lists, mut faults) = merge(old, found, now, self.grace());
        faults.extend(forged.iter().map(ToString::to_string));
        let is_same = lists.len() == old.len()
            && lists
                .iter()
                .zip(old)
                .all(|(new, old)| Arc::ptr_eq(new, old));
        if is_same {
            return Ok((None, faults));
        }
        let set = CrlSet::new(lists, &self.cas).map_err(|error| AnchorsError::Crl {
            path: self.settings.file.clone(),
            error,
        })?;
        Ok((Some(set), faults))
    }

    /// The period in which the lists of this CA count; an error if now is outside of it. The
    /// certificate itself is checked with [`CrlSet::store`].
    pub(super) fn validity(
        &self,
        set: &CrlSet,
        ca: &X509Ref,
        now: Time,
    ) -> Result<(Time, Time), CertificateFault> {
        let grace = self.grace();
        let mut valid = (Time::MIN_UTC, Time::MAX_UTC);
        let of_ca = set
            .lists
            .iter()
            .filter(|list| list.is_of(ca.subject_name()));
        let (signed, others): (Vec<_>, Vec<_>) = of_ca.partition(|list| list.is_signed_by(ca));
        // Lists of the CA's other keys count if it has none of this one.
        for list in if signed.is_empty() { others } else { signed } {
            valid = (valid.0.max(list.this_update), valid.1.min(list.ends(grace)));
        }
        if (valid.0..valid.1).contains(&now) {
            Ok(valid)
        } else {
            Err(CertificateFault::Crl)
        }
    }
}

/// The lists that are in force after those of the file were found, and what is wrong with the file.
fn merge(
    old: &[Arc<Crl>],
    found: Vec<Arc<Crl>>,
    now: Time,
    grace: TimeDelta,
) -> (Vec<Arc<Crl>>, Vec<String>) {
    let (mut lists, mut faults) = (Vec::new(), Vec::new());
    for known in old {
        let replacement = found.iter().find(|list| list.has_scope_of(known));
        let fault = match replacement {
            Some(new) if new.pem == known.pem => None,
            Some(new) if new.this_update < known.this_update => Some(format!(
                "is of {}, older than the one in force, which is of {}",
                rfc3339(&new.this_update),
                rfc3339(&known.this_update)
            )),
            Some(new) if known.counts(now, grace) && !new.counts(now, grace) => {
                Some("has expired or is not valid yet".to_owned())
            }
            Some(new) => {
                lists.push(Arc::clone(new));
                continue;
            }
            None if known.counts(now, grace) => Some("is missing in the file".to_owned()),
            None => continue,
        };
        lists.push(Arc::clone(known));
        faults.extend(fault.map(|fault| format!("the CRL of `{}` {fault}", known.issuer())));
    }
    let is_new = |list: &Arc<Crl>| !old.iter().any(|known| known.has_scope_of(list));
    lists.extend(found.into_iter().filter(is_new));
    (lists, faults)
}

impl CrlSet {
    fn new(lists: Vec<Arc<Crl>>, cas: &[X509]) -> Result<Self, CrlError> {
        let mut store = X509StoreBuilder::new()?;
        for ca in cas {
            store.add_cert(ca.clone())?;
        }
        // OpenSSL reads CRLs from a file only. The configured one may change at any time.
        let mut file = NamedTempFile::new().map_err(CrlError::Temporary)?;
        for list in &lists {
            file.write_all(&list.pem).map_err(CrlError::Temporary)?;
        }
        file.flush().map_err(CrlError::Temporary)?;
        if !lists.is_empty() {
            store
                .add_lookup(X509Lookup::file())?
                .load_crl_file(file.path(), SslFiletype::PEM)?;
        }
        let mut rules = X509VerifyParam::new()?;
        rules.set_flags(
            X509VerifyFlags::PARTIAL_CHAIN
                | X509VerifyFlags::CRL_CHECK
                | X509VerifyFlags::NO_CHECK_TIME,
        )?;
        store.set_param(&rules)?;
        let store = store.build();
        Ok(Self { lists, store })
    }

    pub(super) const fn store(&self) -> &X509Store {
        &self.store
    }

    /// When the first of them says that the next one is due, in seconds since 1970; 0 if none does.
    fn next_update(&self) -> i64 {
        let next = self.lists.iter().filter_map(|list| list.next_update).min();
        next.map_or(0, |next| next.timestamp())
    }
}

impl fmt::Debug for CrlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlSource")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
