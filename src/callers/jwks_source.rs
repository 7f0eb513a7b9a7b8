//! Where an issuer's keys come from: a file, or an HTTPS endpoint of the configuration.
//!
//! Nothing that a caller sends says what is fetched. A token with an unknown `kid` may hasten a fetch, and no more than
//! that: one at a time, and one in `refetch_interval`, whoever asks. A fetch has a thread of its own. Requests wait for it
//! only if they cannot go on without it, a few of them, and not for long; what is known goes on working meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use openssl::sha::sha256;
use parking_lot::{Condvar, Mutex, MutexGuard};
use thiserror::Error;

use super::jwks::{JwksError, KeySet};
use super::jwks_endpoint::{Endpoint, FetchError, MAX_BYTES};
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::{Clock, Time};
use crate::telemetry::Metrics;

/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait for the fetch of one issuer: the others are refused at once, so that a flood holds no more threads.
const MAX_WAITING: usize = 8;

/// Why there are no keys now.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("`{path}` cannot be read: {error}")]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("`{0}` is longer than {MAX_BYTES} bytes")]
    Long(PathBuf),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("no key set: {0}")]
    Jwks(#[from] JwksError),
}

/// Where keys are.
#[derive(Debug)]
pub enum Origin {
    /// It is read again when `refetch_interval` has passed.
    File(PathBuf),
    Https(Endpoint),
}

/// How an issuer's keys are had.
#[derive(Debug)]
pub struct KeySettings {
    /// The issuer's name in the configuration.
    pub name: String,
    pub origin: Origin,
    pub algorithms: Vec<Algorithm>,
    /// Seconds between two fetches at least.
    pub refetch_interval: u32,
    /// Seconds after which keys are fetched again, used meanwhile.
    pub max_age: u32,
    /// Seconds after which fetched keys are used no more.
    pub max_stale: u32,
}

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub(super) struct KeySource(Arc<Shared>);

/// Keys, and a number that is another one whenever they change.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) keys: Arc<KeySet>,
    pub(super) generation: u64,
}

#[derive(Debug)]
struct Shared {
    settings: KeySettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: Mutex<SourceState>,
    /// A fetch has ended.
    fetched: Condvar,
}

#[derive(Debug, Default)]
struct SourceState {
    current: Option<Current>,
    /// The SHA-256 of the text of the current keys.
    digest: [u8; 32],
    /// When the keys were last seen to be the issuer's.
    confirmed: Option<Time>,
    /// When they were last asked for.
    asked: Option<Time>,
    fetching: bool,
    waiting: usize,
}

impl KeySource {
    /// Keys that are had when they are first needed.
    pub(super) fn new(settings: KeySettings, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            settings,
            clock,
            metrics,
            state: Mutex::default(),
            fetched: Condvar::new(),
        }))
    }

    /// Asks for the keys now. Those of a file have to be there; those of an endpoint come when they come.
    ///
    /// # Errors
    /// [`KeysError`] if the file cannot be used.
    pub(super) fn start(&self) -> Result<(), KeysError> {
        let shared = &self.0;
        let now = shared.clock.now();
        if let Origin::File(_) = shared.settings.origin {
            let text = shared.settings.origin.read()?;
            return shared.take(&mut shared.lock(), &text, now);
        }
        shared.refresh(&mut shared.lock(), now);
        Ok(())
    }

    /// Reads or fetches the keys once, and says how many can be used and what is wrong with the others. For `check`.
    ///
    /// # Errors
    /// [`KeysError`] if there are none.
    pub(super) fn check(&self) -> Result<(usize, Vec<String>), KeysError> {
        let settings = &self.0.settings;
        let keys = KeySet::parse(&settings.origin.read()?, &settings.algorithms)?;
        Ok((keys.len(), keys.faults))
    }

    /// The keys, unless there are none or they are too old to be relied on.
    pub(super) fn current(&self, now: Time) -> Option<Current> {
        let shared = &self.0;
        let mut state = shared.lock();
        if !shared.is_younger(&state, now, shared.settings.max_age) {
            shared.refresh(&mut state, now);
        }
        if let Some(current) = shared.usable(&state, now) {
            return Some(current);
        }
        shared.wait(&mut state);
        shared.usable(&state, now)
    }

    /// Keys that came after these, if there are any.
    pub(super) fn newer_than(&self, old: &Current, now: Time) -> Option<Current> {
        let shared = &self.0;
        let mut state = shared.lock();
        let is_newer = |state: &SourceState| {
            let current = shared.usable(state, now)?;
            (current.generation != old.generation).then_some(current)
        };
        if let Some(newer) = is_newer(&state) {
            return Some(newer);
        }
        shared.refresh(&mut state, now);
        shared.wait(&mut state);
        is_newer(&state)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, SourceState> {
        self.state.lock()
    }

    fn usable(&self, state: &SourceState, now: Time) -> Option<Current> {
        let local = matches!(self.settings.origin, Origin::File(_));
        let usable = local || self.is_younger(state, now, self.settings.max_stale);
        state.current.clone().filter(|_| usable)
    }

    fn is_younger(&self, state: &SourceState, now: Time, seconds: u32) -> bool {
        let limit = match self.settings.origin {
            Origin::File(_) => seconds.min(self.settings.refetch_interval),
            Origin::Https(_) => seconds,
        };
        let age = state.confirmed.map(|then| now.signed_duration_since(then));
        age.is_some_and(|age| age < TimeDelta::seconds(limit.into()))
    }

    /// Asks for the keys, unless that is going on or was done a moment ago.
    fn refresh(self: &Arc<Self>, state: &mut SourceState, now: Time) {
        let interval = TimeDelta::seconds(self.settings.refetch_interval.into());
        let asked = state.asked.map(|then| now.signed_duration_since(then));
        // A clock that was put back does not stop the fetches.
        let recently = asked.is_some_and(|age| age >= TimeDelta::zero() && age < interval);
        if state.fetching || recently {
            return;
        }
        state.asked = Some(now);
        match self.settings.origin {
            Origin::File(_) => {
                let read = self.settings.origin.read();
                let taken = read.and_then(|text| self.take(state, &text, now));
                if let Err(error) = taken {
                    self.keep(&error);
                }
            }
            Origin::Https(_) => {
                state.fetching = true;
                let shared = Arc::clone(self);
                let work = move || shared.fetch(now);
                let started = thread::Builder::new().name("jwks".to_owned()).spawn(work);
                if let Err(error) = started {
                    state.fetching = false;
                    log::warn!("a key set cannot be fetched: {error}");
                }
            }
        }
    }

    /// Runs on a thread of its own.
    fn fetch(self: &Arc<Self>, now: Time) {
        /// Whatever happens, the fetch has ended.
        struct FetchGuard<'a>(&'a Shared);
        impl Drop for FetchGuard<'_> {
            fn drop(&mut self) {
                self.0.lock().fetching = false;
                self.0.fetched.notify_all();
            }
        }
        let ended = FetchGuard(self);
        let read = self.settings.origin.read();
        let taken = read.and_then(|text| self.take(&mut self.lock(), &text, now));
        if let Err(error) = taken {
            self.keep(&error);
        }
        drop(ended);
    }

    /// Takes what was read, as of when it was asked for.
    fn take(&self, state: &mut SourceState, text: &[u8], now: Time) -> Result<(), KeysError> {
        let (name, digest) = (self.settings.name.as_str(), sha256(text));
        if state.current.is_some() && state.digest == digest {
            state.confirmed = Some(now);
            self.metrics.key_set(name, "unchanged");
            return Ok(());
        }
        let keys = KeySet::parse(text, &self.settings.algorithms)?;
        for fault in &keys.faults {
            log::warn!(issuer = name; "a key of an issuer is left out: {fault}");
        }
        log::info!(issuer = name, keys = keys.len(); "the keys of an issuer are new");
        self.metrics.key_set(name, "new");
        self.metrics.issuer_keys(name, keys.len());
        let generation = state.current.as_ref().map_or(0, |old| old.generation + 1);
        state.current = Some(Current {
            keys: Arc::new(keys),
            generation,
        });
        state.digest = digest;
        state.confirmed = Some(now);
        Ok(())
    }

    /// What is known stays, for a while.
    fn keep(&self, error: &KeysError) {
        let name = self.settings.name.as_str();
        self.metrics.key_set(name, "failed");
        log::warn!(issuer = name; "the keys of an issuer cannot be had and stay as they are: {error}");
    }

    /// Waits for the fetch that is going on, if there is one, but not for long.
    fn wait(&self, state: &mut MutexGuard<'_, SourceState>) {
        if !state.fetching || state.waiting >= MAX_WAITING {
            return;
        }
        state.waiting += 1;
        self.fetched
            .wait_while_for(state, |state| state.fetching, PATIENCE);
        state.waiting -= 1;
    }
}

impl Origin {
    fn read(&self) -> Result<Vec<u8>, KeysError> {
        match self {
            Self::File(path) => {
                let failed = |error| KeysError::Read {
                    path: path.clone(),
                    error,
                };
                let text = fs::read(path).map_err(failed)?;
                if text.len() > MAX_BYTES {
                    return Err(KeysError::Long(path.clone()));
                }
                Ok(text)
            }
            Self::Https(endpoint) => Ok(endpoint.fetch()?),
        }
    }
}
