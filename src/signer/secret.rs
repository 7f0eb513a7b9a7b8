//! Where a passphrase or a PIN comes from.

use std::fs;
use std::path::PathBuf;

use super::SignerError;
use super::key::warn_if_open_to_others;
use crate::domain::Passphrase;

/// The text itself, or a file that holds it and is read each time, so that it may change while the service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Given(Passphrase),
    File(PathBuf),
}

impl SecretSource {
    /// Reads it.
    ///
    /// # Errors
    /// [`SignerError`] if the file cannot be read.
    pub fn read(&self, what: &'static str) -> Result<Passphrase, SignerError> {
        match self {
            Self::Given(text) => Ok(text.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(|source| SignerError::Unreadable {
                    what,
                    path: path.clone(),
                    source,
                })?;
                warn_if_open_to_others(what, path);
                Ok(Passphrase::from(text.as_str()))
            }
        }
    }
}
