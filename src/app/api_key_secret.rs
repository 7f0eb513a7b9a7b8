//! The API key secret: API keys are hashed with it, and other secrets are derived from it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{AppError, database_url};
use crate::callers::Pepper;
use crate::config::{Config, Secret};
use crate::store::{DatabaseUrl, Page, Store};

/// Checks that the API key secret exists or would be generated. Generates nothing.
pub fn check_secret(config: &Config) -> Result<(), AppError> {
    match (configured_secret(config)?, database_url(config)?) {
        (Some(_), _) | (None, DatabaseUrl::Sqlite(_)) => Ok(()),
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
}

/// Fails if a secret would be generated although there are API keys already, as after a restore
/// without it: no key would be accepted, without a reason in sight.
pub(super) fn check_secret_of_keys(config: &Config, store: &Store) -> Result<(), AppError> {
    let Some(path) = generated_secret(config)?.filter(|path| !path.exists()) else {
        return Ok(());
    };
    let first = store.read(|tx| tx.list_api_keys(&Page::new(1, None)));
    match first {
        Ok(page) if page.items.is_empty() => Ok(()),
        Ok(_) => Err(AppError::SecretMissing(path)),
        Err(error) => Err(AppError::ApiKeys(error)),
    }
}

/// The API key secret: as configured, or, with SQLite, from a file next to the database that is
/// generated once.
pub(super) fn open_pepper(config: &Config, url: &DatabaseUrl) -> Result<Pepper, AppError> {
    match (configured_secret(config)?, url) {
        (Some(secret), _) => Ok(Pepper::new(secret.expose())?),
        (None, DatabaseUrl::Sqlite(path)) => Ok(Pepper::load_or_create(&secret_beside(path))?),
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
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
    name.push(".api-key-secret");
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
    match fs::read_to_string(&path) {
        Ok(text) => text
            .parse()
            .map_err(|error| AppError::SecretMalformed { path, error }),
        Err(error) => Err(AppError::SecretUnreadable { path, error }),
    }
}
