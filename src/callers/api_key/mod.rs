//! API keys, `tna_ID_SECRET`: authentication. `manage` creates and changes keys, `login` exchanges
//! one for an access token.

mod cache;
mod last_used;
mod login;
mod manage;
mod rehash;

pub use login::AccessToken;
pub use manage::{ApiKeyError, DEFAULT_OVERLAP, KeyRequester, MAX_OVERLAP, NewApiKey, ShownApiKey};

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::memcmp;

use super::Identity;
use super::pepper::Peppers;
use super::rejection::{KeyFault, Rejection};
use crate::domain::credentials::api_key::ApiKey;
use crate::domain::{Clock, Proof, Time};
use crate::store::{KeptApiKey, Rehash, Store};
use cache::KeyCache;
use last_used::Uses;
use rehash::Rehashes;

/// Makes keys recognizable, also to scanners for leaked secrets.
const PREFIX: &str = "tna_";
/// Hex digits of the id: 64 random bits.
const ID_LENGTH: usize = 16;
const SECRET_BYTES: usize = 32;

/// The API keys of a database.
#[derive(Debug)]
pub struct ApiKeys {
    store: Arc<Store>,
    peppers: Peppers,
    clock: Clock,
    cache: KeyCache,
    uses: Uses,
    rehashes: Rehashes,
}

impl ApiKeys {
    pub(super) fn new(store: Arc<Store>, peppers: Peppers, clock: Clock) -> Self {
        Self {
            store,
            peppers,
            clock,
            cache: KeyCache::default(),
            uses: Uses::default(),
            rehashes: Rehashes::default(),
        }
    }

    /// Authenticates by the current row in the database. Blocks.
    pub(super) fn authenticate(
        &self,
        presented: &PresentedKey<'_>,
        from: Option<IpAddr>,
    ) -> Result<Identity, Rejection> {
        let rejection = |fault| Rejection::ApiKey {
            key: presented.id.to_owned(),
            fault,
        };
        // Hash before the lookup, so that an unknown key takes as long as a known one.
        let hashes = self.hashes(presented);
        let hashes = hashes.map_err(|_| rejection(KeyFault::Secret))?;
        let known = self.store.read(|tx| tx.api_key(presented.id))?;
        let known = known.ok_or_else(|| rejection(KeyFault::Unknown))?;
        let now = self.clock.now();
        let secret = verify(&known, &hashes, from, now).map_err(rejection)?;
        self.note_rehash(&known, secret, hashes);
        self.uses.note(presented.number, now);
        let identity = identity(&known.key, secret);
        self.cache
            .keep(presented.number, known, secret, presented.secret);
        Ok(identity)
    }

    /// Authenticates by the cache, without the database. `None` if that does not succeed.
    pub(super) fn authenticate_cached(
        &self,
        presented: &PresentedKey<'_>,
        from: Option<IpAddr>,
    ) -> Option<Identity> {
        let cached = self.cache.get(presented.number)?;
        let now = self.clock.now();
        let secret = if cached.is_for(presented.secret) {
            check_usable(&cached.key.key, cached.secret, from, now).map(|()| cached.secret)
        } else {
            // The other secret of a rotated key, or a wrong one.
            let hashes = self.hashes(presented).ok()?;
            let secret = verify(&cached.key, &hashes, from, now);
            if let Ok(secret) = secret {
                self.note_rehash(&cached.key, secret, hashes);
            }
            secret
        };
        let secret = secret.ok()?;
        self.uses.note(presented.number, now);
        Some(identity(&cached.key.key, secret))
    }

    fn hashes(&self, presented: &PresentedKey<'_>) -> Result<Hashes, ErrorStack> {
        let secret = presented.secret.as_bytes();
        let previous = self.peppers.previous.as_ref();
        Ok(Hashes {
            newest: self.peppers.newest.hash(secret)?,
            previous: previous.map(|pepper| pepper.hash(secret)).transpose()?,
        })
    }

    /// Has the secret hashed anew with the newest API key secret, if it is not yet. While there is
    /// no other one, nothing needs to be recorded.
    fn note_rehash(&self, known: &KeptApiKey, secret: i32, hashes: Hashes) {
        let is_newest = secret == known.key.validity.secret;
        let (old, hashed_by) = if is_newest {
            (Some(&known.secret_hash), &known.hashed_by)
        } else {
            (known.previous_hash.as_ref(), &known.previous_hashed_by)
        };
        let name = self.peppers.name();
        if hashes.previous.is_none() || hashed_by.as_deref() == Some(name) {
            return;
        }
        if let Some(old) = old {
            self.rehashes.note(Rehash {
                id: known.key.id.clone(),
                old: old.clone(),
                new: hashes.newest,
                hashed_by: name.to_owned(),
            });
        }
    }

    pub(super) fn forget(&self, id: &str) {
        if let Some(number) = number(id) {
            self.cache.forget(number);
        }
    }
}

/// The hashes of a presented secret, by the newest and the previous API key secret.
struct Hashes {
    newest: Vec<u8>,
    previous: Option<Vec<u8>>,
}

/// The number of the secret that was hashed, if the key can be used with it from this address.
fn verify(
    known: &KeptApiKey,
    hashes: &Hashes,
    from: Option<IpAddr>,
    now: Time,
) -> Result<i32, KeyFault> {
    let is = |other: &[u8]| {
        // Not short-circuited, so that it takes as long for either.
        let previous = hashes.previous.as_deref();
        are_equal(other, &hashes.newest) | previous.is_some_and(|hash| are_equal(other, hash))
    };
    let newest = known.key.validity.secret;
    let secret = if is(&known.secret_hash) {
        newest
    } else if known.previous_hash.as_deref().is_some_and(is) {
        newest - 1
    } else {
        return Err(KeyFault::Secret);
    };
    check_usable(&known.key, secret, from, now).map(|()| secret)
}

/// Compares two hashes in constant time.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && memcmp::eq(one, other)
}

/// Checks that the key can be used now, from this address, with its secret of this number.
fn check_usable(
    key: &ApiKey,
    secret: i32,
    from: Option<IpAddr>,
    now: Time,
) -> Result<(), KeyFault> {
    if let Some(ended) = key.validity.ended_for(secret, now) {
        return Err(KeyFault::Ended(ended));
    }
    if key.works_from(from) {
        Ok(())
    } else {
        Err(KeyFault::Address)
    }
}

fn identity(key: &ApiKey, secret: i32) -> Identity {
    Identity {
        id: key.id.clone(),
        proof: Proof::ApiKey { secret },
        role: key.role,
        accounts: key.accounts.clone(),
        // The transaction reads the current expiry itself.
        expires: None,
    }
}

/// A key as presented.
pub(super) struct PresentedKey<'a> {
    id: &'a str,
    /// The id as a number.
    number: u64,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let number = number(id)?;
        let bits = URL_SAFE_NO_PAD.decode(secret).ok()?;
        (bits.len() == SECRET_BYTES).then_some(Self { id, number, secret })
    }
}

/// How an operator names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyName {
    pub id: String,
    /// Whether the secret was given, too. It is not compared with that of the key.
    pub has_secret: bool,
}

impl ApiKeyName {
    /// Parses an id, with or without the prefix, or a whole key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, has_secret) = match text.strip_prefix(PREFIX) {
            None => (text, false),
            Some(rest) => rest
                .split_once('_')
                .map_or((rest, false), |(id, _)| (id, true)),
        };
        number(id).map(|_| Self {
            id: id.to_owned(),
            has_secret,
        })
    }
}

/// Parses an id, which is in lower case.
fn number(id: &str) -> Option<u64> {
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u64::from_str_radix(id, 16).ok()).flatten()
}
