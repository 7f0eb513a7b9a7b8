//! Signing keys: what signs, and the first kind of it, a key in a PEM file.

use std::fmt;
use std::fs;
use std::path::Path;

use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::sha256;

use super::SignerError;

/// Bytes of an ES256 signature: R and S, 32 bytes each.
pub const SIGNATURE_LENGTH: usize = 64;

/// A P-256 key that signs: in a file here, in a module of hardware elsewhere.
pub trait SigningKey: fmt::Debug + Send + Sync {
    /// Signs with ES256 (RFC 7518 §3.4): ECDSA on P-256 over SHA-256 of the message; R, then S, each 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`SignerError`] if the key is out of reach or the library fails.
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], SignerError>;

    /// The public key as DER of a `SubjectPublicKeyInfo` (RFC 5480 §2), to compare with a certificate's.
    fn public_key_der(&self) -> &[u8];
}

/// A key that was read from a PEM file.
///
/// The nonce of a signature is not the deterministic one of RFC 6979, which RFC 8725 §3.2 says SHOULD be used. OpenSSL
/// 3 hedges instead: it hashes fresh random bits together with the private key and the message, so that a weak random
/// generator alone does not give the key away, which is what that rule is for; and unlike a deterministic nonce, the
/// hedged one does not lend itself to fault attacks that compare two signatures of one message.
pub struct FileKey {
    key: EcKey<Private>,
    public_key_der: Vec<u8>,
}

impl FileKey {
    /// Reads the key from a file, and warns when other users of the machine may read it too.
    ///
    /// # Errors
    /// [`SignerError`] says what is wrong with the file or the key in it.
    pub fn open(path: &Path) -> Result<Self, SignerError> {
        let pem = fs::read(path).map_err(|source| SignerError::Unreadable {
            what: "signing key",
            path: path.to_owned(),
            source,
        })?;
        warn_if_open_to_others(path);
        Self::from_pem(&pem)
    }

    /// Reads the key from PEM: `EC PRIVATE KEY` (RFC 5915) or `PRIVATE KEY` (PKCS #8, RFC 5958).
    ///
    /// # Errors
    /// [`SignerError`] for a key that is encrypted, public, of another type, on another curve, or not consistent.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        let text = String::from_utf8_lossy(pem);
        check_label(&text)?;
        // With an empty passphrase at hand OpenSSL never asks for one on the terminal.
        let key = PKey::private_key_from_pem_passphrase(pem, b"")
            .map_err(|e| SignerError::KeyMalformed(e.to_string()))?;
        if key.id() != Id::EC {
            return Err(SignerError::KeyType(type_name(key.id())));
        }
        let public_key_der = key.public_key_to_der()?;
        let key = key.ec_key()?;
        match key.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1) => {}
            Some(curve) => return Err(SignerError::KeyCurve(curve.short_name()?.to_owned())),
            None => return Err(SignerError::KeyCurve("without a name".to_owned())),
        }
        key.check_key()
            .map_err(|e| SignerError::KeyMalformed(e.to_string()))?;
        Ok(Self {
            key,
            public_key_der,
        })
    }
}

impl SigningKey for FileKey {
    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LENGTH], SignerError> {
        let signature = EcdsaSig::sign(&sha256(message), &self.key)?;
        let half = SIGNATURE_LENGTH / 2;
        let width = i32::try_from(half).unwrap_or(i32::MAX);
        let mut bytes = [0; SIGNATURE_LENGTH];
        bytes[..half].copy_from_slice(&signature.r().to_vec_padded(width)?);
        bytes[half..].copy_from_slice(&signature.s().to_vec_padded(width)?);
        Ok(bytes)
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }
}

/// Nothing of the private key.
impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").finish_non_exhaustive()
    }
}

/// Tells from the PEM labels what else the file is, since OpenSSL would only say that there is no start line.
fn check_label(pem: &str) -> Result<(), SignerError> {
    let labels: Vec<&str> = pem
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("-----BEGIN ")?
                .strip_suffix("-----")
        })
        .collect();
    if labels.contains(&"ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(SignerError::KeyEncrypted);
    }
    if labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
        return Ok(());
    }
    Err(SignerError::NotAPrivateKey {
        found: labels.first().map_or_else(
            || "no PEM at all".to_owned(),
            |label| format!("`{}`", label.escape_debug()),
        ),
    })
}

fn type_name(id: Id) -> String {
    match id {
        Id::RSA | Id::RSA_PSS => "RSA".to_owned(),
        Id::ED25519 => "Ed25519".to_owned(),
        Id::ED448 => "Ed448".to_owned(),
        other => Nid::from_raw(other.as_raw())
            .short_name()
            .map_or_else(|_| "unknown".to_owned(), str::to_owned),
    }
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o777);
    if mode & 0o077 != 0 {
        let path = path.display().to_string();
        let mode = format!("{mode:03o}");
        log::warn!(path, mode; "the signing key's file is open to other users than its owner; chmod 600 closes it");
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_path: &Path) {}
