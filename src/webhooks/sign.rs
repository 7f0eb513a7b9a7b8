//! Secrets and signatures (Standard Webhooks): `v1`, HMAC-SHA256 of id, timestamp and body.
//!
//! A secret is derived from the webhook's id with a key that is not in the database, so a copy of
//! the database is not enough to sign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use thiserror::Error;
use uuid::Uuid;

/// Why a message could not be signed.
#[derive(Debug, Clone, Error)]
#[error("openssl could not sign: {0}")]
pub struct SignError(#[from] ErrorStack);

/// Derives the secrets of webhooks.
pub struct Secrets(PKey<Private>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Secrets derived from this key.
    pub fn new(key: &[u8]) -> Result<Self, SignError> {
        Ok(Self(PKey::hmac(key)?))
    }

    /// A secret as its owner sees it, once: `whsec_` and the base64 of 32 bytes.
    pub fn shown(&self, webhook: Uuid, generation: i32) -> Result<String, SignError> {
        let secret = self.derive(webhook, generation)?;
        Ok(format!("whsec_{}", STANDARD.encode(secret)))
    }

    /// The `webhook-signature` header of a message: one signature for each generation, separated by
    /// spaces.
    pub(super) fn sign(
        &self,
        webhook: Uuid,
        generations: &[i32],
        (id, timestamp, body): (Uuid, i64, &str),
    ) -> Result<String, SignError> {
        let message = format!("{id}.{timestamp}.{body}");
        let signatures = generations.iter().map(|generation| {
            let secret = PKey::hmac(&self.derive(webhook, *generation)?)?;
            let signature = hmac(&secret, message.as_bytes())?;
            Ok(format!("v1,{}", STANDARD.encode(signature)))
        });
        let signatures: Vec<String> = signatures.collect::<Result<_, SignError>>()?;
        Ok(signatures.join(" "))
    }

    fn derive(&self, webhook: Uuid, generation: i32) -> Result<Vec<u8>, SignError> {
        hmac(
            &self.0,
            format!("webhook {webhook} {generation}").as_bytes(),
        )
    }
}

fn hmac(key: &PKey<Private>, message: &[u8]) -> Result<Vec<u8>, SignError> {
    Ok(Signer::new(MessageDigest::sha256(), key)?.sign_oneshot_to_vec(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_and_generation_has_a_secret_of_its_own() {
        let secrets = Secrets::new(&[7; 32]).expect("a key");
        let shown = |webhook: u128, generation| {
            secrets
                .shown(Uuid::from_u128(webhook), generation)
                .expect("a secret")
        };
        let all = [shown(1, 1), shown(1, 2), shown(2, 1)];
        assert!(
            all.iter()
                .all(|secret| secret.starts_with("whsec_") && secret.len() == 50)
        );
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(shown(1, 1), all[0]);
        let message = (Uuid::from_u128(3), 1_767_225_600, "{}");
        let both = secrets
            .sign(Uuid::from_u128(1), &[2, 1], message)
            .expect("signatures");
        let one = secrets
            .sign(Uuid::from_u128(1), &[1], message)
            .expect("a signature");
        assert!(
            both.ends_with(&format!(" {one}")) && both.starts_with("v1,"),
            "{both}"
        );
        assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    }
}
