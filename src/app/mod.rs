//! The composition root: opens the store, policies, signers and callers, wires them together,
//! starts HTTP, and drains the writer on stop.

mod api_key_secret;
mod authentication;
mod background;
mod file_limit;
mod file_reload;
mod gateway_warnings;
mod gateways;
mod http;
mod settings;
mod signals;
mod start;
mod supervisor;
mod system_roots;
mod tls_key;
mod tls_warnings;

pub use api_key_secret::{ApiKeySecretUse, api_key_secret_use, check_secret, generated_secret};
pub use authentication::{AuthenticationError, CheckedIssuer, check_issuers};
pub use gateway_warnings::{gateway_warnings, lost_gateway_warnings};
pub use gateways::{GatewaysError, check_gateways};
pub use http::{HttpError, Running, Stopper, check_listener, start, start_on};
pub use settings::{database_timeouts, database_url, migrate_url, passphrase, pkcs11};
pub use signals::{Signals, on_hangup, on_termination};
pub use start::{Opened, open_when_reachable, open_with_signer};
pub use supervisor::Supervisor;
pub use system_roots::roots_warning;
pub use tls_key::TlsKeyError;
pub use tls_warnings::tls_warnings;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::api::{ConcurrencyLimit, Door, Idempotency, Service};
use crate::authority::import::jobs::Jobs;
use crate::authority::{
    Authority, ChangeError, ControlParts, OutboxSignal, Parts, PolicyError, PolicySet,
    ReferenceClock, ScanMode, Signers,
};
use crate::callers::{Callers, Pepper, PepperError};
use crate::config::{Config, SecretError};
use crate::domain::Clock;
use crate::domain::signing::distrust::Distrust;
use crate::signer::{ScanResult, SignerError};
use crate::store::{OpenError, Purpose, Store, StoreError, Tx};
use crate::telemetry::{Metrics, TelemetryError};
use crate::webhooks::{SendError, Sender};
use api_key_secret::{check_secret_of_keys, open_peppers, warn_of_lost_keys};

/// Why the service cannot start. Each message says what to do.
#[derive(Debug, Error)]
pub enum AppError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Pepper(#[from] PepperError),
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Webhooks(#[from] SendError),
    #[error("the API key secret cannot be read from `{path}`: {error}")]
    SecretUnreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the API key secret in `{path}` is malformed: {error}")]
    SecretMalformed { path: PathBuf, error: SecretError },
    #[error(
        "no API key secret: on PostgreSQL all replicas share one; set `api_keys.secret_file` (`openssl rand -hex 32` makes a secret)"
    )]
    NoSecret,
    #[error(
        "no signing key: set `signer.dir`, or `signer.key_file` and `signer.chain_file`, and `carrier.spcs`; `tn-authority \
         demo` runs without them"
    )]
    NoSigner,
    #[error(
        "the database has API keys, but the secret that they are hashed with is missing: `{0}`; \
         restore it from a backup, or set `api_keys.secret_file`; with a new one (`openssl rand \
         -out {0} 32`) all API keys are invalid"
    )]
    SecretMissing(PathBuf),
    #[error(
        "none of the {keys} API keys in use works, because they are hashed with another secret than the configured \
         one; set `api_keys.secret_file` to the secret of this database, such as from a backup, or, if it was \
         changed, name the former one as `api_keys.previous_secret_file`; without it, create the keys anew \
         (`api-key create`)"
    )]
    OtherSecret { keys: i64 },
    #[error("the API keys cannot be read: {0}")]
    ApiKeys(StoreError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the database cannot be written to: {0}")]
    NotWritten(StoreError),
    #[error("the replicas cannot agree on the signing certificates: {0}")]
    NotAgreed(ChangeError),
    #[error("the policies cannot be recorded in the audit trail: {0}")]
    NotRecorded(StoreError),
    #[error("no service provider code: set `carrier.spcs` to the codes of the carrier")]
    NoSpc,
}

impl AppError {
    /// Whether the service cannot start because an HSM refuses the PIN.
    #[must_use]
    pub const fn is_refused_pin(&self) -> bool {
        matches!(self, Self::Signer(SignerError::PinRefused(_)))
    }
}

/// Opens everything but the signers, as commands need it. A missing SQLite database is an error:
/// the command runs in a wrong folder.
pub fn open(config: &Config, clock: &Clock) -> Result<Service, AppError> {
    compose(config, clock, Purpose::Command, None)
}

/// Like [`open`], for commands that can be the first of a new service: they create a missing SQLite
/// database.
pub fn open_or_create(config: &Config, clock: &Clock) -> Result<Service, AppError> {
    compose(config, clock, Purpose::FirstStep, None)
}

/// Scans for keys and chains that can sign for the carrier now.
pub fn scan_signers(config: &Config, clock: &Clock) -> Result<ScanResult, AppError> {
    Ok(signers(config)?.look(clock.now(), ScanMode::Asked))
}

/// The signing keys that are distrusted.
pub fn distrusts(config: &Config) -> Result<Vec<Distrust>, AppError> {
    let url = database_url(config)?;
    let read = |tx: &mut Tx<'_>| tx.distrusts();
    Ok(Store::read_once(&url, read)?)
}

/// Reads the policies: those of the configured folder, or the built-in ones.
pub fn open_policy(config: &Config) -> Result<PolicySet, AppError> {
    Ok(match &config.policy.dir {
        Some(dir) => PolicySet::from_dir(dir)?,
        None => PolicySet::built_in()?,
    })
}

/// Runs a future to completion on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

fn signers(config: &Config) -> Result<Signers, AppError> {
    let sources = settings::signer_sources(config)?;
    Ok(Signers::new(sources, settings::rotation(&config.signer)))
}

fn compose(
    config: &Config,
    clock: &Clock,
    purpose: Purpose,
    signers: Option<Arc<Signers>>,
) -> Result<Service, AppError> {
    let metrics = Arc::new(Metrics::new()?);
    let policy = open_policy(config)?;
    for warning in policy.warnings() {
        log::warn!("policies: {warning}");
    }
    let store_settings = settings::store(config, purpose)?;
    let store = Arc::new(Store::open(&store_settings, Arc::clone(&metrics))?);

    check_secret_of_keys(config, &store)?;
    let peppers = open_peppers(config, &store_settings.url)?;
    if signers.is_some() {
        warn_of_lost_keys(&store, &peppers, clock)?;
        let lost = store.read(|tx| gateway_warnings::without_gateway(config, tx));
        // The database is read again, and again, by what follows.
        let lost = lost.unwrap_or_default();
        for warning in gateway_warnings(config, Some(&policy)).iter().chain(&lost) {
            log::warn!("{warning}");
        }
    }
    let keys = &config.idempotency;
    let idempotency = Idempotency::new(peppers.seals()?, keys.keep, keys.lease);
    let control = ControlParts {
        settings: settings::control(&config.control),
        codes: Arc::new(peppers.control_codes()?),
        signal: OutboxSignal::default(),
        reference: ReferenceClock::Database,
    };
    let derive = |pepper: &Pepper| pepper.derive("webhooks");
    let webhooks = settings::webhooks(
        &config.webhooks,
        derive(peppers.newest())?,
        peppers.previous().map(derive).transpose()?,
    );
    let readiness = settings::readiness(config, &peppers)?;
    let trust = authentication::trust(config, clock, &metrics)?;
    let callers = Callers::new(
        Arc::clone(&store),
        peppers,
        clock.clone(),
        Arc::clone(&metrics),
    );

    let authority = Arc::new(Authority::new(Parts {
        store,
        policy: policy.into(),
        signers,
        clock: clock.clone(),
        carrier: settings::carrier(&config.carrier),
        lifetimes: settings::lifetimes(&config.tokens),
        aging: config.aging.days.clone(),
        limits: settings::limits(&config.limits),
        claim_constraints: config.tokens.jwt_claim_constraints,
        control,
        readiness,
        metrics,
    }));
    Ok(Service {
        jobs: Jobs::new(Arc::clone(&authority), config.imports.queue),
        uploads: settings::uploads(&config.imports),
        authority,
        callers: callers.with_trust(trust),
        webhooks: Arc::new(Sender::new(webhooks)?),
        idempotency,
        under_way: ConcurrencyLimit::at_most(config.server.max_requests),
        door: Door::with_max_wait(config.writer.max_wait()),
        facade: settings::facade(&config.facade),
        public_url: config.server.public_url.clone(),
        max_body_bytes: config.server.max_body_bytes,
        request_timeout: Duration::from_secs(config.server.request_timeout),
        max_bulk_body_bytes: config.server.max_bulk_body_bytes,
    })
}
