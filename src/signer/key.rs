//! The trait of signing keys, and keys in PEM files. Keys in HSMs are in `pkcs11`.

use std::fmt;
use std::fs;
use std::path::Path;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::sha256;
use tokio::sync::oneshot;

use super::SignerError;
use super::p256::named_spki;
use super::pem;
use crate::domain::Passphrase;

/// Bytes of an ES256 signature: R and S, 32 bytes each.
pub const SIGNATURE_LENGTH: usize = 64;

/// An ES256 signature: R, then S, each 32 bytes, big-endian (RFC 7518 §3.4).
pub type Signature = [u8; SIGNATURE_LENGTH];

/// A P-256 key that signs, in a file or in an HSM.
pub trait SigningKey: fmt::Debug + Send + Sync {
    /// Signs with ES256 (RFC 7518 §3.4): ECDSA on P-256 over SHA-256 of the message. Never blocks:
    /// a slow key returns [`Signing::Later`].
    fn sign(&self, message: &[u8]) -> Signing;

    /// The public key as a DER-encoded `SubjectPublicKeyInfo` (RFC 5480 §2), to compare with a
    /// certificate's.
    fn public_key_der(&self) -> &[u8];

    /// Where the key is: `file` or `pkcs11`.
    fn kind(&self) -> &'static str;
}

/// A signature that is available now, or will be later.
#[derive(Debug)]
pub enum Signing {
    Done(Result<Signature, SignerError>),
    Later(oneshot::Receiver<Result<Signature, SignerError>>),
}

impl Signing {
    /// Waits for the signature without blocking a thread.
    ///
    /// # Errors
    /// [`SignerError`] if the key is unreachable, too slow, or returned an invalid signature.
    pub async fn outcome(self) -> Result<Signature, SignerError> {
        match self {
            Self::Done(outcome) => outcome,
            Self::Later(answer) => answer.await.map_err(|_| SignerError::KeyGone)?,
        }
    }

    /// Blocks until the signature is available; for commands, never on a thread that serves HTTP.
    pub fn wait(self) -> Result<Signature, SignerError> {
        match self {
            Self::Done(outcome) => outcome,
            Self::Later(answer) => answer.blocking_recv().map_err(|_| SignerError::KeyGone)?,
        }
    }
}

/// A key that was read from a PEM file.
///
/// The nonces of its signatures are not deterministic (RFC 6979), although RFC 8725 §3.2 recommends
/// that. OpenSSL 3 uses hedged nonces instead: it hashes fresh random bits together with the
/// private key and the message. A weak random generator alone therefore does not reveal the key,
/// which is the purpose of the recommendation; and hedged nonces also resist fault attacks that
/// compare two signatures of one message, which deterministic ones do not.
pub struct FileKey {
    key: EcKey<Private>,
    public_key_der: Vec<u8>,
}

impl FileKey {
    /// Reads the key from a file, and warns if other users of the machine can read it too.
    pub fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, SignerError> {
        let pem = fs::read(path).map_err(|source| SignerError::Unreadable {
            what: "signing key",
            path: path.to_owned(),
            source,
        })?;
        warn_if_open_to_others("signing key", path);
        match passphrase {
            Some(passphrase) => Self::from_encrypted_pem(&pem, passphrase),
            None => Self::from_pem(&pem),
        }
    }

    /// Generates a key and returns it with its PEM (PKCS #8). Nothing is written to disk.
    pub fn generate() -> Result<(Self, String), SignerError> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let pem = key.private_key_to_pem_pkcs8()?;
        Ok((
            Self::from_pem(&pem)?,
            String::from_utf8_lossy(&pem).into_owned(),
        ))
    }

    /// Reads the key from PEM: `EC PRIVATE KEY` (RFC 5915) or `PRIVATE KEY` (PKCS #8, RFC 5958).
    ///
    /// # Errors
    /// [`SignerError`] if the key is encrypted, public, of another type, on another curve, or
    /// inconsistent.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        Self::read(pem, None)
    }

    /// Reads the key from PEM that may be encrypted: `ENCRYPTED PRIVATE KEY` (RFC 5958), or
    /// `EC PRIVATE KEY` with the headers of RFC 1421.
    ///
    /// # Errors
    /// [`SignerError`] if the passphrase does not decrypt it, or as for [`FileKey::from_pem`].
    pub fn from_encrypted_pem(pem: &[u8], passphrase: &Passphrase) -> Result<Self, SignerError> {
        Self::read(pem, Some(passphrase))
    }

    fn read(file: &[u8], passphrase: Option<&Passphrase>) -> Result<Self, SignerError> {
        let text = pem::text(file);
        // OpenSSL would only report "no start line".
        let block = pem::private_key(&text).ok_or_else(|| SignerError::NotAPrivateKey {
            found: pem::first_label(&text).map_or_else(
                || "no PEM at all".to_owned(),
                |label| format!("`{}`", label.escape_debug()),
            ),
        })?;
        // Without a passphrase argument OpenSSL would prompt on the terminal, so pass an empty one.
        let read = |passphrase| PKey::private_key_from_pem_passphrase(block.as_bytes(), passphrase);
        let key = match (pem::is_encrypted(&block), passphrase) {
            (false, _) => read(b"").map_err(|e| SignerError::KeyMalformed(e.to_string())),
            (true, None) => Err(SignerError::KeyEncrypted),
            // OpenSSL reports a wrong passphrase as a failed decryption, as it does a damaged file.
            (true, Some(passphrase)) => {
                read(passphrase.expose().as_bytes()).map_err(|_| SignerError::KeyPassphrase)
            }
        };
        Self::of(&key?)
    }

    fn of(key: &PKey<Private>) -> Result<Self, SignerError> {
        if key.id() != Id::EC {
            return Err(SignerError::KeyType(type_name(key.id())));
        }
        let key = key.ec_key()?;
        let Some(public_key_der) = named_spki(key.group(), key.public_key())? else {
            let curve = key.group().curve_name();
            let name = curve.map_or(Ok("without a name"), |curve| curve.short_name());
            return Err(SignerError::KeyCurve(name?.to_owned()));
        };
        key.check_key()
            .map_err(|e| SignerError::KeyMalformed(e.to_string()))?;
        Ok(Self {
            key,
            public_key_der,
        })
    }
}

impl SigningKey for FileKey {
    /// Signs synchronously: at 15 µs that is faster than handing the message to another thread.
    fn sign(&self, message: &[u8]) -> Signing {
        Signing::Done(sign(message, &self.key))
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    fn kind(&self) -> &'static str {
        "file"
    }
}

fn sign(message: &[u8], key: &EcKey<Private>) -> Result<Signature, SignerError> {
    let signature = EcdsaSig::sign(&sha256(message), key)?;
    let half = SIGNATURE_LENGTH / 2;
    let width = i32::try_from(half).unwrap_or(i32::MAX);
    let mut bytes = [0; SIGNATURE_LENGTH];
    bytes[..half].copy_from_slice(&signature.r().to_vec_padded(width)?);
    bytes[half..].copy_from_slice(&signature.s().to_vec_padded(width)?);
    Ok(bytes)
}

/// Shows nothing of the private key.
impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").finish_non_exhaustive()
    }
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

/// Warns if users other than the owner can read a secret. A file owned by root may be readable by
/// its group, which is the group of the service.
#[cfg(unix)]
pub fn warn_if_open_to_others(what: &str, path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let (mode, owned_by_root) = (metadata.mode() & 0o777, metadata.uid() == 0);
    if mode & if owned_by_root { 0o037 } else { 0o077 } != 0 {
        let path = path.display().to_string();
        let recommended = if owned_by_root { "640" } else { "600" };
        let mode = format!("{mode:03o}");
        log::warn!(path, mode; "other users have access to the file of the {what}; restrict it with `chmod {recommended}`");
    }
}

#[cfg(not(unix))]
pub fn warn_if_open_to_others(_what: &str, _path: &Path) {}
