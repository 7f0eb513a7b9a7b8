//! Logins of clients that cannot send an API key with each request: user id and password in, a short-lived access token out.
//!
//! An access token is `tnf_ID_EXPIRY_PROOF`: the id of the API key that logged in, when it ends, and an HMAC of both and of
//! the key's hash. Nothing of it is stored, so every replica takes it, and a key that is revoked, or whose secret changed,
//! takes its access tokens with it at once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::error::ErrorStack;
use uuid::Uuid;

use super::{Callers, Unproven};
use crate::domain::Caller;
use crate::domain::clock::{Time, from_unix};
use crate::store::ApiKey;

/// So that an access token is known for what it is, and is never taken for an API key.
const PREFIX: &str = "tnf_";
/// What the HMAC is of, before all else: the secret of the API keys hashes secrets too.
const PURPOSE: &str = "tn-authority facade access token";
/// The prefix of an API key, which may be the password as a whole.
const API_KEY: &str = "tna_";

/// An access token as it is given.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub token: String,
    pub expires: Time,
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Callers {
    /// Proves a user by the id of an API key and its secret, or the whole key, and gives an access token for so many
    /// seconds. Blocks.
    ///
    /// # Errors
    /// [`Unproven`], the same whether there is such a user or not.
    pub fn log_in(
        &self,
        user: &str,
        password: &str,
        seconds: u32,
        request_id: Uuid,
    ) -> Result<AccessToken, Unproven> {
        let key = if password.starts_with(API_KEY) {
            password.to_owned()
        } else {
            format!("{API_KEY}{user}_{password}")
        };
        let caller = self.prove(Some(&format!("Bearer {key}")), request_id)?;
        if caller.id != user {
            return Err(Unproven::Invalid);
        }
        let known = self.store.read(|tx| tx.api_key(user))?;
        let known = known.ok_or(Unproven::Invalid)?;
        let expires = self.clock.now() + TimeDelta::seconds(seconds.into());
        let proof = self
            .access_proof(&known, expires)
            .map_err(|_| Unproven::Invalid)?;
        let proof = URL_SAFE_NO_PAD.encode(proof);
        Ok(AccessToken {
            token: format!("{PREFIX}{user}_{}_{proof}", expires.timestamp()),
            expires,
        })
    }

    /// Proves a caller by an access token, which stands in `Authorization` without a scheme. Blocks.
    ///
    /// # Errors
    /// [`Unproven`] if nobody is proven.
    pub fn prove_access(
        &self,
        authorization: Option<&str>,
        request_id: Uuid,
    ) -> Result<Caller, Unproven> {
        let presented = authorization.ok_or(Unproven::Missing)?;
        let presented = Presented::parse(presented).ok_or(Unproven::Invalid)?;
        let now = self.clock.now();
        if now >= presented.expires {
            return Err(Unproven::Invalid);
        }
        let known = self.store.read(|tx| tx.api_key(presented.id))?;
        let proven = known.filter(|known| {
            let right = self.access_proof(known, presented.expires);
            let right = right.is_ok_and(|right| super::pepper::are_equal(&right, &presented.proof));
            right && known.revoked_at.is_none_or(|revoked| now < revoked)
        });
        let known = proven.ok_or(Unproven::Invalid)?;
        Ok(super::caller(known, request_id))
    }

    fn access_proof(&self, key: &ApiKey, expires: Time) -> Result<Vec<u8>, ErrorStack> {
        let head = format!("{PURPOSE}\n{}\n{}\n", key.id, expires.timestamp());
        self.pepper
            .hash(&[head.as_bytes(), &key.secret_hash].concat())
    }
}

/// An access token that somebody presents.
struct Presented<'a> {
    id: &'a str,
    expires: Time,
    proof: Vec<u8>,
}

impl<'a> Presented<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let (expires, proof) = rest.split_once('_')?;
        // The last second that a time can be, far behind any that was given.
        let expires = expires.parse().ok().filter(|s| *s < 1_i64 << 40)?;
        let well_formed = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
        let proof = URL_SAFE_NO_PAD.decode(proof).ok()?;
        well_formed.then_some(Self {
            id,
            expires: from_unix(expires),
            proof,
        })
    }
}
