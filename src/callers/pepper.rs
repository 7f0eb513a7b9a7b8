//! The key of the keyed hash: a secret of the service that is not in its database, so that a copy of the database proves
//! nobody.

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

const LENGTH: usize = 32;

/// Why there is no key for the keyed hash.
#[derive(Debug, Error)]
pub enum PepperError {
    #[error("the secret of the API keys has {0} bytes; it needs at least {LENGTH}")]
    TooShort(usize),
    #[error("the secret of the API keys cannot be read from `{path}`: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("the secret of the API keys cannot be kept in `{path}`: {error}")]
    Write { path: String, error: std::io::Error },
    #[error("OpenSSL does not take the secret of the API keys: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The key of the keyed hash.
pub struct Pepper(PKey<Private>);

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(..)")
    }
}

impl Pepper {
    /// Takes a secret of at least 32 bytes.
    ///
    /// # Errors
    /// [`PepperError`] if it is shorter.
    pub fn new(secret: &[u8]) -> Result<Self, PepperError> {
        if secret.len() < LENGTH {
            return Err(PepperError::TooShort(secret.len()));
        }
        Ok(Self(PKey::hmac(secret)?))
    }

    /// Reads the secret from a file, or makes both when there is none. For an embedded database, which no other replica
    /// shares.
    ///
    /// # Errors
    /// [`PepperError`] if the file can be neither read nor made.
    pub fn beside_the_database(path: &Path) -> Result<Self, PepperError> {
        let shown = || path.display().to_string();
        let mut fresh = vec![0; LENGTH];
        rand_bytes(&mut fresh)?;
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(mut file) => {
                let written = file.write_all(&fresh).and_then(|()| file.sync_all());
                written.map_err(|error| PepperError::Write {
                    path: shown(),
                    error,
                })?;
                Self::new(&fresh)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let known = fs::read(path).map_err(|error| PepperError::Read {
                    path: shown(),
                    error,
                })?;
                Self::new(&known)
            }
            Err(error) => Err(PepperError::Write {
                path: shown(),
                error,
            }),
        }
    }

    /// A key for another purpose, which tells nothing of this one.
    ///
    /// # Errors
    /// [`PepperError`] if OpenSSL cannot make it.
    pub fn derive(&self, purpose: &str) -> Result<Vec<u8>, PepperError> {
        // No secret part of an API key has a space in it.
        Ok(self.hash(format!("derived key: {purpose}").as_bytes())?)
    }

    /// HMAC-SHA256 of a secret.
    pub(super) fn hash(&self, secret: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Signer::new(MessageDigest::sha256(), &self.0)?.sign_oneshot_to_vec(secret)
    }
}
