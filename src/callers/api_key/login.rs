//! Logins of clients that cannot send an API key with each request: they exchange user id and
//! password for a short-lived access token.
//!
//! An access token is `tnf_ID_EXPIRY_MAC`: the id of the API key that logged in, the expiry, and an
//! HMAC of both and of the number of the secret. It is not stored, so every replica accepts it. It
//! is valid as long as the secret is, from the networks that the key allows: revoking the key or
//! rotating the secret ends it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::error::ErrorStack;
use uuid::Uuid;

use super::{
    ApiKeys, Identity, KeyFault, PREFIX, PresentedKey, Rejection, are_equal, check_usable, number,
};
use crate::callers::pepper::Pepper;
use crate::callers::rejection::SessionFault;
use crate::callers::{AuthError, Callers, Credentials};
use crate::domain::clock::{Time, from_unix};
use crate::domain::{Caller, Proof};

/// Makes access tokens recognizable, and distinct from API keys.
const ACCESS_PREFIX: &str = "tnf_";
/// The start of the HMAC's input. It keeps these HMACs apart from the hashes of API keys, which are
/// made with the same secret.
const PURPOSE: &str = "tn-authority facade access token";

/// A new access token.
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
    /// Logs in a user, and returns an access token that is valid for `seconds`. The user name is
    /// the id of an API key; the password is its secret or the whole key. Blocks.
    ///
    /// # Errors
    /// [`AuthError`], the same whether or not there is such a user.
    pub fn log_in(
        &self,
        credentials: &Credentials,
        (user, password): (&str, &str),
        seconds: u32,
        request_id: Uuid,
    ) -> Result<(Caller, AccessToken), AuthError> {
        let key = if password.starts_with(PREFIX) {
            password.to_owned()
        } else {
            format!("{PREFIX}{user}_{password}")
        };
        let result = PresentedKey::parse(&key)
            .filter(|key| key.id == user)
            .ok_or(Rejection::Login)
            .and_then(|presented| {
                let credentials = Credentials {
                    authorization: Some(key.clone()),
                    ..credentials.clone()
                };
                let by_key = |_: &str| self.api_keys.authenticate(&presented, credentials.from);
                let identity = self.identify(&credentials, by_key)?;
                let access = self
                    .api_keys
                    .access_token(&presented, identity.proof, seconds)?;
                Ok((identity.caller(request_id), access))
            });
        result.map_err(|rejection| self.reject(rejection, request_id))
    }

    /// Authenticates a caller by an access token, which is in `Authorization` without a scheme.
    /// Blocks.
    ///
    /// # Errors
    /// [`AuthError`] if the token is not valid, or the store fails.
    pub fn authenticate_access_token(
        &self,
        credentials: &Credentials,
        request_id: Uuid,
    ) -> Result<Caller, AuthError> {
        let by_access = |access: &str| self.api_keys.authenticate_access_token(access, credentials);
        match self.identify(credentials, by_access) {
            Ok(identity) => Ok(identity.caller(request_id)),
            Err(rejection) => Err(self.reject(rejection, request_id)),
        }
    }
}

impl ApiKeys {
    /// A new access token for an authenticated key.
    fn access_token(
        &self,
        key: &PresentedKey<'_>,
        proof: Proof,
        seconds: u32,
    ) -> Result<AccessToken, Rejection> {
        let expires = self.clock.now() + TimeDelta::seconds(seconds.into());
        let rejection = || Rejection::ApiKey {
            key: key.id.to_owned(),
            fault: KeyFault::Secret,
        };
        let Proof::ApiKey { secret } = proof else {
            return Err(rejection());
        };
        let mac = access_mac(&self.peppers.newest, key.id, expires, secret);
        let mac = mac.map_err(|_| rejection())?;
        let (id, mac) = (key.id, URL_SAFE_NO_PAD.encode(mac));
        Ok(AccessToken {
            token: format!("{ACCESS_PREFIX}{id}_{}_{mac}", expires.timestamp()),
            expires,
        })
    }

    /// Authenticates by an access token, and checks in the database that the key that logged in is
    /// still valid.
    fn authenticate_access_token(
        &self,
        access: &str,
        credentials: &Credentials,
    ) -> Result<Identity, Rejection> {
        let presented = PresentedAccess::parse(access).ok_or(SessionFault::Form)?;
        let now = self.clock.now();
        if presented.expires <= now {
            return Err(SessionFault::Expired.into());
        }
        let rejection = |fault| Rejection::ApiKey {
            key: presented.id.to_owned(),
            fault,
        };
        let known = self.store.read(|tx| tx.api_key(presented.id))?;
        let known = known.ok_or_else(|| rejection(KeyFault::Unknown))?;
        let peppers = std::iter::once(&self.peppers.newest).chain(&self.peppers.previous);
        let is_of = |secret: i32| {
            peppers.clone().any(|pepper| {
                let expected = access_mac(pepper, presented.id, presented.expires, secret);
                expected.is_ok_and(|expected| are_equal(&expected, &presented.mac))
            })
        };
        let newest = known.key.validity.secret;
        let secret = if is_of(newest) {
            newest
        } else if known.previous_hash.is_some() && is_of(newest - 1) {
            newest - 1
        } else {
            // The secret was rotated away, or the MAC is forged.
            return Err(SessionFault::Mac.into());
        };
        check_usable(&known.key, secret, credentials.from, now).map_err(rejection)?;
        self.uses.note(presented.number, now);
        Ok(Identity {
            expires: Some(presented.expires),
            ..super::identity(&known.key, secret)
        })
    }
}

/// The hash of the secret is no part of it: it changes with the API key secret, which may not end a
/// session.
fn access_mac(
    pepper: &Pepper,
    id: &str,
    expires: Time,
    secret: i32,
) -> Result<Vec<u8>, ErrorStack> {
    let text = format!("{PURPOSE}\n{id}\n{}\n{secret}\n", expires.timestamp());
    pepper.hash(text.as_bytes())
}

/// An access token as presented.
struct PresentedAccess<'a> {
    id: &'a str,
    /// The id as a number.
    number: u64,
    expires: Time,
    mac: Vec<u8>,
}

impl<'a> PresentedAccess<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(ACCESS_PREFIX)?.split_once('_')?;
        let (written, mac) = rest.split_once('_')?;
        // Bounded so that it is a valid time. Only the canonical spelling is accepted, because the
        // MAC covers the number and not its text.
        let expires = written
            .parse()
            .ok()
            .filter(|s: &i64| (0..1 << 40).contains(s) && s.to_string() == written)?;
        Some(Self {
            id,
            number: number(id)?,
            expires: from_unix(expires),
            mac: URL_SAFE_NO_PAD.decode(mac).ok()?,
        })
    }
}
