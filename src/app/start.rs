//! The start of the service: it opens everything, and waits for a database that is away. Meanwhile
//! it serves what needs none: `/certs/`, `/healthz` and `/readyz`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{HttpError, Listeners, WaitingServers};
use super::signals::Signals;
use super::supervisor::Supervisor;
use super::{AppError, block_on, compose, database_timeouts, database_url, file_limit, signers};
use crate::api::{Service, WaitingState};
use crate::authority::{ChangeError, ScanMode, Signers};
use crate::config::Config;
use crate::domain::{Caller, Clock, new_id};
use crate::signer::ScanResult;
use crate::store::{DatabaseUrl, OpenError, Purpose, Store, StoreError};

/// The pause between two attempts to open the database.
const PAUSE: Duration = Duration::from_millis(500);
/// After this time, an attempt is slow: what needs no database is served meanwhile.
const SLOW: Duration = Duration::from_secs(2);
/// What systemd allows for what follows after the wait.
const START_TIME: Duration = Duration::from_secs(60);

/// A service that is open.
#[derive(Debug)]
pub struct Opened {
    pub service: Service,
    /// Where it has listened while it waited.
    pub listeners: Option<Listeners>,
}

/// Opens everything, as `serve` needs it. Scans for keys and chains, and agrees on them with the
/// other replicas.
pub fn open_with_signer(config: &Config, clock: &Clock) -> Result<Service, AppError> {
    file_limit::raise();
    let signers = Arc::new(signers(config)?);
    let found = signers.look(clock.now(), ScanMode::Asked).require_any()?;
    open_once(config, clock, &signers, &found)
}

/// Like [`open_with_signer`], but waits up to `database.wait_at_start` for a database that is away.
/// `None` if the service is stopped meanwhile.
pub fn open_when_reachable(
    config: &Config,
    clock: &Clock,
    (supervisor, signals): (&Supervisor, &Signals),
) -> Result<Option<Opened>, AppError> {
    file_limit::raise();
    // Once only: a hardware security module counts wrong PINs.
    let signers = Arc::new(signers(config)?);
    let found = signers.look(clock.now(), ScanMode::Asked).require_any()?;
    let url = database_url(config)?;
    let is_server = matches!(url, DatabaseUrl::Postgres(_));
    let wait = Duration::from_secs(config.database.wait_at_start.into());
    let longest = wait.max(database_timeouts(&config.database).long_statement) + START_TIME;
    let deadline = Instant::now() + wait;
    let serve_meanwhile = || wait_for_database(config, clock, &signers, &found, signals);
    let mut waiting: Option<WaitingServers> = None;
    loop {
        let attempt = OpeningAttempt::start(config, clock, &signers, &found);
        let (attempt, began) = (attempt.map_err(HttpError::Serve)?, Instant::now());
        let outcome = loop {
            if signals.is_stop_requested() {
                return Ok(None);
            }
            if let Some(outcome) = attempt.outcome_within(PAUSE) {
                break outcome;
            }
            if began.elapsed() > longest {
                return Err(OpenError::Connect("it does not answer".to_owned()).into());
            }
            // The server is silent, or another replica migrates the database.
            if is_server && waiting.is_none() && began.elapsed() > SLOW {
                waiting = Some(serve_meanwhile()?);
            }
            supervisor.waits(longest);
        };
        match outcome {
            Ok(service) => {
                let listeners = waiting.map(WaitingServers::stop);
                return Ok(Some(Opened { service, listeners }));
            }
            Err(error) if is_server && error.is_database_away() && Instant::now() < deadline => {
                if let Some(why) = Store::refusal(&url) {
                    return Err(OpenError::Refused(why).into());
                }
                if waiting.is_none() {
                    log::warn!(
                        "waiting up to {} s for the database: {error}",
                        wait.as_secs()
                    );
                    waiting = Some(serve_meanwhile()?);
                }
            }
            Err(error) => return Err(error),
        }
        supervisor.waits(deadline.saturating_duration_since(Instant::now()) + START_TIME);
        thread::sleep(PAUSE);
    }
}

/// An attempt to open everything, on a thread of its own: it can hang in a wait for the database.
struct OpeningAttempt(Receiver<Result<Service, AppError>>);

impl OpeningAttempt {
    fn start(
        config: &Config,
        clock: &Clock,
        signers: &Arc<Signers>,
        found: &ScanResult,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let (config, clock) = (config.clone(), clock.clone());
        let (signers, found) = (Arc::clone(signers), found.clone());
        thread::Builder::new()
            .name("start".to_owned())
            .spawn(move || {
                let _ = sender.send(open_once(&config, &clock, &signers, &found));
            })?;
        Ok(Self(receiver))
    }

    /// `None` if it is still in progress.
    fn outcome_within(&self, time: Duration) -> Option<Result<Service, AppError>> {
        match self.0.recv_timeout(time) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let ended = std::io::Error::other("the thread that starts the service has ended");
                Some(Err(HttpError::Serve(ended).into()))
            }
        }
    }
}

fn wait_for_database(
    config: &Config,
    clock: &Clock,
    signers: &Arc<Signers>,
    found: &ScanResult,
    signals: &Signals,
) -> Result<WaitingServers, AppError> {
    signers.publish_found(found);
    let waiting = WaitingState {
        since: clock.now(),
        signers: Arc::clone(signers),
        has_facade: config.facade.enabled,
    };
    Ok(WaitingServers::start(config, waiting, signals.clone())?)
}

fn open_once(
    config: &Config,
    clock: &Clock,
    signers: &Arc<Signers>,
    found: &ScanResult,
) -> Result<Service, AppError> {
    let service = compose(config, clock, Purpose::Serve, Some(Arc::clone(signers)))?;
    let authority = &service.authority;
    block_on(authority.beat()).map_err(AppError::NotWritten)?;
    let caller = Caller::the_service(new_id(clock.now()));
    match block_on(authority.agree_on_signers(&caller, found.clone())) {
        Ok(()) => {}
        // It serves, is not ready, and says why, until the other replica is gone.
        Err(error) if authority.is_refused_by_replicas() => log::error!("{error}"),
        Err(error) => return Err(AppError::NotAgreed(error)),
    }
    let recorded = block_on(authority.record_policies(&caller));
    recorded.map_err(AppError::NotRecorded)?;
    Ok(service)
}

impl AppError {
    /// Whether the database may come back, so that it is worth waiting for.
    const fn is_database_away(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, OpenError::Connect(_) | OpenError::ReadOnly(_)),
            Self::ApiKeys(error) | Self::NotWritten(error) | Self::NotRecorded(error) => {
                is_away(error)
            }
            Self::NotAgreed(ChangeError::Store(error)) => is_away(error),
            Self::NotAgreed(_)
            | Self::Policy(_)
            | Self::Signer(_)
            | Self::Pepper(_)
            | Self::Authentication(_)
            | Self::Telemetry(_)
            | Self::Webhooks(_)
            | Self::Http(_)
            | Self::SecretUnreadable { .. }
            | Self::SecretMalformed { .. }
            | Self::SecretMissing(_)
            | Self::NoSecret
            | Self::NoSigner
            | Self::NoSpc
            | Self::OtherSecret { .. } => false,
        }
    }

    /// Whether only a change of the configuration helps, so that another start does not.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error,
                OpenError::Url(_)
                    | OpenError::PostgresUrl(_)
                    | OpenError::NoDatabase(_)
                    | OpenError::Refused(_)
            ),
            Self::Policy(_)
            | Self::SecretMalformed { .. }
            | Self::SecretMissing(_)
            | Self::NoSecret
            | Self::NoSigner
            | Self::NoSpc => true,
            Self::Signer(_)
            | Self::Pepper(_)
            | Self::Authentication(_)
            | Self::Telemetry(_)
            | Self::Webhooks(_)
            | Self::Http(_)
            | Self::SecretUnreadable { .. }
            | Self::OtherSecret { .. }
            | Self::ApiKeys(_)
            | Self::NotAgreed(_)
            | Self::NotWritten(_)
            | Self::NotRecorded(_) => false,
        }
    }
}

const fn is_away(error: &StoreError) -> bool {
    match error {
        StoreError::Busy | StoreError::Unavailable(_) => true,
        StoreError::ProofEnded | StoreError::Corrupt(_) | StoreError::Replay(_) => false,
    }
}
