//! Signs ACME requests as flattened JWS with ES256 (RFC 8555 §6.2), and makes external account
//! bindings (§7.3.4).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::AcmeError;
use crate::domain::Fingerprint;
use crate::domain::control::message::CONTROL_ANSWER;
use crate::domain::text::printable::printable;
use crate::outgoing::HttpsUrl;
use crate::signer::{FileKey, SigningKey as _};

/// The length of an uncompressed P-256 point: 04, X and Y. It is the end of a
/// `SubjectPublicKeyInfo` (RFC 5480 §2.2).
const POINT_LENGTH: usize = 65;

/// The key of an ACME account, on P-256.
#[derive(Debug)]
pub struct AccountKey {
    key: FileKey,
    jwk: Value,
    fingerprint: Fingerprint,
}

impl AccountKey {
    /// Uses a key as the account key.
    pub fn new(key: FileKey) -> Result<Self, AcmeError> {
        let der = key.public_key_der();
        let point = &der[der.len().saturating_sub(POINT_LENGTH)..];
        let [0x04, coordinates @ ..] = point else {
            return Err(AcmeError::Files(
                "the account key is not a point on P-256".to_owned(),
            ));
        };
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y });
        let fingerprint = Fingerprint::of_jwk(&jwk.to_string());
        let fingerprint = fingerprint.map_err(|e| AcmeError::Files(e.to_string()))?;
        Ok(Self {
            key,
            jwk,
            fingerprint,
        })
    }

    /// The fingerprint to which tokens are bound (RFC 9448 §5.4), from the JWK thumbprint (RFC
    /// 7638).
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The public key, as a `SubjectPublicKeyInfo`.
    pub(super) fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    /// The public key as a JWK.
    pub(super) const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Signs a request. Without a payload it is a POST-as-GET (RFC 8555 §6.3). Without an account
    /// URL the request contains the public key, as for a new account.
    pub(super) fn sign(
        &self,
        url: &HttpsUrl,
        nonce: &str,
        account: Option<&HttpsUrl>,
        payload: Option<&Value>,
    ) -> Result<Vec<u8>, AcmeError> {
        let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url.as_str() });
        match account {
            Some(account) => header["kid"] = json!(account.as_str()),
            None => header["jwk"] = self.jwk.clone(),
        }
        self.signed(&header, payload)
    }

    /// Signs an answer for a proof of control: not a request of ACME, which its type says.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn sign_control_answer(&self, url: &HttpsUrl, nonce: &str) -> Result<Vec<u8>, AcmeError> {
        let header = json!({
            "alg": "ES256", "jwk": self.jwk, "typ": CONTROL_ANSWER, "url": url.as_str(),
        });
        self.signed(&header, Some(&json!({ "nonce": nonce })))
    }

    fn signed(&self, header: &Value, payload: Option<&Value>) -> Result<Vec<u8>, AcmeError> {
        let (protected, payload) = encoded(header, payload);
        let signature = self
            .key
            .sign(format!("{protected}.{payload}").as_bytes())
            .wait()?;
        Ok(flattened(&protected, &payload, &signature)
            .to_string()
            .into_bytes())
    }
}

/// Binds a new ACME account to an existing customer account at the CA (RFC 8555 §7.3.4).
#[derive(Clone)]
pub struct ExternalBinding {
    kid: String,
    key: PKey<Private>,
}

impl ExternalBinding {
    /// Takes the key identifier and the base64url MAC key that the CA has provided.
    ///
    /// # Errors
    /// [`AcmeError::BindingKey`] if the key is malformed or too short.
    pub fn new(kid: &str, key: &str) -> Result<Self, AcmeError> {
        let key = key.trim().trim_end_matches('=');
        let key = URL_SAFE_NO_PAD
            .decode(key)
            .map_err(|_| AcmeError::BindingKey)?;
        if key.len() < 16 {
            return Err(AcmeError::BindingKey);
        }
        Ok(Self {
            kid: kid.to_owned(),
            key: PKey::hmac(&key)?,
        })
    }

    /// The member `externalAccountBinding` of a new account request.
    pub(super) fn bind(
        &self,
        account: &AccountKey,
        new_account: &HttpsUrl,
    ) -> Result<Value, AcmeError> {
        let header = json!({ "alg": "HS256", "kid": self.kid, "url": new_account.as_str() });
        let (protected, payload) = encoded(&header, Some(account.jwk()));
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
        signer.update(format!("{protected}.{payload}").as_bytes())?;
        Ok(flattened(&protected, &payload, &signer.sign_to_vec()?))
    }
}

/// Shows the identifier, without the key.
impl fmt::Debug for ExternalBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalBinding({})", printable(&self.kid))
    }
}

fn encoded(header: &Value, payload: Option<&Value>) -> (String, String) {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    (encode(header), payload.map_or_else(String::new, encode))
}

fn flattened(protected: &str, payload: &str, signature: &[u8]) -> Value {
    json!({ "protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_jwk() {
        // The key of RFC 7515 §A.3, and its thumbprint by RFC 7638.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n\
                   H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n\
                   7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n\
                   -----END PRIVATE KEY-----\n";
        let key = FileKey::from_pem(pem.as_bytes()).expect("the key");
        let account = AccountKey::new(key).expect("an account");
        assert_eq!(
            account.jwk()["x"],
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
        );
        assert_eq!(
            account.fingerprint().to_string(),
            "SHA256 A0:A2:32:C2:F1:94:A5:35:53:CB:13:10:DD:BC:08:21:E4:14:B9:D7:EB:FC:29:0B:32:30:84:D7:D1:02:0F:E5"
        );
    }

    #[test]
    fn a_binding_needs_a_key() {
        assert!(ExternalBinding::new("kid", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").is_ok());
        for wrong in ["", "AAAA", "!!!!AAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(
                ExternalBinding::new("kid", wrong).is_err(),
                "{wrong} was accepted"
            );
        }
    }
}
