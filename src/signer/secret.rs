//! The source of a passphrase or a PIN.

use std::path::PathBuf;

use super::SignerError;
use super::file_stamp::KeyFileStamp;
use super::key::warn_if_open_to_others;
use crate::domain::Passphrase;
use crate::regular_file;

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
        self.read_stamped(what).map(|(secret, _)| secret)
    }

    /// Reads the secret, and the stamp of its file if it is in one.
    pub(super) fn read_stamped(
        &self,
        what: &'static str,
    ) -> Result<(Passphrase, Option<KeyFileStamp>), SignerError> {
        let path = match self {
            Self::Given(text) => return Ok((text.clone(), None)),
            Self::File(path) => path,
        };
        let unreadable = |source| SignerError::Unreadable {
            what,
            path: path.clone(),
            source,
        };
        let stamp = KeyFileStamp::of(path).map_err(unreadable)?;
        let text = regular_file::read_text(path).map_err(unreadable)?;
        if KeyFileStamp::of(path).map_err(unreadable)? != stamp {
            return Err(SignerError::Unsettled);
        }
        warn_if_open_to_others(what, path);
        Ok((Passphrase::from(text.as_str()), Some(stamp)))
    }
}
