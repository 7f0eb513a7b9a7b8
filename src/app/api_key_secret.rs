//! The API key secret: API keys are hashed with it, and other secrets are derived from it.

use std::path::{Path, PathBuf};

use super::{AppError, database_url};
use crate::callers::{Pepper, Peppers};
use crate::config::{Config, Secret};
use crate::domain::Clock;
use crate::regular_file;
use crate::signer::key::warn_if_open_to_others;
use crate::store::{DatabaseUrl, KeysByApiKeySecret, Page, Store, StoreError, Tx};
use crate::webhooks::{Secrets, SendError};

/// What warnings call the secret.
const WHAT: &str = "API key secret";
/// The end of the name of a generated secret's file.
const GENERATED: &str = ".api-key-secret";

/// What is still made with the previous API key secret, or with one that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKeySecretUse {
    pub keys: KeysByApiKeySecret,
    /// Whether a previous secret is configured.
    pub has_previous: bool,
    /// Webhooks in use whose owners have a secret that is not derived from the newest one.
    pub webhooks: i64,
    /// Webhooks in use whose owners have a secret that is derived from neither.
    pub lost_webhooks: i64,
}

impl ApiKeySecretUse {
    /// The keys that have not been hashed anew since the secret was changed.
    #[must_use]
    pub const fn waiting_keys(&self) -> i64 {
        if self.has_previous {
            self.keys.previous + self.keys.unknown
        } else {
            0
        }
    }

    /// The keys that do not work, since they are hashed with neither secret.
    #[must_use]
    pub const fn lost_keys(&self) -> i64 {
        self.keys.lost()
    }

    /// Whether there are keys and none of them works: most likely, the configured secret is not the
    /// one of this database.
    #[must_use]
    pub const fn is_of_another_database(&self) -> bool {
        self.keys.total > 0 && self.lost_keys() == self.keys.total
    }
}

/// Checks that the API key secrets exist or would be generated. Generates nothing.
pub fn check_secret(config: &Config) -> Result<(), AppError> {
    previous_pepper(config)?;
    match (configured_secret(config)?, database_url(config)?) {
        (Some(_), _) | (None, DatabaseUrl::Sqlite(_)) => Ok(()),
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
}

/// Counts what is made with which API key secret; `None` if the secret is still to be generated.
pub fn api_key_secret_use(
    config: &Config,
    clock: &Clock,
) -> Result<Option<ApiKeySecretUse>, AppError> {
    let url = database_url(config)?;
    if let Some(path) = generated_secret(config)?.filter(|path| !path.exists()) {
        let has_keys = Store::read_once(&url, has_api_keys)?;
        return if has_keys {
            Err(AppError::SecretMissing(path))
        } else {
            Ok(None)
        };
    }
    let peppers = open_peppers(config, &url)?;
    let previous = peppers.previous().map(Pepper::name).transpose()?;
    let derived = Secrets::new(&peppers.newest().derive("webhooks")?, None);
    let derived = derived.map_err(SendError::from)?;
    let derived_before = match peppers.previous() {
        Some(previous) => {
            let secrets = Secrets::new(&previous.derive("webhooks")?, None);
            Some(secrets.map_err(SendError::from)?)
        }
        None => None,
    };
    let (keys, webhooks, lost_webhooks) = Store::read_once(&url, |tx| {
        let (newest, previous) = (peppers.name(), previous.as_deref());
        Ok((
            tx.keys_by_api_key_secret(newest, previous, clock.now())?,
            tx.count_webhooks_derived_otherwise(derived.name())?,
            tx.count_webhooks_derived_from_neither(
                derived.name(),
                derived_before.as_ref().map(Secrets::name),
            )?,
        ))
    })?;
    Ok(Some(ApiKeySecretUse {
        keys,
        has_previous: previous.is_some(),
        webhooks,
        lost_webhooks,
    }))
}

/// Fails if a secret would be generated although there are API keys already, as after a restore
/// without it: no key would be accepted, without a reason in sight.
pub(super) fn check_secret_of_keys(config: &Config, store: &Store) -> Result<(), AppError> {
    let Some(path) = generated_secret(config)?.filter(|path| !path.exists()) else {
        return Ok(());
    };
    match store.read(has_api_keys) {
        Ok(false) => Ok(()),
        Ok(true) => Err(AppError::SecretMissing(path)),
        Err(error) => Err(AppError::ApiKeys(error)),
    }
}

/// Logs that no key works, or that some do not, since callers only see that they are refused.
pub(super) fn warn_of_lost_keys(
    store: &Store,
    peppers: &Peppers,
    clock: &Clock,
) -> Result<(), AppError> {
    let previous = peppers.previous().map(Pepper::name).transpose()?;
    let counted = store
        .read(|tx| tx.keys_by_api_key_secret(peppers.name(), previous.as_deref(), clock.now()));
    let keys = counted.map_err(AppError::ApiKeys)?;
    let lost = keys.lost();
    if lost > 0 && lost == keys.total {
        log::error!("{}", AppError::OtherSecret { keys: lost });
    } else if lost > 0 {
        let total = keys.total;
        log::warn!(
            "{lost} of {total} API keys in use are hashed with another secret and do not work; see `check`"
        );
    }
    Ok(())
}

fn has_api_keys(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    Ok(!tx.list_api_keys(&Page::new(1, None))?.items.is_empty())
}

/// The API key secret: as configured, or, with SQLite, from a file next to the database that is
/// generated once; and the one before it, if it is configured.
pub(super) fn open_peppers(config: &Config, url: &DatabaseUrl) -> Result<Peppers, AppError> {
    let newest = match (configured_secret(config)?, url) {
        (Some(secret), _) => Pepper::new(secret.expose())?,
        (None, DatabaseUrl::Sqlite(path)) => {
            let path = secret_beside(path);
            let pepper = Pepper::load_or_create(&path)?;
            warn_if_open_to_others(WHAT, &path);
            pepper
        }
        (None, DatabaseUrl::Postgres(_)) => return Err(AppError::NoSecret),
    };
    Ok(Peppers::new(newest, previous_pepper(config)?)?)
}

/// The previous secret, in the form of a configured one or of a generated one.
fn previous_pepper(config: &Config) -> Result<Option<Pepper>, AppError> {
    let Some(path) = &config.api_keys.previous_secret_file else {
        return Ok(None);
    };
    let is_generated = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().ends_with(GENERATED.as_bytes()));
    if is_generated {
        warn_if_open_to_others(WHAT, path);
        return Ok(Some(Pepper::load(path)?));
    }
    Ok(Some(Pepper::new(read_secret(path.clone())?.expose())?))
}

/// The file of the API key secret, if it is generated: on SQLite, without another in the
/// configuration.
pub fn generated_secret(config: &Config) -> Result<Option<PathBuf>, AppError> {
    Ok(match (configured_secret(config)?, database_url(config)?) {
        (None, DatabaseUrl::Sqlite(path)) => Some(secret_beside(&path)),
        (Some(_), DatabaseUrl::Sqlite(_)) | (_, DatabaseUrl::Postgres(_)) => None,
    })
}

fn secret_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(GENERATED);
    PathBuf::from(name)
}

fn configured_secret(config: &Config) -> Result<Option<Secret>, AppError> {
    match (&config.api_keys.secret, &config.api_keys.secret_file) {
        (Some(secret), _) => Ok(Some(secret.clone())),
        (None, Some(path)) => read_secret(path.clone()).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: PathBuf) -> Result<Secret, AppError> {
    warn_if_open_to_others(WHAT, &path);
    match regular_file::read_text(&path) {
        Ok(text) => text
            .parse()
            .map_err(|error| AppError::SecretMalformed { path, error }),
        Err(error) => Err(AppError::SecretUnreadable { path, error }),
    }
}
