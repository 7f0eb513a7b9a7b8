//! Loads and refreshes the keys of an issuer, from a configured file or HTTPS endpoint.
//!
//! Nothing in a request determines what is fetched. A token with an unknown `kid` can trigger a
//! fetch, but there is only one at a time, and one per `refetch_interval`. A fetch runs on its own
//! thread. Only requests that need its result wait for it: a limited number, for a limited time.
//! Meanwhile the current keys stay in use.

use std::path::{Path, PathBuf};
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
use crate::regular_file::{self, FileStamp};
use crate::telemetry::Metrics;

/// How long a request waits for a fetch.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Requests that wait for the fetch of one issuer. Further ones are refused immediately, so that a
/// flood does not block all threads.
const MAX_WAITING: usize = 8;

/// Why keys could not be loaded.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("`{path}` cannot be read: {error}")]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the key set is unusable: {0}")]
    Jwks(#[from] JwksError),
}

/// Where the keys come from.
#[derive(Debug)]
pub enum Origin {
    /// Read again after `refetch_interval`.
    File(PathBuf),
    Https(Endpoint),
}

/// How an issuer's keys are loaded and refreshed.
#[derive(Debug)]
pub struct KeySettings {
    /// The issuer's name in the configuration.
    pub name: String,
    pub origin: Origin,
    pub algorithms: Vec<Algorithm>,
    /// The minimum number of seconds between two fetches.
    pub refetch_interval: u32,
    /// Seconds after which keys are fetched again. They stay in use meanwhile.
    pub max_age: u32,
    /// Seconds after which fetched keys are no longer used.
    pub max_stale: u32,
}

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub(super) struct KeySource(Arc<Shared>);

/// Keys, and a number that changes whenever they do.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) keys: Arc<KeySet>,
    pub(super) generation: u64,
}

/// The outcome of looking for newer keys.
#[derive(Debug)]
pub(super) enum NewerKeys {
    Found(Current),
    /// The keys were loaded after the token was signed, and are the same.
    None,
    /// The token may have been signed after the keys were loaded, and loading them is not due yet
    /// or failed.
    NotLoadedSince {
        /// Seconds until they can be loaded again.
        retry_after: u32,
    },
}

#[derive(Debug)]
struct Shared {
    settings: KeySettings,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: Mutex<SourceState>,
    /// Notified when a fetch has ended.
    fetched: Condvar,
}

#[derive(Debug, Default)]
struct SourceState {
    current: Option<Current>,
    /// The SHA-256 of the text of the current keys.
    digest: [u8; 32],
    /// When the keys were last loaded, or found unchanged.
    confirmed: Option<Time>,
    /// How often the keys were loaded, or found unchanged.
    confirmations: u64,
    /// When a load was last attempted.
    attempted: Option<Time>,
    /// Of the file, from before it was last read.
    stamp: Option<FileStamp>,
    fetching: bool,
    waiting: usize,
}

impl KeySource {
    /// Loads the keys when they are first needed.
    pub(super) fn new(settings: KeySettings, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            settings,
            clock,
            metrics,
            state: Mutex::default(),
            fetched: Condvar::new(),
        }))
    }

    /// Loads the keys now: those of a file at once, those of an endpoint in the background.
    ///
    /// # Errors
    /// [`KeysError`] if the file cannot be used.
    pub(super) fn start(&self) -> Result<(), KeysError> {
        let shared = &self.0;
        let now = shared.clock.now();
        if let Origin::File(path) = &shared.settings.origin {
            let mut state = shared.lock();
            state.stamp = FileStamp::of(path);
            let text = shared.settings.origin.read()?;
            return shared.replace(&mut state, &text, now);
        }
        shared.refresh(&mut shared.lock(), now);
        Ok(())
    }

    /// Reads the file again if it is another one than before, or in any case. An endpoint is asked
    /// again as usual.
    pub(super) fn read_file_again(&self, in_any_case: bool) {
        let shared = &self.0;
        let Origin::File(path) = &shared.settings.origin else {
            return;
        };
        let mut state = shared.lock();
        if in_any_case || state.stamp != FileStamp::of(path) {
            shared.read_file(&mut state, path, shared.clock.now());
        }
    }

    /// The endpoint that the keys come from, unless they come from a file.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match &self.0.settings.origin {
            Origin::File(_) => None,
            Origin::Https(endpoint) => Some(endpoint),
        }
    }

    /// Reads or fetches the keys once. Returns how many are usable, and what is wrong with the
    /// others. For `tn-authority check`.
    pub(super) fn check(&self) -> Result<(usize, Vec<String>), KeysError> {
        let settings = &self.0.settings;
        let keys = KeySet::parse(&settings.origin.read()?, &settings.algorithms)?;
        Ok((keys.len(), keys.faults))
    }

    /// The current keys, unless there are none or they are older than `max_stale`.
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

    /// Looks for a key that these keys lack, among newer ones. `signed` is the latest time at which
    /// the token that names the key can have been signed.
    pub(super) fn newer_than(&self, old: &Current, signed: Time, now: Time) -> NewerKeys {
        let shared = &self.0;
        let mut state = shared.lock();
        let newer = |state: &SourceState| {
            let current = shared.usable(state, now)?;
            (current.generation != old.generation).then_some(current)
        };
        if let Some(newer) = newer(&state) {
            return NewerKeys::Found(newer);
        }
        let confirmations = state.confirmations;
        shared.refresh(&mut state, now);
        shared.wait(&mut state);
        if let Some(newer) = newer(&state) {
            return NewerKeys::Found(newer);
        }
        // An issuer publishes a key before it signs with it. So a key that was not published after
        // the token had been signed, as far as is known, is none of the issuer's.
        let loaded_since = state.confirmations != confirmations
            || state.confirmed.is_some_and(|loaded| signed < loaded);
        if loaded_since {
            NewerKeys::None
        } else {
            NewerKeys::NotLoadedSince {
                retry_after: shared.until_next_load(&state, now),
            }
        }
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

    /// Starts to load the keys, unless a fetch is in progress or was attempted within
    /// `refetch_interval`.
    fn refresh(self: &Arc<Self>, state: &mut SourceState, now: Time) {
        let interval = TimeDelta::seconds(self.settings.refetch_interval.into());
        let since = state.attempted.map(|then| now.signed_duration_since(then));
        // A negative age means that the clock was set back, which must not stop the fetches.
        let recently = since.is_some_and(|age| age >= TimeDelta::zero() && age < interval);
        if state.fetching || recently {
            return;
        }
        state.attempted = Some(now);
        match &self.settings.origin {
            Origin::File(path) => self.read_file(state, path, now),
            Origin::Https(_) => {
                state.fetching = true;
                let shared = Arc::clone(self);
                let work = move || shared.fetch(now);
                let started = thread::Builder::new().name("jwks".to_owned()).spawn(work);
                if let Err(error) = started {
                    state.fetching = false;
                    log::warn!("the thread that fetches a key set cannot be started: {error}");
                }
            }
        }
    }

    fn read_file(&self, state: &mut SourceState, path: &Path, now: Time) {
        state.stamp = FileStamp::of(path);
        let read = self.settings.origin.read();
        let loaded = read.and_then(|text| self.replace(state, &text, now));
        if let Err(error) = loaded {
            self.report(&error);
        }
    }

    /// Seconds until a load can be attempted, at least 1.
    fn until_next_load(&self, state: &SourceState, now: Time) -> u32 {
        let interval = self.settings.refetch_interval;
        let since = state.attempted.map(|then| now.signed_duration_since(then));
        let since = since.and_then(|age| u32::try_from(age.num_seconds()).ok());
        interval.saturating_sub(since.unwrap_or(0)).max(1)
    }

    /// Runs on its own thread.
    fn fetch(self: &Arc<Self>, now: Time) {
        /// Ends the fetch even if it panics, so that requests do not wait in vain.
        struct FetchGuard<'a>(&'a Shared);
        impl Drop for FetchGuard<'_> {
            fn drop(&mut self) {
                self.0.lock().fetching = false;
                self.0.fetched.notify_all();
            }
        }
        let guard = FetchGuard(self);
        let read = self.settings.origin.read();
        let loaded = read.and_then(|text| self.replace(&mut self.lock(), &text, now));
        if let Err(error) = loaded {
            self.report(&error);
        }
        drop(guard);
    }

    /// Replaces the keys by those of `text`, unless they are the same. `now` is when the load
    /// began.
    fn replace(&self, state: &mut SourceState, text: &[u8], now: Time) -> Result<(), KeysError> {
        let (name, digest) = (self.settings.name.as_str(), sha256(text));
        if state.current.is_some() && state.digest == digest {
            state.confirm(now);
            self.metrics.key_set(name, "unchanged");
            return Ok(());
        }
        let keys = KeySet::parse(text, &self.settings.algorithms)?;
        for fault in &keys.faults {
            log::warn!(issuer = name; "a key of the issuer is skipped: {fault}");
        }
        log::info!(issuer = name, keys = keys.len(); "loaded new keys of the issuer");
        self.metrics.key_set(name, "new");
        self.metrics.issuer_keys(name, keys.len());
        let generation = state.current.as_ref().map_or(0, |old| old.generation + 1);
        state.current = Some(Current {
            keys: Arc::new(keys),
            generation,
        });
        state.digest = digest;
        state.confirm(now);
        Ok(())
    }

    /// Reports a failed load. The current keys stay in use: those of an endpoint until `max_stale`.
    fn report(&self, error: &KeysError) {
        let name = self.settings.name.as_str();
        self.metrics.key_set(name, "failed");
        log::warn!(issuer = name; "the keys of the issuer cannot be loaded, and stay as they are: {error}");
    }

    /// Waits for the fetch in progress, if there is one, up to [`MAX_WAIT`].
    fn wait(&self, state: &mut MutexGuard<'_, SourceState>) {
        if !state.fetching || state.waiting >= MAX_WAITING {
            return;
        }
        state.waiting += 1;
        self.fetched
            .wait_while_for(state, |state| state.fetching, MAX_WAIT);
        state.waiting -= 1;
    }
}

impl SourceState {
    const fn confirm(&mut self, at: Time) {
        self.confirmed = Some(at);
        self.confirmations += 1;
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
                Ok(regular_file::read(path, MAX_BYTES as u64).map_err(failed)?)
            }
            Self::Https(endpoint) => Ok(endpoint.fetch()?),
        }
    }
}
