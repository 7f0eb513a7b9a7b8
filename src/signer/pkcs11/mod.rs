//! Keys in HSMs, through PKCS #11. A key is named by a URI (RFC 7512). The only mechanism that is
//! used to sign is ECDSA over a digest, which every module supports.
//!
//! No thread that serves HTTP calls this module: a [`PooledKey`] has its own threads.

mod library;
mod login;
mod objects;
mod opening;
mod uri;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cryptoki::error::Error as ModuleError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session as ModuleSession;
use cryptoki::slot::TokenInfo;

use super::error::{HsmError, SignerError};
use super::key::Signature;
use super::key_pool::{Device, KeySession, PoolSettings, PooledKey};
use super::secret::SecretSource;
use library::{Library, SessionSlot};
use opening::ModuleLoading;

pub use uri::KeyUri;

/// How HSMs are accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11 {
    /// The module's shared library, for URIs without `module-path`.
    pub module: Option<PathBuf>,
    /// The user PIN, for URIs without `pin-source`.
    pub pin: Option<SecretSource>,
    pub pool: PoolSettings,
    /// How long a key may take to be opened, with the load of the module and the login.
    pub open_timeout: Duration,
}

impl Pkcs11 {
    /// Opens a key: loads its module, finds its token and the key, signs with it once, and starts
    /// the threads that sign. `known` are public keys, of which one may be that of the key: tokens
    /// do not always have it. Blocks, but not longer than the timeout.
    ///
    /// # Errors
    /// [`SignerError`] says what cannot be found or is unusable.
    pub fn open(&self, uri: &KeyUri, known: &[Vec<u8>]) -> Result<PooledKey, SignerError> {
        let module = self.module_of(uri)?;
        let (this, uri, known) = (self.clone(), uri.clone(), known.to_vec());
        opening::within(&module.clone(), self.open_timeout, move |loading| {
            let device: Arc<dyn Device> = Arc::new(this.device(&uri, &module, loading)?);
            PooledKey::start(&device, &known, this.pool)
        })
    }

    /// Generates a key pair in the token, from which the private key cannot be extracted, and opens
    /// it. Blocks, but not longer than the timeout allows, twice.
    ///
    /// # Errors
    /// [`SignerError`] if a key of that name exists, or as for [`Pkcs11::open`].
    pub fn generate(&self, uri: &KeyUri) -> Result<PooledKey, SignerError> {
        let module = self.module_of(uri)?;
        let (this, wanted) = (self.clone(), uri.clone());
        opening::within(&module.clone(), self.open_timeout, move |loading| {
            Ok(this.device(&wanted, &module, loading)?.generate()?)
        })?;
        self.open(uri, &[])
    }

    fn module_of(&self, uri: &KeyUri) -> Result<PathBuf, SignerError> {
        let module = uri.module_path().or(self.module.as_deref());
        module.map(Path::to_owned).ok_or_else(|| {
            let why = "no PKCS #11 module is configured; set `signer.pkcs11.module`, or `module-path` in the key URI";
            HsmError::Device(why.to_owned()).into()
        })
    }

    fn device(
        &self,
        uri: &KeyUri,
        module: &Path,
        loading: &ModuleLoading,
    ) -> Result<TokenKey, SignerError> {
        Ok(TokenKey {
            library: Library::get(module, loading)?,
            pin: uri.pin_source().or_else(|| self.pin.clone()),
            uri: uri.clone(),
            was_found: AtomicBool::new(false),
        })
    }
}

/// A key in a token.
struct TokenKey {
    library: Arc<Library>,
    uri: KeyUri,
    pin: Option<SecretSource>,
    /// Whether the key was ever found.
    was_found: AtomicBool,
}

/// Shows the URI, without the PIN.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("uri", &self.uri.to_string())
            .finish_non_exhaustive()
    }
}

impl Device for TokenKey {
    fn open(&self) -> Result<Box<dyn KeySession>, HsmError> {
        let mut public_keys = Vec::new();
        let was_found = self.was_found.load(Ordering::SeqCst);
        let slot = self.library.open(&self.uri, was_found, |session, token| {
            let key = self.private_key(session, token)?;
            objects::must_be_usable(session, &self.uri, key)?;
            public_keys = objects::public_keys(session, &self.uri, key)?;
            Ok(key)
        })?;
        self.was_found.store(true, Ordering::SeqCst);
        Ok(Box::new(TokenSession { slot, public_keys }))
    }
}

impl TokenKey {
    /// The private key. Logs in only if it cannot be seen otherwise.
    fn private_key(
        &self,
        session: &ModuleSession,
        token: &TokenInfo,
    ) -> Result<ObjectHandle, HsmError> {
        if !token.login_required()
            && let Some(key) = objects::private_key(session, &self.uri)?
        {
            return Ok(key);
        }
        self.log_in(session, token)?;
        objects::private_key(session, &self.uri)?.ok_or_else(|| {
            HsmError::Device(format!(
                "the token has no private key that matches `{}`",
                self.uri
            ))
        })
    }

    fn log_in(&self, session: &ModuleSession, token: &TokenInfo) -> Result<(), HsmError> {
        let source = self.pin.as_ref().ok_or_else(|| {
            HsmError::Device(
                "no PIN is configured for the HSM; set `signer.pkcs11.pin_file`, or `pin-source` \
                 in the key URI"
                    .to_owned(),
            )
        })?;
        login::log_in(session, token, source)
    }

    fn generate(&self) -> Result<(), HsmError> {
        self.library.open_to_write(&self.uri, |session, token| {
            self.log_in(session, token)?;
            objects::generate(session, &self.uri)
        })
    }
}

/// An open session with a key.
struct TokenSession {
    slot: SessionSlot,
    public_keys: Vec<Vec<u8>>,
}

impl KeySession for TokenSession {
    fn sign(&mut self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let signature = self.slot.with(|session, key| {
            session
                .sign(&Mechanism::Ecdsa, key, digest)
                .map_err(|e| device(&e))
        })?;
        Signature::try_from(signature).map_err(|_| HsmError::WrongSignature)
    }

    fn public_keys(&self) -> &[Vec<u8>] {
        &self.public_keys
    }
}

fn device(error: &ModuleError) -> HsmError {
    HsmError::Device(error.to_string())
}
