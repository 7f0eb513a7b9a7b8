//! Authenticated encryption of what the database keeps for a short time: AES-256-GCM with a random
//! nonce. The keys are derived from the secret of the API keys, which is not in the database.

use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use thiserror::Error;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Why something cannot be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    #[error("OpenSSL cannot encrypt: {0}")]
    OpenSsl(String),
    /// It was altered, or the secret of the API keys was changed.
    #[error("what is stored cannot be decrypted")]
    Broken,
}

impl From<ErrorStack> for SealError {
    fn from(error: ErrorStack) -> Self {
        Self::OpenSsl(error.to_string())
    }
}

/// Encrypts with a key of 32 bytes. Returns nonce, ciphertext and tag.
pub(super) fn close(key: &[u8], associated_data: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
    let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
    rand_bytes(&mut nonce)?;
    let cipher = Cipher::aes_256_gcm();
    let closed = encrypt_aead(cipher, key, Some(&nonce), associated_data, text, &mut tag)?;
    Ok([nonce.as_slice(), &closed, &tag].concat())
}

/// Decrypts what [`close`] returned.
///
/// # Errors
/// [`SealError::Broken`] if it was not encrypted with this key and this associated data.
pub(super) fn open(
    key: &[u8],
    associated_data: &[u8],
    closed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let split = closed.split_at_checked(NONCE);
    let (nonce, rest) = split.ok_or(SealError::Broken)?;
    let length = rest.len().checked_sub(TAG);
    let (closed, tag) = rest.split_at(length.ok_or(SealError::Broken)?);
    let cipher = Cipher::aes_256_gcm();
    decrypt_aead(cipher, key, Some(nonce), associated_data, closed, tag)
        .map_err(|_| SealError::Broken)
}

/// Appends a text, preceded by its length, so that two different lists are never encoded alike.
pub(super) fn part(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&(text.len() as u64).to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}
