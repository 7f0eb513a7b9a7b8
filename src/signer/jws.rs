//! The compact serialization (RFC 7515 §7.1), by josekit, with a [`SigningKey`] of any kind behind it.

use std::sync::Arc;

use josekit::JoseError;
use josekit::jws::{self, ES256, JwsAlgorithm, JwsHeader, JwsSigner};
use serde_json::Value;

use super::SignerError;
use super::key::{SIGNATURE_LENGTH, SigningKey};
use crate::domain::Claims;

/// Writes tokens: one header for all of them, and the key.
#[derive(Debug)]
pub struct TokenWriter {
    header: JwsHeader,
    key: Es256,
}

impl TokenWriter {
    /// The header is exactly `{"alg":"ES256","typ":"JWT","x5u":..}` (RFC 9447 §4).
    ///
    /// # Errors
    /// [`SignerError`] if josekit refuses the header.
    pub fn new(key: Arc<dyn SigningKey>, x5u: String) -> Result<Self, SignerError> {
        let mut header = JwsHeader::new();
        // josekit writes `alg` itself; that it stands here already keeps it in front.
        header.set_claim("alg", Some(Value::from(ES256.name())))?;
        header.set_token_type("JWT");
        header.set_x509_url(x5u);
        Ok(Self {
            header,
            key: Es256(key),
        })
    }

    /// Signs the claims.
    ///
    /// # Errors
    /// [`SignerError`] if the key does not sign.
    pub fn write(&self, claims: &Claims) -> Result<String, SignerError> {
        let payload = serde_json::to_vec(claims)?;
        Ok(jws::serialize_compact(&payload, &self.header, &self.key)?)
    }
}

/// A [`SigningKey`] as josekit wants it.
#[derive(Debug, Clone)]
struct Es256(Arc<dyn SigningKey>);

impl JwsSigner for Es256 {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        &ES256
    }

    fn key_id(&self) -> Option<&str> {
        None
    }

    fn signature_len(&self) -> usize {
        SIGNATURE_LENGTH
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        match self.0.sign(message) {
            Ok(signature) => Ok(signature.to_vec()),
            Err(error) => Err(JoseError::InvalidSignature(error.into())),
        }
    }

    fn box_clone(&self) -> Box<dyn JwsSigner> {
        Box::new(self.clone())
    }
}
