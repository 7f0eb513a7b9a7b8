//! The API key secret: API keys are hashed with it, and other secrets are derived from it.

use std::fs;
use std::path::PathBuf;

use super::{AppError, database_url};
use crate::callers::Pepper;
use crate::config::{Config, Secret};
use crate::store::DatabaseUrl;

/// Checks that the API key secret exists or would be generated. Generates nothing.
pub fn check_secret(config: &Config) -> Result<(), AppError> {
    match (configured_secret(config)?, database_url(config)?) {
        (Some(_), _) | (None, DatabaseUrl::Sqlite(_)) => Ok(()),
        (None, DatabaseUrl::Postgres(_)) => Err(AppError::NoSecret),
    }
}

/// The API key secret: as configured, or, with SQLite, from a file next to the database that is
/// generated once.
pub(super) fn open_pepper(config: &Config, url: &DatabaseUrl) -> Result<Pepper, AppError> {
    match (configured_secret(config)?, url) {
        (Some(secret), _) => Ok(Pepper::new(secret.expose())?),
        (None, DatabaseUrl::Sqlite(path)) => {
            let mut name = path.clone().into_os_string();
            name.push(".api-key-secret");
            Ok(Pepper::load_or_create(&PathBuf::from(name))?)
        }
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

fn read_secret(path: PathBuf) -> Result<Secret, AppError> {
    match fs::read_to_string(&path) {
        Ok(text) => text
            .parse()
            .map_err(|error| AppError::SecretMalformed { path, error }),
        Err(error) => Err(AppError::SecretUnreadable { path, error }),
    }
}
