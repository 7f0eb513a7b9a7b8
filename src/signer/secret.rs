//! The source of a passphrase or a PIN.

use std::fs;
use std::path::PathBuf;

use super::SignerError;
use super::key::warn_if_open_to_others;
use crate::domain::Passphrase;

/// The secret itself, or a file that contains it. The file is read for each use, so it can change
/// while the service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Given(Passphrase),
    File(PathBuf),
}

impl SecretSource {
    /// Reads the secret. `what` names it in errors and warnings.
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
