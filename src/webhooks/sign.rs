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

use crate::domain::Time;
use crate::domain::webhook::Webhook;

/// The length of a key's name.
const NAME_BYTES: usize = 8;

/// Why a message could not be signed.
#[derive(Debug, Clone, Error)]
#[error("openssl could not sign: {0}")]
pub struct SignError(#[from] ErrorStack);

/// Derives the secrets of webhooks.
pub struct Secrets {
    newest: PKey<Private>,
    name: String,
    /// Used until a webhook has been rotated.
    previous: Option<PKey<Private>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Secrets derived from a key, and from the key before it, which their owners have still.
    pub fn new(key: &[u8], previous: Option<&[u8]>) -> Result<Self, SignError> {
        let newest = PKey::hmac(key)?;
        let name = hmac(&newest, b"name of this key")?;
        Ok(Self {
            name: hex::encode(&name[..NAME_BYTES]),
            newest,
            previous: previous.map(PKey::hmac).transpose()?,
        })
    }

    /// Identifies the key that new secrets are derived from, and reveals nothing of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A secret as its owner sees it, once: `whsec_` and the base64 of 32 bytes.
    pub fn shown(&self, webhook: Uuid, generation: i32) -> Result<String, SignError> {
        let secret = derive(&self.newest, webhook, generation)?;
        Ok(format!("whsec_{}", STANDARD.encode(secret)))
    }

    /// The `webhook-signature` header of a message: a signature for each secret that its owner may
    /// have, separated by spaces.
    pub(super) fn sign(
        &self,
        webhook: &Webhook,
        now: Time,
        (id, timestamp, body): (Uuid, i64, &str),
    ) -> Result<String, SignError> {
        let message = format!("{id}.{timestamp}.{body}");
        let mut signatures = Vec::new();
        for generation in webhook.generations(now) {
            let is_known = webhook.derived_by.as_ref() == Some(&self.name);
            let is_new = is_known && generation == webhook.generation;
            let previous = self.previous.as_ref().filter(|_| !is_new);
            for key in std::iter::once(&self.newest).chain(previous) {
                let secret = PKey::hmac(&derive(key, webhook.id, generation)?)?;
                let signature = hmac(&secret, message.as_bytes())?;
                signatures.push(format!("v1,{}", STANDARD.encode(signature)));
            }
        }
        Ok(signatures.join(" "))
    }
}

fn derive(key: &PKey<Private>, webhook: Uuid, generation: i32) -> Result<Vec<u8>, SignError> {
    hmac(key, format!("webhook {webhook} {generation}").as_bytes())
}

fn hmac(key: &PKey<Private>, message: &[u8]) -> Result<Vec<u8>, SignError> {
    Ok(Signer::new(MessageDigest::sha256(), key)?.sign_oneshot_to_vec(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    fn webhook(id: u128, generation: i32, derived_by: Option<&str>) -> Webhook {
        Webhook {
            id: Uuid::from_u128(id),
            account: None,
            below: true,
            url: "https://hooks.example/".parse().expect("a target"),
            kinds: Vec::new(),
            generation,
            previous_until: (generation > 1).then(|| from_unix(100)),
            position: 0,
            created_at: from_unix(0),
            created_by: String::new(),
            ended_at: None,
            derived_by: derived_by.map(str::to_owned),
        }
    }

    fn signatures(secrets: &Secrets, webhook: &Webhook, now: i64) -> Vec<String> {
        let message = (Uuid::from_u128(3), 1_767_225_600, "{}");
        let header = secrets.sign(webhook, from_unix(now), message);
        let header = header.expect("signatures");
        header.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn each_webhook_and_generation_has_a_secret_of_its_own() {
        let secrets = Secrets::new(&[7; 32], None).expect("a key");
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
        let both = signatures(&secrets, &webhook(1, 2, None), 99);
        let first = signatures(&secrets, &webhook(1, 1, None), 0);
        assert_eq!((both.len(), &both[1..]), (2, &first[..]));
        assert!(both.iter().all(|one| one.starts_with("v1,")));
        assert_eq!(signatures(&secrets, &webhook(1, 2, None), 100), both[..1]);
        assert_eq!(format!("{secrets:?}"), "Secrets(..)");
    }

    /// The owner of a webhook has the secret that was shown, whatever has become of the API key
    /// secret since.
    #[test]
    fn a_message_is_signed_with_every_secret_that_its_owner_may_have() {
        let old = Secrets::new(&[7; 32], None).expect("a key");
        let both = Secrets::new(&[8; 32], Some(&[7; 32])).expect("keys");
        let new = Secrets::new(&[8; 32], None).expect("a key");
        assert!(old.name() != new.name() && both.name() == new.name());
        assert_eq!(old.name().len(), 16);
        for before in [None, Some(old.name())] {
            let hook = webhook(1, 1, before);
            let all = signatures(&both, &hook, 0);
            assert_eq!(all.len(), 2);
            assert!(all.contains(&signatures(&old, &hook, 0)[0]));
            assert!(all.contains(&signatures(&new, &hook, 0)[0]));
        }
        // Rotated since: the new secret, and for a day the one before, as of either key.
        let rotated = webhook(1, 2, Some(new.name()));
        let during = signatures(&both, &rotated, 99);
        assert_eq!(during.len(), 3);
        assert!(during.contains(&signatures(&old, &webhook(1, 1, None), 0)[0]));
        assert_eq!(
            signatures(&both, &rotated, 100),
            signatures(&new, &rotated, 100)
        );
    }
}
