//! API keys: `tna_ID_SECRET`. How one proves a caller; how they are kept stands in `keep`.

mod keep;
mod memory;
mod uses;

pub use keep::{ApiKeyError, LONGEST_OVERLAP, NewApiKey, ShownApiKey, USUAL_OVERLAP};

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::memcmp;
use uuid::Uuid;

use super::Unproven;
use super::pepper::Pepper;
use crate::domain::api_key::{ApiKey, Ended};
use crate::domain::{Caller, Clock, Proof, Time};
use crate::store::{KeptApiKey, Store};
use crate::telemetry::Metrics;
use memory::Memory;
use uses::Uses;

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
    metrics: Arc<Metrics>,
    memory: Memory,
    uses: Uses,
}

/// Why a key proves nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Not the form of a key.
    Malformed,
    /// There is no key with this id.
    Unknown,
    Secret,
    Ended(Ended),
    /// It does not work from there.
    Address,
}

impl ApiKeys {
    pub(super) fn new(
        store: Arc<Store>,
        pepper: Pepper,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            pepper,
            clock,
            metrics,
            memory: Memory::default(),
            uses: Uses::default(),
        }
    }

    /// Proves a caller by what the database says now. Blocks.
    pub(super) fn prove(
        &self,
        presented: Option<&str>,
        from: Option<IpAddr>,
        request_id: Uuid,
    ) -> Result<Caller, Unproven> {
        let Some(presented) = presented.and_then(PresentedKey::parse) else {
            return Err(self.refuse(None, Wrong::Malformed, request_id));
        };
        let id = presented.id;
        let refuse = |wrong| self.refuse(Some(id), wrong, request_id);
        // Before the row is looked for, so that a key that is not there takes as long as one that is.
        let hash = self.pepper.hash(presented.secret.as_bytes());
        let hash = hash.map_err(|_| refuse(Wrong::Secret))?;
        let known = self.store.read(|tx| tx.api_key(id))?;
        let known = known.ok_or_else(|| refuse(Wrong::Unknown))?;
        let now = self.clock.now();
        let secret = proves(&known, &hash, from, now).map_err(refuse)?;
        self.uses.note(presented.number, now);
        let caller = caller(&known.key, secret, request_id);
        self.memory.keep(presented.number, known);
        Ok(caller)
    }

    /// Proves a caller by what was read not long ago, if that proves anybody.
    pub(super) fn recall(
        &self,
        presented: &str,
        from: Option<IpAddr>,
        request_id: Uuid,
    ) -> Option<Caller> {
        let presented = PresentedKey::parse(presented)?;
        let known = self.memory.recall(presented.number)?;
        let hash = self.pepper.hash(presented.secret.as_bytes()).ok()?;
        let now = self.clock.now();
        let secret = proves(&known, &hash, from, now).ok()?;
        self.uses.note(presented.number, now);
        Some(caller(&known.key, secret, request_id))
    }

    pub(super) fn forget(&self, id: &str) {
        if let Some(number) = number(id) {
            self.memory.forget(number);
        }
    }

    /// Tells operators why, and callers nothing.
    fn refuse(&self, id: Option<&str>, wrong: Wrong, request_id: Uuid) -> Unproven {
        let reason = wrong.as_str();
        self.metrics.caller_refused("api-key", reason);
        let (id, request_id) = (id.unwrap_or("none"), request_id.to_string());
        log::info!(key = id, reason = reason, request_id = request_id.as_str(); "an API key was refused");
        Unproven::Invalid
    }
}

impl Wrong {
    /// The word of the log and the metric.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Secret => "wrong-secret",
            Self::Ended(ended) => ended.as_str(),
            Self::Address => "wrong-address",
        }
    }
}

/// The number of the secret that a hash is of, if the key works with it from there.
fn proves(known: &KeptApiKey, hash: &[u8], from: Option<IpAddr>, now: Time) -> Result<i32, Wrong> {
    let is = |other: &[u8]| other.len() == hash.len() && memcmp::eq(other, hash);
    let (newest, validity) = (known.key.validity.secret, known.key.validity);
    let secret = if is(&known.secret_hash) {
        newest
    } else if known.previous_hash.as_deref().is_some_and(is) {
        newest - 1
    } else {
        return Err(Wrong::Secret);
    };
    if let Some(ended) = validity.ended_for(secret, now) {
        return Err(Wrong::Ended(ended));
    }
    if known.key.works_from(from) {
        Ok(secret)
    } else {
        Err(Wrong::Address)
    }
}

fn caller(key: &ApiKey, secret: i32, request_id: Uuid) -> Caller {
    Caller {
        id: key.id.clone(),
        proof: Proof::ApiKey { secret },
        role: key.role,
        accounts: key.accounts.clone(),
        request_id,
    }
}

/// A key that somebody presents.
struct PresentedKey<'a> {
    id: &'a str,
    /// The same as a number.
    number: u64,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    fn parse(text: &'a str) -> Option<Self> {
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
