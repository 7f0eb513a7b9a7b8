//! API keys, as keyed hashes.

use diesel::prelude::*;

use super::columns;
use super::connection::on_either;
use super::error::StoreError;
use super::schema::{api_key_accounts, api_keys};
use super::tx::Tx;
use crate::domain::clock::{Time, from_unix};
use crate::domain::{AccountId, Role};

/// What is kept of an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    /// HMAC-SHA256 of the secret part.
    pub secret_hash: Vec<u8>,
    pub role: Role,
    /// The accounts that the key speaks for.
    pub accounts: Vec<AccountId>,
    pub label: String,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("ApiKey");
        out.field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = api_keys)]
struct Row {
    id: String,
    secret_hash: Vec<u8>,
    role: String,
    account_id: Option<String>,
    label: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl Tx<'_> {
    /// The key with this id, revoked or not.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn api_key(&mut self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => api_keys::table.find(id).first::<Row>(c).optional())
        })?;
        let Some(row) = row else { return Ok(None) };
        let role = row.role.parse().map_err(StoreError::corrupt)?;
        let accounts = match role {
            // The only role with more accounts than one column holds.
            Role::Portal => self.run(|connection| {
                on_either!(connection, c => api_key_accounts::table
                    .filter(api_key_accounts::api_key_id.eq(id))
                    .order(api_key_accounts::account_id)
                    .select(api_key_accounts::account_id)
                    .load::<String>(c))
            })?,
            Role::Admin | Role::Provisioner | Role::Account | Role::Auditor => {
                row.account_id.into_iter().collect()
            }
        };
        let accounts = accounts
            .iter()
            .map(|id| id.parse().map_err(StoreError::corrupt));
        Ok(Some(ApiKey {
            id: row.id,
            secret_hash: row.secret_hash,
            role,
            accounts: accounts.collect::<Result<_, _>>()?,
            label: row.label,
            created_at: from_unix(row.created_at),
            revoked_at: row.revoked_at.map(from_unix),
        }))
    }

    /// Writes a new key.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub fn insert_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        let own = (key.role != Role::Portal)
            .then(|| key.accounts.first())
            .flatten();
        let row = Row {
            id: key.id.clone(),
            secret_hash: key.secret_hash.clone(),
            role: key.role.to_string(),
            account_id: own.map(ToString::to_string),
            label: key.label.clone(),
            created_at: key.created_at.timestamp(),
            revoked_at: columns::seconds(key.revoked_at),
        };
        let given: Vec<_> = match key.role {
            Role::Portal => key.accounts.as_slice(),
            Role::Admin | Role::Provisioner | Role::Account | Role::Auditor => &[],
        }
        .iter()
        .map(|account| {
            (
                api_key_accounts::api_key_id.eq(&key.id),
                api_key_accounts::account_id.eq(account.as_str()),
            )
        })
        .collect();
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(api_keys::table).values(&row).execute(c))
        })?;
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(api_key_accounts::table).values(&given).execute(c))
        })?;
        Ok(())
    }

    /// Makes a key useless from now on.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub fn revoke_api_key(&mut self, id: &str, at: Time) -> Result<bool, StoreError> {
        let changed = self.run(|connection| {
            on_either!(connection, c => diesel::update(api_keys::table
                .find(id)
                .filter(api_keys::revoked_at.is_null()))
                .set(api_keys::revoked_at.eq(at.timestamp()))
                .execute(c))
        })?;
        Ok(changed == 1)
    }
}
