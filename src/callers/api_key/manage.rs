//! Manages API keys: create, rotate, expire, revoke, list. For the carrier's admins only; each
//! change records an audit event.
//!
//! A rotation makes a new secret for the same key, so that references to its id stay valid: in the
//! audit trail, rate limits, policies and grants. At most two secrets work at the same time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use serde_json::{Value, json};
use thiserror::Error;

use super::{ApiKeys, ID_LENGTH, PREFIX, SECRET_BYTES};
use crate::callers::role_accounts::{RoleAccountsError, role_accounts};
use crate::domain::clock::rfc3339;
use crate::domain::credentials::api_key::{ApiKey, KeyState, KeyValidity};
use crate::domain::{AccountId, Actor, AuditAction, Caller, Event, Network, Role, Time};
use crate::store::{KeptApiKey, Page, PageOf, StoreError, Tx};
use crate::telemetry;

/// How long the old secret works after a rotation by default, in seconds: a day.
pub const DEFAULT_OVERLAP: u32 = 86_400;
/// The longest time that it can work, in seconds: 30 days.
pub const MAX_OVERLAP: u32 = 2_592_000;
/// Accounts of a portal.
const MAX_ACCOUNTS: usize = 1_000;

/// A key to create.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub role: Role,
    /// One for `account` and `renewer`; one or more for `portal`; none for `admin`. For
    /// `provisioner` and `auditor`, the reseller whose customers they are restricted to, or none.
    pub accounts: Vec<AccountId>,
    /// What the key is for.
    pub label: String,
    pub expires_at: Option<Time>,
    /// The networks that it works from; empty: anywhere.
    pub allow_from: Vec<Network>,
}

impl NewApiKey {
    /// A key that does not expire and works from anywhere.
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

/// A key with a new secret, which is shown only now.
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

/// The caller of a change to the keys, with the idempotency key of the request.
pub type KeyRequester<'a, T> = crate::store::Requester<'a, T, ApiKeyError>;

/// Why a key is not created or changed.
#[derive(Debug, Clone, Error)]
pub enum ApiKeyError {
    #[error("only an admin manages API keys")]
    Forbidden,
    #[error("there is no API key with this id")]
    NotFound,
    #[error(transparent)]
    RoleAccounts(#[from] RoleAccountsError),
    #[error("a key covers at most {MAX_ACCOUNTS} accounts")]
    ManyAccounts,
    #[error("a key is limited to at most {} networks", Network::MAX)]
    ManyNetworks,
    #[error("there is no account `{0}`; create it first")]
    UnknownAccount(AccountId),
    #[error("{} is in the past", rfc3339(.0))]
    Past(Time),
    #[error("the overlap is at most {MAX_OVERLAP} seconds")]
    LongOverlap,
    #[error("the key is {}; create another one", .0.as_str())]
    Ended(KeyState),
    #[error("OpenSSL cannot generate a secret: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Creates a key. Its secret is returned here only.
    pub async fn create(
        &self,
        by: impl Into<KeyRequester<'_, ShownApiKey>>,
        new: NewApiKey,
    ) -> Result<ShownApiKey, ApiKeyError> {
        let by = by.into();
        must_be_admin(by.caller())?;
        let (now, mut new) = (self.clock.now(), new);
        new.accounts = role_accounts(new.role, new.accounts)?;
        new.allow_from.sort_unstable();
        new.allow_from.dedup();
        must_be_valid(&new, now)?;
        let mut id = [0; ID_LENGTH / 2];
        rand_bytes(&mut id)?;
        let id = format!("{:0ID_LENGTH$x}", u64::from_be_bytes(id));
        let secret = secret()?;
        let stored = KeptApiKey {
            secret_hash: self.peppers.newest.hash(secret.as_bytes())?,
            previous_hash: None,
            hashed_by: Some(self.peppers.name().to_owned()),
            previous_hashed_by: None,
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
            let key = &stored.key;
            let known = tx.accounts(&key.accounts.iter().collect::<Vec<_>>())?;
            let is_known = |id: &&AccountId| known.iter().any(|account| account.id == **id);
            if let Some(unknown) = key.accounts.iter().find(|id| !is_known(id)) {
                return Err(ApiKeyError::UnknownAccount(unknown.clone()));
            }
            tx.insert_api_key(&stored)?;
            let detail = json!({
                "role": key.role, "accounts": key.accounts, "label": key.label,
                "expires_at": key.validity.expires_at, "allow_from": key.allow_from,
            });
            record(tx, &caller, now, AuditAction::CreateApiKey, key, detail)?;
            Ok(shown(key.clone(), &secret))
        };
        self.write(by, AuditAction::CreateApiKey.as_str(), work)
            .await
    }

    /// Makes a new secret for a key, which is returned here only. The current secret works for
    /// `overlap` more seconds; the one before it ends immediately.
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
        let hash = self.peppers.newest.hash(secret.as_bytes())?;
        let hashed_by = self.peppers.name().to_owned();
        let rotate = move |stored: &mut KeptApiKey, now: Time| {
            must_not_have_ended(stored, now)?;
            let until = now + TimeDelta::seconds(overlap.into());
            let old = std::mem::replace(&mut stored.secret_hash, hash.clone());
            stored.previous_hash = (overlap > 0).then_some(old);
            stored.previous_hashed_by = stored.hashed_by.replace(hashed_by.clone());
            let key = &mut stored.key;
            key.validity.previous_until = (overlap > 0).then_some(until);
            key.validity.secret += 1;
            key.rotated_at = Some(now);
            let (secret, until) = (key.validity.secret, key.validity.previous_until);
            Ok(Some(json!({ "secret": secret, "previous_until": until })))
        };
        let view = move |key: ApiKey| shown(key, &secret);
        self.change(by.into(), id, AuditAction::RotateApiKey, (rotate, view))
            .await
    }

    /// Sets when a key expires: any time in the future, earlier or later than the present setting.
    pub async fn expire(
        &self,
        by: impl Into<KeyRequester<'_, ApiKey>>,
        id: &str,
        at: Time,
    ) -> Result<ApiKey, ApiKeyError> {
        let expire = move |stored: &mut KeptApiKey, now: Time| {
            must_not_have_ended(stored, now)?;
            if at < now {
                return Err(ApiKeyError::Past(at));
            }
            let changed = stored.key.validity.expires_at.replace(at) != Some(at);
            Ok(changed.then(|| json!({ "expires_at": at })))
        };
        self.change(
            by.into(),
            id,
            AuditAction::ExpireApiKey,
            (expire, |key| key),
        )
        .await
    }

    /// Revokes a key with all of its secrets, now. Idempotent.
    pub async fn revoke(
        &self,
        by: impl Into<KeyRequester<'_, ApiKey>>,
        id: &str,
    ) -> Result<ApiKey, ApiKeyError> {
        let revoke = |stored: &mut KeptApiKey, now: Time| {
            let validity = &mut stored.key.validity;
            let changed = validity.revoked_at.is_none();
            validity.revoked_at.get_or_insert(now);
            Ok(changed.then(|| json!({})))
        };
        self.change(
            by.into(),
            id,
            AuditAction::RevokeApiKey,
            (revoke, |key| key),
        )
        .await
    }

    /// A page of the keys, sorted by id. Blocks.
    pub fn list(&self, by: &Caller, page: &Page) -> Result<PageOf<ApiKey>, ApiKeyError> {
        must_be_admin(by)?;
        self.store.read(|tx| Ok(tx.list_api_keys(page)?))
    }

    /// One key. Blocks.
    pub fn get(&self, by: &Caller, id: &str) -> Result<ApiKey, ApiKeyError> {
        must_be_admin(by)?;
        self.store.read(|tx| Ok(find(tx, id)?.key))
    }

    /// Changes a key. `change` returns the detail of the audit event, or `None` if nothing had to
    /// change; `show` makes the result.
    async fn change<T: Send + 'static>(
        &self,
        by: KeyRequester<'_, T>,
        id: &str,
        action: AuditAction,
        (mut change, show): (
            impl FnMut(&mut KeptApiKey, Time) -> Result<Option<Value>, ApiKeyError> + Send + 'static,
            impl Fn(ApiKey) -> T + Send + 'static,
        ),
    ) -> Result<T, ApiKeyError> {
        must_be_admin(by.caller())?;
        let (now, caller, key) = (self.clock.now(), by.caller().clone(), id.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut stored = find(tx, &key)?;
            if let Some(detail) = change(&mut stored, now)? {
                tx.update_api_key(&stored)?;
                record(tx, &caller, now, action, &stored.key, detail)?;
            }
            Ok(show(stored.key))
        };
        let changed = self.write(by, action.as_str(), work).await?;
        self.forget(id);
        Ok(changed)
    }

    /// Does `work` in a transaction, and at most once if the request has an idempotency key.
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
        // The savepoint undoes refused work, while the refusal itself is stored as the answer.
        let once = move |tx: &mut Tx<'_>| tx.savepoint(&mut work);
        let seal = move |outcome: &Result<T, ApiKeyError>| seal(outcome.as_ref());
        let done = self.store.change_once(actor, name, keyed, once, seal);
        done.await
    }
}

fn find(tx: &mut Tx<'_>, id: &str) -> Result<KeptApiKey, ApiKeyError> {
    let mut stored = tx.api_key(id)?.ok_or(ApiKeyError::NotFound)?;
    stored.key.last_used_at = tx.api_key_last_used(id)?;
    Ok(stored)
}

fn must_be_admin(by: &Caller) -> Result<(), ApiKeyError> {
    match by.role {
        Role::Admin => Ok(()),
        Role::Provisioner | Role::Portal | Role::Account | Role::Auditor | Role::Renewer => {
            Err(ApiKeyError::Forbidden)
        }
    }
}

fn must_be_valid(new: &NewApiKey, now: Time) -> Result<(), ApiKeyError> {
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

fn must_not_have_ended(stored: &KeptApiKey, now: Time) -> Result<(), ApiKeyError> {
    match stored.key.state(now) {
        KeyState::Active => Ok(()),
        state @ (KeyState::Expired | KeyState::Revoked) => Err(ApiKeyError::Ended(state)),
    }
}

fn secret() -> Result<String, ErrorStack> {
    let mut bits = [0; SECRET_BYTES];
    rand_bytes(&mut bits)?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

fn shown(stored: ApiKey, secret: &str) -> ShownApiKey {
    let key = format!("{PREFIX}{}_{secret}", stored.id);
    ShownApiKey { kept: stored, key }
}

fn record(
    tx: &mut Tx<'_>,
    by: &Caller,
    now: Time,
    action: AuditAction,
    key: &ApiKey,
    detail: Value,
) -> Result<(), StoreError> {
    let (id, accounts) = (&key.id, key.accounts.as_slice());
    let event = Event::new(by, now, action).in_trace(telemetry::trace_id());
    // An event is about one account at most.
    let event = match accounts {
        [only] => event.about(only),
        _ => event,
    };
    tx.record(&event.done(&id, detail))
}
