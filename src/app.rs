//! The composition root: opens store, policies, signer and callers, puts them together, starts HTTP, and drains the writer
//! when it stops.

mod forgetting;
mod http;
mod policies;
mod proofs;
mod rotation;
mod signals;

pub use http::{HttpError, Running, Stopper, check_listener, start};
pub use proofs::{Checked, ProofsError, check_issuers};
pub use signals::{on_hangup, on_termination};

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::api::{Facade, Idempotency, Service, UnderWay, Uploads};
use crate::authority::jobs::Jobs;
use crate::authority::{
    Authority, Carrier, Lifetimes, LimitClock, Limits, Parts, Patience, Policy, PolicyError, Rate,
    Refused, Rotation, Signers,
};
use crate::callers::{Callers, Pepper, PepperError};
use crate::config::{self, Config, Secret, SecretError};
use crate::domain::{Caller, Clock, Passphrase, new_id};
use crate::signer::pkcs11::Pkcs11;
use crate::signer::pool::PoolSettings;
use crate::signer::{Found, SecretSource, SignerError, Sources};
use crate::store::{DatabaseUrl, OpenError, Settings, Store, StoreError};
use crate::telemetry::{Metrics, TelemetryError};
use crate::webhooks::{SendError, Sender, SenderSettings, SystemNames};

/// Why the service cannot be put together. Says what to do.
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
    Proofs(#[from] ProofsError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Webhooks(#[from] SendError),
    #[error("the secret of the API keys cannot be read from `{path}`: {error}")]
    SecretUnreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the secret of the API keys in `{path}` is malformed: {error}")]
    SecretMalformed { path: PathBuf, error: SecretError },
    #[error(
        "no secret for the API keys: replicas on PostgreSQL share one; set api_keys.secret_file (`openssl rand -hex 32` makes a secret)"
    )]
    NoSecret,
    #[error(
        "no signing key: set signer.dir, or signer.key_file and signer.chain_file, and carrier.spcs; `tn-authority demo` \
         runs without them"
    )]
    NoSigner,
    #[error("the certificates cannot be agreed on with the other replicas: {0}")]
    NotAgreed(Refused),
    #[error("the policies cannot be recorded in the audit trail: {0}")]
    NotRecorded(StoreError),
    #[error("no service provider code: set carrier.spcs to those of the carrier")]
    NoSpc,
}

/// Puts together what the command line needs: everything but a signer.
///
/// # Errors
/// [`AppError`] says what is missing or wrong.
pub fn open(config: &Config, clock: &Clock) -> Result<Service, AppError> {
    compose(config, clock, None)
}

/// Puts together what issues tokens: looks for keys and chains, and agrees on them with the other replicas.
///
/// # Errors
/// [`AppError`] says what is missing or wrong.
pub fn open_with_signer(config: &Config, clock: &Clock) -> Result<Service, AppError> {
    let signers = signers(config)?;
    let found = signers.look(clock.now(), Patience::Asked).something()?;
    let service = compose(config, clock, Some(Arc::new(signers)))?;
    let caller = Caller::the_service(new_id(clock.now()));
    let agreed = block_on(service.authority.agree_on_signers(&caller, found));
    agreed.map_err(AppError::NotAgreed)?;
    let recorded = block_on(service.authority.record_policies(&caller));
    recorded.map_err(AppError::NotRecorded)?;
    Ok(service)
}

/// Looks for keys and chains that may sign for the carrier now.
///
/// # Errors
/// [`AppError`] says what is missing or wrong.
pub fn look_for_signers(config: &Config, clock: &Clock) -> Result<Found, AppError> {
    Ok(signers(config)?.look(clock.now(), Patience::Asked))
}

/// How modules of hardware are reached.
#[must_use]
pub fn pkcs11(config: &Config) -> Pkcs11 {
    let section = &config.signer.pkcs11;
    Pkcs11 {
        module: section.module.clone(),
        pin: secret(section.pin.as_ref(), section.pin_file.as_ref()),
        pool: PoolSettings {
            sessions: section.sessions,
            queue: section.queue,
            timeout: Duration::from_secs(section.timeout),
        },
    }
}

/// What opens encrypted keys.
#[must_use]
pub fn passphrase(config: &Config) -> Option<SecretSource> {
    let section = &config.signer;
    secret(
        section.passphrase.as_ref(),
        section.passphrase_file.as_ref(),
    )
}

fn secret(given: Option<&Passphrase>, file: Option<&PathBuf>) -> Option<SecretSource> {
    let given = given.cloned().map(SecretSource::Given);
    given.or_else(|| file.cloned().map(SecretSource::File))
}

fn signers(config: &Config) -> Result<Signers, AppError> {
    let section = &config.signer;
    if section.dir.is_none() && section.chain_file.is_none() {
        return Err(AppError::NoSigner);
    }
    if config.carrier.spcs.is_empty() {
        return Err(AppError::NoSpc);
    }
    let key_uri = section.key_uri.as_deref().map(str::parse);
    let sources = Sources {
        key_file: section.key_file.clone(),
        keys: Vec::new(),
        key_uri: key_uri.transpose().map_err(SignerError::from)?,
        chain_file: section.chain_file.clone(),
        dir: section.dir.clone(),
        passphrase: passphrase(config),
        pkcs11: pkcs11(config),
        public_url: config.server.public_url.clone(),
        x5c: section.x5c,
        spcs: config.carrier.spcs.clone(),
    };
    let rotation = Rotation {
        publication_delay: section.publication_delay,
    };
    Ok(Signers::new(sources, rotation))
}

/// Reads the policies: those of the folder that is configured, or the built-in ones.
///
/// # Errors
/// [`AppError`] says which file is wrong.
pub fn open_policy(config: &Config) -> Result<Policy, AppError> {
    Ok(match &config.policy.dir {
        Some(dir) => Policy::from_dir(dir)?,
        None => Policy::built_in()?,
    })
}

/// Where the data is.
///
/// # Errors
/// [`AppError`] if the URL is none.
pub fn database_url(config: &Config) -> Result<DatabaseUrl, AppError> {
    Ok(config.database.url.expose().parse()?)
}

/// Runs a future to its end, for commands that are not a service.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}

fn compose(
    config: &Config,
    clock: &Clock,
    signers: Option<Arc<Signers>>,
) -> Result<Service, AppError> {
    let metrics = Arc::new(Metrics::new()?);
    let policy = open_policy(config)?;
    for warning in policy.warnings() {
        log::warn!("policies: {warning}");
    }
    let url = database_url(config)?;
    let settings = Settings {
        url: url.clone(),
        pool_size: config.database.pool_size,
        migrate: config.database.migrate,
        queue: config.writer.queue,
        batch: config.writer.batch,
    };
    let store = Arc::new(Store::open(&settings, Arc::clone(&metrics))?);
    let pepper = open_pepper(config, &url)?;
    let keys = &config.idempotency;
    let idempotency = Idempotency::new(pepper.seals()?, keys.keep, keys.lease);
    let webhooks = SenderSettings {
        allow_private: config.webhooks.allow_private.clone(),
        ca_file: config.webhooks.ca_file.clone(),
        key: pepper.derive("webhooks")?,
        names: Arc::new(SystemNames),
    };
    let trust = proofs::trust(config, clock, &metrics)?;
    let callers = Callers::new(
        Arc::clone(&store),
        pepper,
        clock.clone(),
        Arc::clone(&metrics),
    );
    let callers = callers.trusting(trust);
    let authority = Authority::new(Parts {
        store,
        policy: policy.into(),
        signers,
        clock: clock.clone(),
        carrier: Carrier {
            spcs: config.carrier.spcs.clone(),
            account: config.carrier.account.clone(),
        },
        lifetimes: Lifetimes {
            default: config.tokens.default_lifetime,
            minimum: config.tokens.min_lifetime,
            maximum: config.tokens.max_lifetime,
            horizon: config.tokens.max_horizon,
        },
        aging: config.aging.days.clone(),
        limits: limits(&config.limits),
        claim_constraints: config.tokens.jwt_claim_constraints,
        metrics: Arc::clone(&metrics),
    });
    let authority = Arc::new(authority);
    let imports = &config.imports;
    Ok(Service {
        jobs: Jobs::new(Arc::clone(&authority), imports.queue),
        uploads: Uploads {
            dir: imports.dir.clone().unwrap_or_else(std::env::temp_dir),
            max_bytes: imports.max_upload_bytes,
            max_ended_ppm: imports.max_ended_share.ppm(),
        },
        authority,
        callers,
        webhooks: Arc::new(Sender::new(webhooks)?),
        idempotency,
        under_way: UnderWay::at_most(config.server.max_requests),
        facade: facade(config),
        max_body_bytes: config.server.max_body_bytes,
        request_timeout: Duration::from_secs(config.server.request_timeout),
        max_bulk_body_bytes: config.server.max_bulk_body_bytes,
    })
}

fn limits(section: &config::Limits) -> Limits {
    let rate = |per_second, burst| Rate { per_second, burst };
    Limits::new(
        rate(section.caller_rate, section.caller_burst),
        rate(section.account_rate, section.account_burst),
        rate(section.unproven_rate, section.unproven_burst),
        &LimitClock::default(),
    )
}

/// The facade, if it is on.
fn facade(config: &Config) -> Option<Facade> {
    let section = &config.facade;
    let crl_url = section.crl_url.clone().filter(|_| section.enabled)?;
    Some(Facade::new(crl_url, section.access_lifetime))
}

/// Checks that there is, or will be, a secret for the API keys; makes none.
///
/// # Errors
/// [`AppError`] says what is missing or wrong.
pub fn check_secret(config: &Config) -> Result<(), AppError> {
    match (configured_secret(config)?, database_url(config)?) {
        (Some(_), _) | (None, DatabaseUrl::Sqlite(_)) => Ok(()),
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
}

fn configured_secret(config: &Config) -> Result<Option<Secret>, AppError> {
    match (&config.api_keys.secret, &config.api_keys.secret_file) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(path)) => read_secret(path.clone()).map(Some),
        (None, None) => Ok(None),
    }
}

/// The secret of the API keys: as configured, or, beside an embedded database, in a file that is made once.
fn open_pepper(config: &Config, url: &DatabaseUrl) -> Result<Pepper, AppError> {
    match (configured_secret(config)?, url) {
        (Some(secret), _) => Ok(Pepper::new(secret.expose())?),
        (None, DatabaseUrl::Sqlite(path)) => {
            let mut name = path.clone().into_os_string();
            name.push(".api-key-secret");
            Ok(Pepper::beside_the_database(&PathBuf::from(name))?)
        }
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
}

fn read_secret(path: PathBuf) -> Result<Secret, AppError> {
    match fs::read_to_string(&path) {
        Ok(text) => text
            .parse()
            .map_err(|error| AppError::SecretMalformed { path, error }),
        Err(error) => Err(AppError::SecretUnreadable { path, error }),
    }
}
