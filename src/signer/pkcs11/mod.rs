//! Keys in HSMs, through PKCS #11. A key is named by a URI (RFC 7512). The only mechanism that is
//! used to sign is ECDSA over a digest, which every module supports.
//!
//! No thread that serves HTTP calls this module: a [`PooledKey`] has its own threads.

mod library;
mod uri;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session as ModuleSession, UserType};
use cryptoki::types::AuthPin;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::nid::Nid;
use openssl::pkey::PKey;

use super::error::{HsmError, SignerError};
use super::key::Signature;
use super::key_pool::{Device, KeySession, PoolSettings, PooledKey};
use super::secret::SecretSource;
use crate::domain::Passphrase;
use library::{Library, SessionSlot};
use parking_lot::Mutex;

pub use uri::KeyUri;

/// The OID of P-256 in DER, which is the `CKA_EC_PARAMS` of a key.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How HSMs are accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11 {
    /// The module's shared library, for URIs without `module-path`.
    pub module: Option<PathBuf>,
    /// The user PIN, for URIs without `pin-source`.
    pub pin: Option<SecretSource>,
    pub pool: PoolSettings,
}

impl Pkcs11 {
    /// Opens a key: loads its module, finds its token and the key, and starts the threads that sign
    /// with it. Blocks.
    ///
    /// # Errors
    /// [`SignerError`] says what cannot be found or is unusable.
    pub fn open(&self, uri: &KeyUri) -> Result<PooledKey, SignerError> {
        let device: Arc<dyn Device> = Arc::new(self.device(uri)?);
        PooledKey::start(&device, self.pool)
    }

    /// Generates a key pair in the token, from which the private key cannot be extracted, and opens
    /// it. Blocks.
    ///
    /// # Errors
    /// [`SignerError`] if a key of that name exists, or as for [`Pkcs11::open`].
    pub fn generate(&self, uri: &KeyUri) -> Result<PooledKey, SignerError> {
        self.device(uri)?.generate()?;
        self.open(uri)
    }

    fn device(&self, uri: &KeyUri) -> Result<TokenKey, SignerError> {
        let module = uri.module_path().or(self.module.as_deref());
        let module = module.ok_or_else(|| {
            HsmError::Device(
                "no PKCS #11 module is configured; set `signer.pkcs11.module`, or `module-path` in the key URI"
                    .to_owned(),
            )
        })?;
        Ok(TokenKey {
            library: Library::get(module)?,
            pin: uri.pin_source().or_else(|| self.pin.clone()),
            uri: uri.clone(),
            refused_pin: Mutex::default(),
            was_found: AtomicBool::new(false),
        })
    }
}

/// A key in a token.
struct TokenKey {
    library: Arc<Library>,
    uri: KeyUri,
    pin: Option<SecretSource>,
    /// The PIN that was refused last. It is not retried, because further attempts would lock the
    /// token.
    refused_pin: Mutex<Option<Passphrase>>,
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
        let mut public_key_der = Vec::new();
        let was_found = self.was_found.load(Ordering::SeqCst);
        let slot = self.library.open(&self.uri, false, was_found, |session| {
            self.log_in(session)?;
            let key = self.private_key(session)?;
            public_key_der = self.public_key(session, key)?;
            Ok(key)
        })?;
        self.was_found.store(true, Ordering::SeqCst);
        Ok(Box::new(TokenSession {
            slot,
            public_key_der,
        }))
    }
}

impl TokenKey {
    fn log_in(&self, session: &ModuleSession) -> Result<(), HsmError> {
        let source = self.pin.as_ref().ok_or_else(|| {
            HsmError::Device(
                "no PIN is configured for the HSM; set `signer.pkcs11.pin_file`, or `pin-source` \
                 in the key URI"
                    .to_owned(),
            )
        })?;
        let pin = source.read("PIN of the HSM");
        let pin = pin.map_err(|e| HsmError::Device(e.to_string()))?;
        let mut refused = self.refused_pin.lock();
        if refused.as_ref() == Some(&pin) {
            return Err(HsmError::Pin);
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.expose().into()))) {
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *refused = None;
                Ok(())
            }
            Err(ModuleError::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired,
                _,
            )) => {
                *refused = Some(pin);
                Err(HsmError::Pin)
            }
            Err(error) => Err(device(&error)),
        }
    }

    /// The one private key that the URI names.
    fn private_key(&self, session: &ModuleSession) -> Result<ObjectHandle, HsmError> {
        let mut template = self.uri.object_template();
        template.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
        let found = session.find_objects(&template).map_err(|e| device(&e))?;
        match found[..] {
            [only] => Ok(only),
            [] => Err(HsmError::Device(format!(
                "the token has no private key that matches `{}`",
                self.uri
            ))),
            _ => Err(HsmError::Device(format!(
                "`{}` matches more than one private key; add `id`",
                self.uri
            ))),
        }
    }

    /// The public key that belongs to the private one, as a `SubjectPublicKeyInfo`.
    fn public_key(
        &self,
        session: &ModuleSession,
        private: ObjectHandle,
    ) -> Result<Vec<u8>, HsmError> {
        let read = |object, types: &[AttributeType]| {
            session
                .get_attributes(object, types)
                .map_err(|e| device(&e))
        };
        let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
        match &read(private, &[AttributeType::Id])?[..] {
            [Attribute::Id(id)] if !id.is_empty() => template.push(Attribute::Id(id.clone())),
            _ => template.extend(self.uri.object_template()),
        }
        let found = session.find_objects(&template).map_err(|e| device(&e))?;
        let public = found.first().copied().ok_or_else(|| {
            HsmError::Device(format!(
                "the token has no public key for the private key of `{}`",
                self.uri
            ))
        })?;
        let (mut point, mut curve, mut kind) = (None, None, None);
        let types = [
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::EcPoint,
        ];
        for attribute in read(public, &types)? {
            match attribute {
                Attribute::EcPoint(bytes) => point = Some(bytes),
                Attribute::EcParams(bytes) => curve = Some(bytes),
                Attribute::KeyType(value) => kind = Some(value),
                _ => {}
            }
        }
        if kind != Some(KeyType::EC) || curve.as_deref() != Some(&P256) {
            return Err(HsmError::Device(format!(
                "`{}` is not an EC key on the curve P-256, which ES256 needs (RFC 7518 §3.4)",
                self.uri
            )));
        }
        spki(&point.unwrap_or_default()).ok_or_else(|| {
            HsmError::Device(format!(
                "the public key of `{}` is not a point on P-256",
                self.uri
            ))
        })
    }

    fn generate(&self) -> Result<(), HsmError> {
        self.library
            .open(&self.uri, true, false, |session| {
                self.log_in(session)?;
                let mut named = self.uri.object_template();
                if named.is_empty() {
                    let why = "a new key needs a name; add `object` or `id` to the URI".to_owned();
                    return Err(HsmError::Device(why));
                }
                named.push(Attribute::Class(ObjectClass::PRIVATE_KEY));
                if !session
                    .find_objects(&named)
                    .map_err(|e| device(&e))?
                    .is_empty()
                {
                    let why = format!("the key `{}` exists already", self.uri);
                    return Err(HsmError::Device(why));
                }
                let public = [
                    self.uri.new_object_template(),
                    vec![
                        Attribute::Token(true),
                        Attribute::Private(false),
                        Attribute::Verify(true),
                        Attribute::EcParams(P256.to_vec()),
                    ],
                ];
                let private = [
                    self.uri.new_object_template(),
                    vec![
                        Attribute::Token(true),
                        Attribute::Private(true),
                        Attribute::Sensitive(true),
                        Attribute::Extractable(false),
                        Attribute::Sign(true),
                    ],
                ];
                let made = session.generate_key_pair(
                    &Mechanism::EccKeyPairGen,
                    &public.concat(),
                    &private.concat(),
                );
                made.map(|(_, private)| private).map_err(|e| device(&e))
            })
            .map(drop)
    }
}

/// An open session with a key.
struct TokenSession {
    slot: SessionSlot,
    public_key_der: Vec<u8>,
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

    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }
}

fn device(error: &ModuleError) -> HsmError {
    HsmError::Device(error.to_string())
}

/// PKCS #11 wraps the point in an OCTET STRING, but some modules omit that.
fn spki(point: &[u8]) -> Option<Vec<u8>> {
    let bare = match point {
        [0x04, 0x41, bare @ ..] if bare.len() == 0x41 => bare,
        bare => bare,
    };
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
    let mut context = BigNumContext::new().ok()?;
    let point = EcPoint::from_bytes(&group, bare, &mut context).ok()?;
    let key = EcKey::from_public_key(&group, &point).ok()?;
    key.check_key().ok()?;
    PKey::from_ec_key(key).ok()?.public_key_to_der().ok()
}
