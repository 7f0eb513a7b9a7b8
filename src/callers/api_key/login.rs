//! Logins of clients that cannot send an API key with each request: user id and password in, a short-lived access token out.
//!
//! An access token is `tnf_ID_EXPIRY_PROOF`: the id of the API key that logged in, when it ends, and an HMAC of both and of
//! the hash of the secret that was shown. Nothing of it is stored, so every replica takes it. It proves what the secret
//! proves, from where the key works, and no longer: whoever revokes a key or rotates its secret away ends its access tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::error::ErrorStack;
use uuid::Uuid;

use super::{
    ApiKeys, Identity, KeyFault, PREFIX, PresentedKey, Rejection, are_equal, number, works,
};
use crate::callers::rejection::SessionFault;
use crate::callers::{AuthError, Callers, Credentials};
use crate::domain::Caller;
use crate::domain::clock::{Time, from_unix};

/// So that an access token is known for what it is, and is never taken for an API key.
const ACCESS_PREFIX: &str = "tnf_";
/// What the HMAC is of, before all else: the secret of the API keys hashes secrets too.
const PURPOSE: &str = "tn-authority facade access token";

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
    /// Proves a user by the id of an API key and its secret, or the whole key, in place of an `Authorization` field; and
    /// gives an access token for so many seconds. Blocks.
    ///
    /// # Errors
    /// [`Unproven`], the same whether there is such a user or not.
    pub fn log_in(
        &self,
        offered: &Credentials,
        (user, password): (&str, &str),
        seconds: u32,
        request_id: Uuid,
    ) -> Result<(Caller, AccessToken), AuthError> {
        let key = if password.starts_with(PREFIX) {
            password.to_owned()
        } else {
            format!("{PREFIX}{user}_{password}")
        };
        let logged_in = PresentedKey::parse(&key)
            .filter(|key| key.id == user)
            .ok_or(Rejection::Login)
            .and_then(|presented| {
                let offered = Credentials {
                    authorization: Some(key.clone()),
                    ..offered.clone()
                };
                let by_key = |_: &str| self.api_keys.authenticate(&presented, offered.from);
                let proven = self.who(&offered, by_key)?;
                let access = self.api_keys.access_token(&presented, seconds)?;
                Ok((proven.caller(request_id), access))
            });
        logged_in.map_err(|refusal| self.refused(refusal, request_id))
    }

    /// Proves a caller by an access token, which stands in `Authorization` without a scheme. Blocks.
    ///
    /// # Errors
    /// [`Unproven`] if nobody is proven.
    pub fn authenticate_access_token(
        &self,
        offered: &Credentials,
        request_id: Uuid,
    ) -> Result<Caller, AuthError> {
        let by_access = |access: &str| self.api_keys.authenticate_access_token(access, offered);
        match self.who(offered, by_access) {
            Ok(proven) => Ok(proven.caller(request_id)),
            Err(refusal) => Err(self.refused(refusal, request_id)),
        }
    }
}

impl ApiKeys {
    /// An access token of whoever has shown this key.
    fn access_token(&self, key: &PresentedKey<'_>, seconds: u32) -> Result<AccessToken, Rejection> {
        let expires = self.clock.now() + TimeDelta::seconds(seconds.into());
        let proof = self
            .pepper
            .hash(key.secret.as_bytes())
            .and_then(|hash| self.access_proof(key.id, expires, &hash));
        let proof = proof.map_err(|_| Rejection::ApiKey {
            key: key.id.to_owned(),
            fault: KeyFault::Secret,
        })?;
        let (id, proof) = (key.id, URL_SAFE_NO_PAD.encode(proof));
        Ok(AccessToken {
            token: format!("{ACCESS_PREFIX}{id}_{}_{proof}", expires.timestamp()),
            expires,
        })
    }

    /// Proves a caller by what the database says now of the key that logged in.
    fn authenticate_access_token(
        &self,
        access: &str,
        offered: &Credentials,
    ) -> Result<Identity, Rejection> {
        let presented = PresentedAccess::parse(access).ok_or(SessionFault::Form)?;
        let now = self.clock.now();
        if presented.expires <= now {
            return Err(SessionFault::Expired.into());
        }
        let refusal = |fault| Rejection::ApiKey {
            key: presented.id.to_owned(),
            fault,
        };
        let known = self.store.read(|tx| tx.api_key(presented.id))?;
        let known = known.ok_or_else(|| refusal(KeyFault::Unknown))?;
        let is_of = |hash: &[u8]| {
            let right = self.access_proof(presented.id, presented.expires, hash);
            right.is_ok_and(|right| are_equal(&right, &presented.proof))
        };
        let newest = known.key.validity.secret;
        let secret = if is_of(&known.secret_hash) {
            newest
        } else if known.previous_hash.as_deref().is_some_and(is_of) {
            newest - 1
        } else {
            // Of a secret that is no more, or of none at all.
            return Err(SessionFault::Proof.into());
        };
        works(&known.key, secret, offered.from, now).map_err(refusal)?;
        self.uses.note(presented.number, now);
        Ok(Identity {
            expires: Some(presented.expires),
            ..super::proven(&known.key, secret)
        })
    }

    fn access_proof(&self, id: &str, expires: Time, hash: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let head = format!("{PURPOSE}\n{id}\n{}\n", expires.timestamp());
        self.pepper.hash(&[head.as_bytes(), hash].concat())
    }
}

/// An access token that somebody presents.
struct PresentedAccess<'a> {
    id: &'a str,
    /// The same as a number.
    number: u64,
    expires: Time,
    proof: Vec<u8>,
}

impl<'a> PresentedAccess<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(ACCESS_PREFIX)?.split_once('_')?;
        let (written, proof) = rest.split_once('_')?;
        // The last second that a time can be, far behind any that was given. It has one spelling, the one that it was
        // given in: the proof is of the number.
        let expires = written
            .parse()
            .ok()
            .filter(|s: &i64| (0..1 << 40).contains(s) && s.to_string() == written)?;
        Some(Self {
            id,
            number: number(id)?,
            expires: from_unix(expires),
            proof: URL_SAFE_NO_PAD.decode(proof).ok()?,
        })
    }
}
