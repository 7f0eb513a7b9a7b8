//! The compact serialization (RFC 7515 §7.1). josekit writes the header, but the token is assembled
//! here: josekit signs synchronously, and a key in an HSM answers later.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use josekit::jws::{ES256, JwsAlgorithm as _, JwsHeader};
use serde_json::Value;

use super::SignerError;
use super::key::SigningKey;
use crate::domain::Claims;

/// Writes tokens, which all have the same header.
#[derive(Debug)]
pub struct TokenWriter {
    /// The header in base64url.
    header: String,
}

impl TokenWriter {
    /// The header is exactly `{"alg":"ES256","typ":"JWT","x5u":..}` (RFC 9447 §4), followed by
    /// `x5c` if there are certificates for it: DER, the signing certificate first (RFC 7515
    /// §4.1.6).
    pub fn new(x5u: String, x5c: &[&[u8]]) -> Result<Self, SignerError> {
        let mut header = JwsHeader::new();
        header.set_claim("alg", Some(Value::from(ES256.name())))?;
        header.set_token_type("JWT");
        header.set_x509_url(x5u);
        if !x5c.is_empty() {
            let certificates = x5c.iter().map(|der| Value::from(STANDARD.encode(der)));
            header.set_claim("x5c", Some(certificates.collect()))?;
        }
        Ok(Self {
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
        })
    }

    /// Signs the claims.
    pub async fn write(
        &self,
        claims: &Claims,
        key: &dyn SigningKey,
    ) -> Result<String, SignerError> {
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = key.sign(token.as_bytes()).outcome().await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}
