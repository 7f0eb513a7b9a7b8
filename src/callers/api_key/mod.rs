//! API keys: `tna_ID_SECRET`. How one proves a caller; how they are kept stands in `keep`, and who logs in with one in
//! `session`.

mod cache;
mod last_used;
mod login;
mod manage;

pub use login::AccessToken;
pub use manage::{ApiKeyError, KeyRequester, MAX_OVERLAP, NewApiKey, ShownApiKey, USUAL_OVERLAP};

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::memcmp;

use super::Identity;
use super::pepper::Pepper;
use super::rejection::{KeyFault, Rejection};
use crate::domain::credentials::api_key::ApiKey;
use crate::domain::{Clock, Proof, Time};
use crate::store::{KeptApiKey, Store};
use cache::KeyCache;
use last_used::Uses;

/// So that a key is known for what it is, also by scanners for leaked secrets.
const PREFIX: &str = "tna_";
/// Hex digits of the id: 64 random bits.
const ID_LENGTH: usize = 16;
const SECRET_BYTES: usize = 32;

/// The API keys of a database.
#[derive(Debug)]
pub struct ApiKeys {
    store: Arc<Store>,
    pepper: Pepper,
    clock: Clock,
    memory: KeyCache,
    uses: Uses,
}

impl ApiKeys {
    pub(super) fn new(store: Arc<Store>, pepper: Pepper, clock: Clock) -> Self {
        Self {
            store,
            pepper,
            clock,
            memory: KeyCache::default(),
            uses: Uses::default(),
        }
    }

    /// Proves a caller by what the database says now. Blocks.
    pub(super) fn authenticate(
        &self,
        presented: &PresentedKey<'_>,
        from: Option<IpAddr>,
    ) -> Result<Identity, Rejection> {
        let refusal = |fault| Rejection::ApiKey {
            key: presented.id.to_owned(),
            fault,
        };
        // Before the row is looked for, so that a key that is not there takes as long as one that is.
        let hash = self.pepper.hash(presented.secret.as_bytes());
        let hash = hash.map_err(|_| refusal(KeyFault::Secret))?;
        let known = self.store.read(|tx| tx.api_key(presented.id))?;
        let known = known.ok_or_else(|| refusal(KeyFault::Unknown))?;
        let now = self.clock.now();
        let secret = proves(&known, &hash, from, now).map_err(refusal)?;
        self.uses.note(presented.number, now);
        let proven = proven(&known.key, secret);
        self.memory
            .keep(presented.number, known, secret, presented.secret);
        Ok(proven)
    }

    /// Proves a caller by what was read not long ago, if that proves anybody.
    pub(super) fn authenticate_cached(
        &self,
        presented: &PresentedKey<'_>,
        from: Option<IpAddr>,
    ) -> Option<Identity> {
        let known = self.memory.recall(presented.number)?;
        let now = self.clock.now();
        let secret = if known.is_for(presented.secret) {
            works(&known.key.key, known.secret, from, now).map(|()| known.secret)
        } else {
            // The other secret of a key that was rotated, or a wrong one.
            let hash = self.pepper.hash(presented.secret.as_bytes()).ok()?;
            proves(&known.key, &hash, from, now)
        };
        let secret = secret.ok()?;
        self.uses.note(presented.number, now);
        Some(proven(&known.key.key, secret))
    }

    pub(super) fn forget(&self, id: &str) {
        if let Some(number) = number(id) {
            self.memory.forget(number);
        }
    }
}

/// The number of the secret that a hash is of, if the key works with it from there.
fn proves(
    known: &KeptApiKey,
    hash: &[u8],
    from: Option<IpAddr>,
    now: Time,
) -> Result<i32, KeyFault> {
    let is = |other: &[u8]| are_equal(other, hash);
    let newest = known.key.validity.secret;
    let secret = if is(&known.secret_hash) {
        newest
    } else if known.previous_hash.as_deref().is_some_and(is) {
        newest - 1
    } else {
        return Err(KeyFault::Secret);
    };
    works(&known.key, secret, from, now).map(|()| secret)
}

/// Whether two hashes are equal; takes the same time whatever differs.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && memcmp::eq(one, other)
}

/// Whether the key works now, from there, with its secret of this number.
fn works(key: &ApiKey, secret: i32, from: Option<IpAddr>, now: Time) -> Result<(), KeyFault> {
    if let Some(ended) = key.validity.ended_for(secret, now) {
        return Err(KeyFault::Ended(ended));
    }
    if key.works_from(from) {
        Ok(())
    } else {
        Err(KeyFault::Address)
    }
}

fn proven(key: &ApiKey, secret: i32) -> Identity {
    Identity {
        id: key.id.clone(),
        proof: Proof::ApiKey { secret },
        role: key.role,
        accounts: key.accounts.clone(),
        // Its own end is looked up again where it counts.
        expires: None,
    }
}

/// A key that somebody presents.
pub(super) struct PresentedKey<'a> {
    id: &'a str,
    /// The same as a number.
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

/// The number that an id is written for; ids are in lower case.
fn number(id: &str) -> Option<u64> {
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u64::from_str_radix(id, 16).ok()).flatten()
}
