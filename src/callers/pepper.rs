//! The secret of the API keys: the key of the keyed hash under which their secrets are stored. It
//! is not in the database, so a copy of the database authenticates no one.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;
use openssl::sign::Signer;
use thiserror::Error;

use crate::regular_file;

const LENGTH: usize = 32;

/// Why the secret of the API keys is not available.
#[derive(Debug, Error)]
pub enum PepperError {
    #[error("the secret of the API keys has {0} bytes; at least {LENGTH} are required")]
    TooShort(usize),
    #[error("the secret of the API keys cannot be read from `{path}`: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("the secret of the API keys cannot be written to `{path}`: {error}")]
    Write { path: String, error: std::io::Error },
    #[error("OpenSSL cannot use the secret of the API keys: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The secret of the API keys.
pub struct Pepper(PKey<Private>);

/// The secret of the API keys, and the one before it, which still works while keys are hashed anew.
#[derive(Debug)]
pub struct Peppers {
    pub(super) newest: Pepper,
    pub(super) previous: Option<Pepper>,
    /// The name of the newest one.
    name: String,
}

impl Peppers {
    /// # Errors
    /// [`PepperError`] if OpenSSL cannot use one of them.
    pub fn new(newest: Pepper, previous: Option<Pepper>) -> Result<Self, PepperError> {
        let name = newest.name()?;
        // One that is configured as both has no predecessor.
        let is_other = |previous: &Pepper| !previous.name().is_ok_and(|other| other == name);
        Ok(Self {
            previous: previous.filter(is_other),
            newest,
            name,
        })
    }

    /// The secret that new hashes are made with.
    #[must_use]
    pub const fn newest(&self) -> &Pepper {
        &self.newest
    }

    #[must_use]
    pub const fn previous(&self) -> Option<&Pepper> {
        self.previous.as_ref()
    }

    /// The name of the newest one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(..)")
    }
}

impl Pepper {
    /// # Errors
    /// [`PepperError`] if the secret has fewer than 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, PepperError> {
        if secret.len() < LENGTH {
            return Err(PepperError::TooShort(secret.len()));
        }
        Ok(Self(PKey::hmac(secret)?))
    }

    /// Reads the secret from a file. If there is no file, generates a secret and writes it. For an
    /// embedded database, which is not shared with other replicas.
    pub fn load_or_create(path: &Path) -> Result<Self, PepperError> {
        let path_text = || path.display().to_string();
        let mut new = vec![0; LENGTH];
        rand_bytes(&mut new)?;
        let created = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match created {
            Ok(mut file) => {
                let written = file.write_all(&new).and_then(|()| file.sync_all());
                written.map_err(|error| PepperError::Write {
                    path: path_text(),
                    error,
                })?;
                Self::new(&new)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(PepperError::Write {
                path: path_text(),
                error,
            }),
        }
    }

    /// Reads the secret from a file that [`Pepper::load_or_create`] has written.
    pub fn load(path: &Path) -> Result<Self, PepperError> {
        let secret = regular_file::read(path, regular_file::MAX_BYTES).map_err(|error| {
            PepperError::Read {
                path: path.display().to_string(),
                error,
            }
        })?;
        Self::new(&secret)
    }

    /// Derives a key for another purpose, which reveals nothing about this one.
    pub fn derive(&self, purpose: &str) -> Result<Vec<u8>, PepperError> {
        // The secret of an API key has no space, so this input differs from all of those.
        Ok(self.hash(format!("derived key: {purpose}").as_bytes())?)
    }

    /// Identifies the secret, and reveals nothing of it: 16 hex digits.
    pub fn name(&self) -> Result<String, PepperError> {
        let derived = self.derive("name")?;
        Ok(hex::encode(&derived[..8]))
    }

    /// HMAC-SHA256 of a secret.
    pub(super) fn hash(&self, secret: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Signer::new(MessageDigest::sha256(), &self.0)?.sign_oneshot_to_vec(secret)
    }
}
