//! The key of the API's TLS certificate.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use thiserror::Error;

use crate::regular_file;
use crate::signer::key::warn_if_open_to_others;
use crate::signer::{SecretSource, SignerError, pem};

/// Why the key cannot be used.
#[derive(Debug, Error)]
pub enum TlsKeyError {
    #[error("cannot read the TLS key `{}`: {error}", .path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the TLS key `{}` contains no private key in PEM", .0.display())]
    NoKey(PathBuf),
    #[error(
        "the TLS key `{}` is encrypted and no passphrase is configured; set `server.tls_passphrase_file`, or decrypt \
         the key with `openssl pkey` and restrict the permissions of the file",
        .0.display()
    )]
    Encrypted(PathBuf),
    #[error("the TLS key `{}` is encrypted, and the configured passphrase does not decrypt it", .0.display())]
    Passphrase(PathBuf),
    #[error(transparent)]
    PassphraseFile(#[from] SignerError),
    #[error("the TLS key `{}` is malformed: {error}", .path.display())]
    Malformed { path: PathBuf, error: ErrorStack },
}

/// Reads the key, of any type that TLS supports. Never prompts for a passphrase, as OpenSSL would
/// on a terminal.
pub(super) fn read_tls_key(
    path: &Path,
    passphrase_file: Option<&Path>,
) -> Result<PKey<Private>, TlsKeyError> {
    let path_buf = || path.to_owned();
    let bytes = regular_file::read(path, regular_file::MAX_BYTES).map_err(|error| {
        TlsKeyError::Unreadable {
            path: path_buf(),
            error,
        }
    })?;
    warn_if_open_to_others("TLS key", path);
    let block = pem::private_key(&pem::text(&bytes));
    let block = block.ok_or_else(|| TlsKeyError::NoKey(path_buf()))?;
    let read = |passphrase| PKey::private_key_from_pem_passphrase(block.as_bytes(), passphrase);
    match (pem::is_encrypted(&block), passphrase_file) {
        (false, _) => read(b"").map_err(|error| TlsKeyError::Malformed {
            path: path_buf(),
            error,
        }),
        (true, None) => Err(TlsKeyError::Encrypted(path_buf())),
        (true, Some(file)) => {
            let source = SecretSource::File(file.to_owned());
            let passphrase = source.read("passphrase of the TLS key")?;
            let key = read(passphrase.expose().as_bytes());
            key.map_err(|_| TlsKeyError::Passphrase(path_buf()))
        }
    }
}
