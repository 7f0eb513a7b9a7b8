//! Converts each section of the configuration to the settings of the module that uses it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use crate::api::{Facade, UploadShares, Uploads};
use crate::authority::{
    Carrier, ControlSettings, Lifetimes, LimitClock, Limits, ProofLimits, Rate, ReadinessSettings,
    Rotation,
};
use crate::callers::{Pepper, PepperError, Peppers};
use crate::config::{self, Config};
use crate::domain::Passphrase;
use crate::domain::replica::{SharedSettings, SpcList};
use crate::signer::key_pool::PoolSettings;
use crate::signer::pkcs11::Pkcs11;
use crate::signer::{SecretSource, SignerError, Sources};
use crate::store::{
    DatabaseTimeouts, DatabaseUrl, PostgresSettings, PreparedMode, Purpose, Settings,
};
use crate::webhooks::{SenderSettings, SystemNames};

/// The URL of the database, parsed, with the configured bounds of a connection.
pub fn database_url(config: &Config) -> Result<DatabaseUrl, AppError> {
    parsed(config, &config.database.url)
}

/// The URL at which migrations are applied.
pub fn migrate_url(config: &Config) -> Result<DatabaseUrl, AppError> {
    let section = &config.database;
    parsed(config, section.migrate_url.as_ref().unwrap_or(&section.url))
}

fn parsed(config: &Config, url: &config::SecretUrl) -> Result<DatabaseUrl, AppError> {
    let url: DatabaseUrl = url.expose().parse()?;
    Ok(url.with_timeouts(&database_timeouts(&config.database)))
}

/// How long the database is waited for.
#[must_use]
pub fn database_timeouts(section: &config::Database) -> DatabaseTimeouts {
    DatabaseTimeouts {
        connect: Duration::from_secs(section.connect_timeout),
        tcp_user: Duration::from_secs(section.tcp_user_timeout),
        lock: Duration::from_secs(section.lock_timeout),
        statement: Duration::from_secs(section.statement_timeout),
        idle_in_transaction: Duration::from_secs(section.idle_in_transaction_timeout),
        reconnect: Duration::from_secs(section.reconnect_wait),
        request: Duration::from_secs(section.request_timeout),
        long_statement: Duration::from_secs(section.long_statement_timeout),
    }
}

fn prepared_statements(section: &config::Database) -> PreparedMode {
    match section.prepared_statements {
        config::PreparedStatements::Auto => PreparedMode::Auto,
        config::PreparedStatements::Off => PreparedMode::Off,
    }
}

pub(super) fn store(config: &Config, purpose: Purpose) -> Result<Settings, AppError> {
    Ok(Settings {
        url: database_url(config)?,
        purpose,
        pool_size: config.database.pool_size,
        migrate: config.database.migrate,
        queue: config.writer.queue,
        batch: config.writer.batch,
        postgres: PostgresSettings {
            timeouts: database_timeouts(&config.database),
            prepared_statements: prepared_statements(&config.database),
            migrate_url: Some(migrate_url(config)?),
        },
    })
}

/// Where to scan for keys and certificate chains, and the service provider codes they can sign for.
pub(super) fn signer_sources(config: &Config) -> Result<Sources, AppError> {
    let section = &config.signer;
    if section.dir.is_none() && section.chain_file.is_none() {
        return Err(AppError::NoSigner);
    }
    if config.carrier.spcs.is_empty() {
        return Err(AppError::NoSpc);
    }
    let key_uri = section.key_uri.as_deref().map(str::parse);
    Ok(Sources {
        key_file: section.key_file.clone(),
        keys: Vec::new(),
        key_uri: key_uri.transpose().map_err(SignerError::from)?,
        chain_file: section.chain_file.clone(),
        dir: section.dir.clone(),
        passphrase: passphrase(section),
        pkcs11: pkcs11(&section.pkcs11),
        public_url: config.server.public_url.clone(),
        x5c: section.x5c,
        spcs: config.carrier.spcs.clone(),
    })
}

pub(super) fn rotation(section: &config::Signer) -> Rotation {
    Rotation {
        publication_delay: section.publication_delay,
    }
}

/// The settings for hardware security modules.
#[must_use]
pub fn pkcs11(section: &config::Pkcs11) -> Pkcs11 {
    Pkcs11 {
        module: section.module.clone(),
        pin: secret(section.pin.as_ref(), section.pin_file.as_ref()),
        pool: PoolSettings {
            sessions: section.sessions,
            queue: section.queue,
            timeout: Duration::from_secs(section.timeout),
        },
        open_timeout: Duration::from_secs(section.open_timeout),
    }
}

/// The source of the passphrase of encrypted keys.
#[must_use]
pub fn passphrase(section: &config::Signer) -> Option<SecretSource> {
    secret(
        section.passphrase.as_ref(),
        section.passphrase_file.as_ref(),
    )
}

fn secret(given: Option<&Passphrase>, file: Option<&PathBuf>) -> Option<SecretSource> {
    let given = given.cloned().map(SecretSource::Given);
    given.or_else(|| file.cloned().map(SecretSource::File))
}

pub(super) fn carrier(section: &config::Carrier) -> Carrier {
    Carrier {
        spcs: section.spcs.clone(),
        account: section.account.clone(),
    }
}

/// The name of this process for operators of other replicas: that of the machine, and its id.
fn replica_name() -> String {
    // As `hostname` prints it; containers have a name of their own.
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    let host: String = host.chars().filter(is_plain).take(64).collect();
    format!("{host}:{}", std::process::id())
}

/// When this replica is ready, and what it must have in common with the others.
pub(super) fn readiness(
    config: &Config,
    peppers: &Peppers,
) -> Result<ReadinessSettings, PepperError> {
    let previous = peppers.previous().map(Pepper::name).transpose()?;
    let previous_spcs = &config.carrier.previous_spcs;
    Ok(ReadinessSettings {
        name: replica_name(),
        shared: SharedSettings {
            secrets: [peppers.name().to_owned()]
                .into_iter()
                .chain(previous)
                .collect(),
            spcs: SpcList::new(&config.carrier.spcs),
            previous_spcs: (!previous_spcs.is_empty()).then(|| SpcList::new(previous_spcs)),
        },
        max_age: Duration::from_secs(config.server.ready_age.into()),
        require_synchronous: config.database.require_synchronous,
        trust_storage: config.database.trust_storage,
        max_clock_offset: config.database.max_clock_offset,
    })
}

pub(super) fn lifetimes(section: &config::Tokens) -> Lifetimes {
    Lifetimes {
        default: section.default_lifetime,
        minimum: section.min_lifetime,
        maximum: section.max_lifetime,
        horizon: section.max_horizon,
    }
}

pub(super) fn limits(section: &config::Limits) -> Limits {
    let rate = |per_second, burst| Rate { per_second, burst };
    Limits::new(
        rate(section.caller_rate, section.caller_burst),
        rate(section.account_rate, section.account_burst),
        rate(section.unproven_rate, section.unproven_burst),
        &LimitClock::default(),
    )
}

pub(super) fn control(section: &config::Control) -> ControlSettings {
    let gateways = section.gateways.iter();
    let methods = |gateway: &config::Gateway| gateway.methods.iter().copied().collect();
    ControlSettings {
        digits: section.digits,
        valid: section.valid,
        tries: section.tries,
        sample: section.sample,
        limits: ProofLimits {
            per_number_hour: section.per_number_hour,
            per_number_day: section.per_number_day,
            per_account_hour: section.per_account_hour,
            per_gateway_hour: section.per_gateway_hour,
            wrong_codes_per_account_day: section.wrong_codes_per_account_day,
        },
        gateways: gateways
            .map(|(name, gateway)| (name.clone(), methods(gateway)))
            .collect(),
    }
}

pub(super) fn uploads(section: &config::Imports) -> Uploads {
    Uploads {
        dir: section.dir.clone().unwrap_or_else(std::env::temp_dir),
        max_bytes: section.max_upload_bytes,
        min_rate: section.min_upload_rate,
        shares: UploadShares::of(section.queue),
        max_ended_ppm: section.max_ended_share.ppm(),
    }
}

/// The facade, if it is enabled.
pub(super) fn facade(section: &config::Facade) -> Option<Facade> {
    let crl_url = section.crl_url.clone().filter(|_| section.enabled)?;
    Some(Facade::new(crl_url, section.access_lifetime))
}

/// The secrets of the webhooks are derived from `key`, and from `previous_key` before it.
pub(super) fn webhooks(
    section: &config::Webhooks,
    key: Vec<u8>,
    previous_key: Option<Vec<u8>>,
) -> SenderSettings {
    SenderSettings {
        allow_private: section.allow_private.clone(),
        nat64_prefixes: section.nat64_prefixes.clone(),
        ca_file: section.ca_file.clone(),
        key,
        previous_key,
        names: Arc::new(SystemNames),
    }
}
