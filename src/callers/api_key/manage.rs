//! Keeping API keys: made, rotated, ended, shown. For the carrier's admins alone; each change leaves an audit event.
//!
//! A rotation makes another secret for the same key. So whatever speaks of the key by its id (the trail, limits, policies,
//! grants) goes on as before. At most two secrets work at one time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use serde_json::{Value, json};
use thiserror::Error;

use super::{ApiKeys, ID_LENGTH, PREFIX, SECRET_BYTES};
use crate::callers::role_accounts::{StandingError, standing};
use crate::domain::clock::rfc3339;
use crate::domain::credentials::api_key::{ApiKey, KeyState, KeyValidity};
use crate::domain::{AccountId, Actor, Caller, Event, Network, Role, Time};
use crate::store::{KeptApiKey, Page, PageOf, StoreError, Tx};
use crate::telemetry;

/// How long the old secret works after a rotation, in seconds, if nothing is said: a day.
pub const USUAL_OVERLAP: u32 = 86_400;
/// The longest that it may: 30 days.
pub const MAX_OVERLAP: u32 = 2_592_000;
/// How many accounts a portal may be given.
const MAX_ACCOUNTS: usize = 1_000;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub role: Role,
    /// One for role `account`; any number for `portal`; for `provisioner` and `auditor` the reseller whose customers they are
    /// confined to, or none; none for `admin`.
    pub accounts: Vec<AccountId>,
    /// What the key is for.
    pub label: String,
    pub expires_at: Option<Time>,
    /// Where it works from; from anywhere when there is none.
    pub allow_from: Vec<Network>,
}

impl NewApiKey {
    /// A key without an end, that works from anywhere.
    #[must_use]
    pub fn new(role: Role, accounts: Vec<AccountId>) -> Self {
        Self {
            role,
            accounts,
            label: String::new(),
            expires_at: None,
            allow_from: Vec::new(),
        }
    }
}

/// A key whose secret was just made, and is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownApiKey {
    pub kept: ApiKey,
    /// The whole key.
    pub key: String,
}

impl std::fmt::Debug for ShownApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownApiKey")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// By whom something is asked of the keys.
pub type KeyRequester<'a, T> = crate::store::Requester<'a, T, ApiKeyError>;

/// Why a key is not made or changed.
#[derive(Debug, Clone, Error)]
pub enum ApiKeyError {
    #[error("only an admin keeps API keys")]
    Forbidden,
    #[error("there is no API key with this id")]
    NotFound,
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error("a key speaks for at most {MAX_ACCOUNTS} accounts")]
    ManyAccounts,
    #[error("a key is bound to at most {} networks", Network::MAX)]
    ManyNetworks,
    #[error("there is no account `{0}`; make it first")]
    UnknownAccount(AccountId),
    #[error("{} is past", rfc3339(.0))]
    Past(Time),
    #[error("the old secret may work for at most {MAX_OVERLAP} seconds more")]
    LongOverlap,
    /// It has ended, and stays so.
    #[error("the key is {}; make another one", .0.as_str())]
    Ended(KeyState),
    #[error("random bits cannot be had: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Makes a key. What is returned is the only time that it is shown.
    ///
    /// # Errors
    /// [`ApiKeyError`] if the role and the accounts do not go together, or an account is unknown.
    pub async fn create(
        &self,
        by: impl Into<KeyRequester<'_, ShownApiKey>>,
        new: NewApiKey,
    ) -> Result<ShownApiKey, ApiKeyError> {
        let by = by.into();
        must_be_admin(by.caller())?;
        let (now, mut new) = (self.clock.now(), new);
        new.accounts = standing(new.role, new.accounts)?;
        new.allow_from.sort_unstable();
        new.allow_from.dedup();
        must_be_possible(&new, now)?;
        let mut id = [0; ID_LENGTH / 2];
        rand_bytes(&mut id)?;
        let id = format!("{:0ID_LENGTH$x}", u64::from_be_bytes(id));
        let secret = secret()?;
        let kept = KeptApiKey {
            secret_hash: self.pepper.hash(secret.as_bytes())?,
            previous_hash: None,
            key: ApiKey {
                id: id.clone(),
                role: new.role,
                accounts: new.accounts,
                label: new.label,
                created_at: now,
                allow_from: new.allow_from,
                validity: KeyValidity {
                    expires_at: new.expires_at,
                    revoked_at: None,
                    secret: 1,
                    previous_until: None,
                },
                rotated_at: None,
                last_used_at: None,
            },
        };
        let caller = by.caller().clone();
        let work = move |tx: &mut Tx<'_>| {
            let key = &kept.key;
            let known = tx.accounts(&key.accounts.iter().collect::<Vec<_>>())?;
            let is_known = |id: &&AccountId| known.iter().any(|account| account.id == **id);
            if let Some(unknown) = key.accounts.iter().find(|id| !is_known(id)) {
                return Err(ApiKeyError::UnknownAccount(unknown.clone()));
            }
            tx.insert_api_key(&kept)?;
            let detail = json!({
                "role": key.role, "accounts": key.accounts, "label": key.label,
                "expires_at": key.validity.expires_at, "allow_from": key.allow_from,
            });
            record(tx, &caller, now, "create-api-key", key, detail)?;
            Ok(shown(key.clone(), &secret))
        };
        self.write(by, "create-api-key", work).await
    }

    /// Gives a key another secret, which is returned and not shown again. The old one works for `overlap` seconds more; one
    /// that is older than that ends at once.
    ///
    /// # Errors
    /// [`ApiKeyError`] if there is no such key, or it has ended.
    pub async fn rotate(
        &self,
        by: impl Into<KeyRequester<'_, ShownApiKey>>,
        id: &str,
        overlap: u32,
    ) -> Result<ShownApiKey, ApiKeyError> {
        if overlap > MAX_OVERLAP {
            return Err(ApiKeyError::LongOverlap);
        }
        let secret = secret()?;
        let hash = self.pepper.hash(secret.as_bytes())?;
        let rotate = move |kept: &mut KeptApiKey, now: Time| {
            must_not_have_ended(kept, now)?;
            let until = now + TimeDelta::seconds(overlap.into());
            let old = std::mem::replace(&mut kept.secret_hash, hash.clone());
            kept.previous_hash = (overlap > 0).then_some(old);
            let key = &mut kept.key;
            key.validity.previous_until = (overlap > 0).then_some(until);
            key.validity.secret += 1;
            key.rotated_at = Some(now);
            let (secret, until) = (key.validity.secret, key.validity.previous_until);
            Ok(Some(json!({ "secret": secret, "previous_until": until })))
        };
        let view = move |key: ApiKey| shown(key, &secret);
        self.change(by.into(), id, "rotate-api-key", (rotate, view))
            .await
    }

    /// Says when a key ends: at an instant to come, sooner or later than was said before.
    ///
    /// # Errors
    /// [`ApiKeyError`] if there is no such key, it has ended already, or the instant is past.
    pub async fn expire(
        &self,
        by: impl Into<KeyRequester<'_, ApiKey>>,
        id: &str,
        at: Time,
    ) -> Result<ApiKey, ApiKeyError> {
        let expire = move |kept: &mut KeptApiKey, now: Time| {
            must_not_have_ended(kept, now)?;
            if at < now {
                return Err(ApiKeyError::Past(at));
            }
            let changed = kept.key.validity.expires_at.replace(at) != Some(at);
            Ok(changed.then(|| json!({ "expires_at": at })))
        };
        self.change(by.into(), id, "expire-api-key", (expire, |key| key))
            .await
    }

    /// Makes a key useless from now on, with all of its secrets. Can be repeated.
    ///
    /// # Errors
    /// [`ApiKeyError`] if there is no such key.
    pub async fn revoke(
        &self,
        by: impl Into<KeyRequester<'_, ApiKey>>,
        id: &str,
    ) -> Result<ApiKey, ApiKeyError> {
        let revoke = |kept: &mut KeptApiKey, now: Time| {
            let validity = &mut kept.key.validity;
            let changed = validity.revoked_at.is_none();
            validity.revoked_at.get_or_insert(now);
            Ok(changed.then(|| json!({})))
        };
        self.change(by.into(), id, "revoke-api-key", (revoke, |key| key))
            .await
    }

    /// A page of the keys, in the order of their ids. Blocks.
    ///
    /// # Errors
    /// [`ApiKeyError`] if the caller may not know, or the store cannot answer.
    pub fn list(&self, by: &Caller, page: &Page) -> Result<PageOf<ApiKey>, ApiKeyError> {
        must_be_admin(by)?;
        self.store.read(|tx| Ok(tx.list_api_keys(page)?))
    }

    /// One key. Blocks.
    ///
    /// # Errors
    /// [`ApiKeyError`] if there is none, the caller may not know, or the store cannot answer.
    pub fn get(&self, by: &Caller, id: &str) -> Result<ApiKey, ApiKeyError> {
        must_be_admin(by)?;
        self.store.read(|tx| Ok(find(tx, id)?.key))
    }

    /// Changes a key; the change says what the trail is to hold, or nothing if there was nothing to change. Then the key is
    /// shown.
    async fn change<T: Send + 'static>(
        &self,
        by: KeyRequester<'_, T>,
        id: &str,
        action: &'static str,
        (mut change, show): (
            impl FnMut(&mut KeptApiKey, Time) -> Result<Option<Value>, ApiKeyError> + Send + 'static,
            impl Fn(ApiKey) -> T + Send + 'static,
        ),
    ) -> Result<T, ApiKeyError> {
        must_be_admin(by.caller())?;
        let (now, caller, key) = (self.clock.now(), by.caller().clone(), id.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut kept = find(tx, &key)?;
            if let Some(detail) = change(&mut kept, now)? {
                tx.update_api_key(&kept)?;
                record(tx, &caller, now, action, &kept.key, detail)?;
            }
            Ok(show(kept.key))
        };
        let changed = self.write(by, action, work).await?;
        self.forget(id);
        Ok(changed)
    }

    /// Does `work` in a transaction, and once, if whoever asks may come again.
    async fn write<T: Send + 'static>(
        &self,
        by: KeyRequester<'_, T>,
        name: &'static str,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, ApiKeyError> + Send + 'static,
    ) -> Result<T, ApiKeyError> {
        let actor = Actor::new(by.caller(), &self.clock).in_trace(telemetry::trace_id());
        let Some((keyed, mut seal)) = by.into_keyed() else {
            return self.store.change(actor, name, work).await;
        };
        // What is refused is undone, and kept as an answer.
        let once = move |tx: &mut Tx<'_>| tx.savepoint(&mut work);
        let seal = move |outcome: &Result<T, ApiKeyError>| seal(outcome.as_ref());
        let done = self.store.change_once(actor, name, keyed, once, seal);
        done.await
    }
}

fn find(tx: &mut Tx<'_>, id: &str) -> Result<KeptApiKey, ApiKeyError> {
    let mut kept = tx.api_key(id)?.ok_or(ApiKeyError::NotFound)?;
    kept.key.last_used_at = tx.api_key_last_used(id)?;
    Ok(kept)
}

fn must_be_admin(by: &Caller) -> Result<(), ApiKeyError> {
    match by.role {
        Role::Admin => Ok(()),
        Role::Provisioner | Role::Portal | Role::Account | Role::Auditor | Role::Renewer => {
            Err(ApiKeyError::Forbidden)
        }
    }
}

fn must_be_possible(new: &NewApiKey, now: Time) -> Result<(), ApiKeyError> {
    if new.accounts.len() > MAX_ACCOUNTS {
        return Err(ApiKeyError::ManyAccounts);
    }
    if new.allow_from.len() > Network::MAX {
        return Err(ApiKeyError::ManyNetworks);
    }
    match new.expires_at {
        Some(end) if end <= now => Err(ApiKeyError::Past(end)),
        Some(_) | None => Ok(()),
    }
}

fn must_not_have_ended(kept: &KeptApiKey, now: Time) -> Result<(), ApiKeyError> {
    match kept.key.state(now) {
        KeyState::Active => Ok(()),
        state @ (KeyState::Expired | KeyState::Revoked) => Err(ApiKeyError::Ended(state)),
    }
}

fn secret() -> Result<String, ErrorStack> {
    let mut bits = [0; SECRET_BYTES];
    rand_bytes(&mut bits)?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

fn shown(kept: ApiKey, secret: &str) -> ShownApiKey {
    let key = format!("{PREFIX}{}_{secret}", kept.id);
    ShownApiKey { kept, key }
}

fn record(
    tx: &mut Tx<'_>,
    by: &Caller,
    now: Time,
    action: &'static str,
    key: &ApiKey,
    detail: Value,
) -> Result<(), StoreError> {
    let (id, accounts) = (&key.id, key.accounts.as_slice());
    let event = Event::new(by, now, action).in_trace(telemetry::trace_id());
    // About the account that the key speaks for, if that is one.
    let event = match accounts {
        [only] => event.about(only),
        _ => event,
    };
    tx.record(&event.done(&id, detail))
}
