//! API keys: `tna_ID_SECRET`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use serde_json::json;
use thiserror::Error;

use super::pepper::Pepper;
use crate::domain::clock::Time;
use crate::domain::{AccountId, Caller, Role};
use crate::store::{ApiKey, Event, Store, StoreError, Tx};

/// So that a key is known for what it is, also by scanners for leaked secrets.
const PREFIX: &str = "tna_";
/// Hex digits of the id: 64 random bits.
const ID_LENGTH: usize = 16;

/// A key that somebody presents.
pub(super) struct PresentedKey<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> PresentedKey<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let well_formed = id.len() == ID_LENGTH
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && URL_SAFE_NO_PAD
                .decode(secret)
                .is_ok_and(|bits| bits.len() == 32);
        well_formed.then_some(Self { id, secret })
    }

    pub(super) fn id(&self) -> &str {
        self.id
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub role: Role,
    /// One for role `account`; any number for `portal`; for `provisioner` and `auditor` the reseller whose customers they are
    /// confined to, or none; none for `admin`.
    pub accounts: Vec<AccountId>,
    /// What the key is for.
    pub label: String,
}

/// A key as it is shown, once.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownApiKey {
    /// The public part, which the audit trail names.
    pub id: String,
    /// The whole key.
    pub key: String,
}

impl std::fmt::Debug for ShownApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum ApiKeyError {
    #[error("a key with role `account` speaks for exactly one account; name it with --account")]
    OneAccount,
    #[error(
        "a key with role `portal` needs the accounts that it may mint for; name them with --account"
    )]
    NoAccounts,
    #[error("a key with role `admin` speaks for no account; leave --account out")]
    SomeAccounts,
    #[error(
        "a key with role `{0}` is confined to one reseller and its customers at most; name one --account, or none"
    )]
    SeveralResellers(Role),
    #[error("there is no account `{0}`; make it with `tn-authority account create`")]
    UnknownAccount(AccountId),
    #[error("random bits cannot be had: {0}")]
    OpenSsl(#[from] ErrorStack),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) async fn create(
    store: &Store,
    pepper: &Pepper,
    mut new: NewApiKey,
    by: &Caller,
    now: Time,
) -> Result<ShownApiKey, ApiKeyError> {
    new.accounts.sort_unstable();
    new.accounts.dedup();
    match (new.role, new.accounts.len()) {
        (Role::Account, 1) => {}
        (Role::Account, _) => return Err(ApiKeyError::OneAccount),
        (Role::Portal, 0) => return Err(ApiKeyError::NoAccounts),
        (Role::Portal, _) | (Role::Admin, 0) | (Role::Provisioner | Role::Auditor, 0 | 1) => {}
        (Role::Admin, _) => return Err(ApiKeyError::SomeAccounts),
        (Role::Provisioner | Role::Auditor, _) => {
            return Err(ApiKeyError::SeveralResellers(new.role));
        }
    }
    let (mut id, mut secret) = ([0; ID_LENGTH / 2], [0; 32]);
    rand_bytes(&mut id)?;
    rand_bytes(&mut secret)?;
    let id = format!("{:016x}", u64::from_be_bytes(id));
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let row = ApiKey {
        id: id.clone(),
        secret_hash: pepper.hash(secret.as_bytes())?,
        role: new.role,
        accounts: new.accounts,
        label: new.label,
        created_at: now,
        revoked_at: None,
    };
    let event = event(by, now, "create-api-key", &row);
    let work = move |tx: &mut Tx<'_>| {
        let known = tx.accounts(&row.accounts.iter().collect::<Vec<_>>())?;
        let unknown = row
            .accounts
            .iter()
            .find(|id| !known.iter().any(|account| account.id == **id));
        if let Some(unknown) = unknown {
            return Err(ApiKeyError::UnknownAccount(unknown.clone()));
        }
        tx.insert_api_key(&row)?;
        // Never the secret, nor its hash.
        let detail = json!({ "role": row.role, "accounts": row.accounts, "label": row.label });
        Ok(event.done(tx, &row.id, detail)?)
    };
    store.change("create-api-key", work).await?;
    Ok(ShownApiKey {
        key: format!("{PREFIX}{id}_{secret}"),
        id,
    })
}

/// An event about a key: about the account that it speaks for, if that is one.
pub(super) fn event(by: &Caller, now: Time, action: &'static str, key: &ApiKey) -> Event {
    let event = Event::new(by, now, action);
    match key.accounts.as_slice() {
        [only] => event.about(only),
        _ => event,
    }
}
