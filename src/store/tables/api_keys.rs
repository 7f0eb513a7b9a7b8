//! API keys, stored as keyed hashes, and when each was last used.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};

use super::columns;
use super::statement::Statement;
use crate::domain::clock::{Time, from_unix};
use crate::domain::credentials::api_key::{ApiKey, KeyValidity};
use crate::domain::{AccountId, Role};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::{api_key_accounts, api_key_uses, api_keys};
use crate::store::tx::Tx;

/// An API key, with the hashes that its secrets are checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptApiKey {
    pub key: ApiKey,
    /// HMAC-SHA256 of the newest secret.
    pub secret_hash: Vec<u8>,
    /// The same of the previous secret, if there is one that may still be valid.
    pub previous_hash: Option<Vec<u8>>,
    /// The name of the API key secret that is the key of `secret_hash`; `None` if that was not
    /// recorded.
    pub hashed_by: Option<String>,
    /// The same for `previous_hash`.
    pub previous_hashed_by: Option<String>,
}

impl std::fmt::Debug for KeptApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("KeptApiKey");
        out.field("key", &self.key).finish_non_exhaustive()
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
    expires_at: Option<i64>,
    allow_from: String,
    secret_version: i32,
    rotated_at: Option<i64>,
    previous_hash: Option<Vec<u8>>,
    previous_until: Option<i64>,
    hashed_by: Option<String>,
    previous_hashed_by: Option<String>,
}

/// `id`, and the columns of [`KeyValidity`].
type ValidityRow = (String, Option<i64>, Option<i64>, i32, Option<i64>);

/// When these keys are valid.
macro_rules! validities_among {
    ($ids:expr) => {{
        use diesel::prelude::*;
        use $crate::store::schema::api_keys;
        use $crate::store::tables::among::among;
        api_keys::table.filter(among(api_keys::id, $ids)).select((
            api_keys::id,
            api_keys::expires_at,
            api_keys::revoked_at,
            api_keys::secret_version,
            api_keys::previous_until,
        ))
    }};
}
pub(in crate::store) use validities_among;

/// The id of a key, and when it is valid.
pub(in crate::store) fn with_id(
    (id, expires, revoked, secret, until): ValidityRow,
) -> (String, KeyValidity) {
    let validity = KeyValidity {
        expires_at: expires.map(from_unix),
        revoked_at: revoked.map(from_unix),
        secret,
        previous_until: until.map(from_unix),
    };
    (id, validity)
}

impl From<&KeptApiKey> for Row {
    fn from(kept: &KeptApiKey) -> Self {
        let key = &kept.key;
        // A portal has any number of accounts, which are in `api_key_accounts`.
        let own = (key.role != Role::Portal)
            .then(|| key.accounts.first())
            .flatten();
        let networks = key.allow_from.iter().map(ToString::to_string);
        Self {
            id: key.id.clone(),
            secret_hash: kept.secret_hash.clone(),
            role: key.role.to_string(),
            account_id: own.map(ToString::to_string),
            label: key.label.clone(),
            created_at: key.created_at.timestamp(),
            revoked_at: columns::seconds(key.validity.revoked_at),
            expires_at: columns::seconds(key.validity.expires_at),
            allow_from: networks.collect::<Vec<_>>().join(" "),
            secret_version: key.validity.secret,
            rotated_at: columns::seconds(key.rotated_at),
            previous_hash: kept.previous_hash.clone(),
            previous_until: columns::seconds(key.validity.previous_until),
            hashed_by: kept.hashed_by.clone(),
            previous_hashed_by: kept.previous_hashed_by.clone(),
        }
    }
}

impl Row {
    /// The key. The accounts of a portal are in a table of their own.
    fn kept(
        self,
        portal_accounts: Vec<AccountId>,
        last_used_at: Option<i64>,
    ) -> Result<KeptApiKey, StoreError> {
        let own = self.account_id.as_deref().map(str::parse);
        let own = own.transpose().map_err(StoreError::corrupt)?;
        let networks = self.allow_from.split_whitespace().map(str::parse);
        Ok(KeptApiKey {
            key: ApiKey {
                id: self.id,
                role: self.role.parse().map_err(StoreError::corrupt)?,
                accounts: own.into_iter().chain(portal_accounts).collect(),
                label: self.label,
                created_at: from_unix(self.created_at),
                allow_from: networks
                    .collect::<Result<_, _>>()
                    .map_err(StoreError::corrupt)?,
                validity: KeyValidity {
                    expires_at: self.expires_at.map(from_unix),
                    revoked_at: self.revoked_at.map(from_unix),
                    secret: self.secret_version,
                    previous_until: self.previous_until.map(from_unix),
                },
                rotated_at: self.rotated_at.map(from_unix),
                last_used_at: last_used_at.map(from_unix),
            },
            secret_hash: self.secret_hash,
            previous_hash: self.previous_hash,
            hashed_by: self.hashed_by,
            previous_hashed_by: self.previous_hashed_by,
        })
    }
}

impl Tx<'_> {
    /// The key with this id, valid or not; without the time of its last use.
    pub fn api_key(&mut self, id: &str) -> Result<Option<KeptApiKey>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => api_keys::table.find(id).first::<Row>(c).optional())
        })?;
        let Some(row) = row else { return Ok(None) };
        let portal_accounts = if row.role == Role::Portal.as_str() {
            self.accounts_of_portals(&[id])?
                .remove(id)
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        row.kept(portal_accounts, None).map(Some)
    }

    /// A page of the keys, ordered by id, each with the time of its last use.
    pub fn list_api_keys(&mut self, page: &Page) -> Result<PageOf<ApiKey>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => api_keys::table
                .left_join(api_key_uses::table.on(api_key_uses::api_key_id.eq(api_keys::id)))
                .filter(api_keys::id.gt(page.after()))
                .order(api_keys::id)
                .limit(page.fetch())
                .select((api_keys::all_columns, api_key_uses::last_used_at.nullable()))
                .load::<(Row, Option<i64>)>(c))
        })?;
        let portals = rows
            .iter()
            .filter(|(row, _)| row.role == Role::Portal.as_str());
        let portals: Vec<&str> = portals.map(|(row, _)| row.id.as_str()).collect();
        let mut portal_accounts = self.accounts_of_portals(&portals)?;
        let rows = rows.into_iter().map(|(row, used)| {
            let portal_accounts = portal_accounts.remove(&row.id).unwrap_or_default();
            row.kept(portal_accounts, used).map(|kept| kept.key)
        });
        let keys = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(page.of_fetched(keys, |key| key.id.clone()))
    }

    /// When a key was last used, to about a minute.
    pub fn api_key_last_used(&mut self, id: &str) -> Result<Option<Time>, StoreError> {
        let found = self.run(|connection| {
            on_either!(connection, c => api_key_uses::table
                .find(id)
                .select(api_key_uses::last_used_at)
                .first::<i64>(c)
                .optional())
        })?;
        Ok(found.map(from_unix))
    }

    /// When these keys are valid; ids of no key are left out.
    pub(in crate::store) fn key_validities(
        &mut self,
        ids: &[&str],
    ) -> Result<Vec<(String, KeyValidity)>, StoreError> {
        let ids = ids.iter().copied();
        let rows = self.run(
            |connection| on_either!(connection, c => validities_among!(ids).load::<ValidityRow>(c)),
        )?;
        Ok(rows.into_iter().map(with_id).collect())
    }

    /// The accounts that each of these keys covers; nothing for an unknown id, or for a key of the
    /// carrier.
    pub fn accounts_of_api_keys(
        &mut self,
        ids: &[&str],
    ) -> Result<HashMap<String, Vec<AccountId>>, StoreError> {
        let mut accounts = self.accounts_of_portals(ids)?;
        let own = self.run(|connection| {
            on_either!(connection, c => api_keys::table
                .filter(api_keys::id.eq_any(ids))
                .filter(api_keys::account_id.is_not_null())
                .select((api_keys::id, api_keys::account_id.assume_not_null()))
                .load::<(String, String)>(c))
        })?;
        for (id, account) in own {
            let account = account.parse().map_err(StoreError::corrupt)?;
            accounts.entry(id).or_default().push(account);
        }
        Ok(accounts)
    }

    /// The accounts of these portals, ordered by id.
    fn accounts_of_portals(
        &mut self,
        keys: &[&str],
    ) -> Result<HashMap<String, Vec<AccountId>>, StoreError> {
        let mut portal_accounts: HashMap<String, Vec<AccountId>> = HashMap::new();
        if keys.is_empty() {
            return Ok(portal_accounts);
        }
        let rows = self.run(|connection| {
            on_either!(connection, c => api_key_accounts::table
                .filter(api_key_accounts::api_key_id.eq_any(keys))
                .order((api_key_accounts::api_key_id, api_key_accounts::account_id))
                .load::<(String, String)>(c))
        })?;
        for (key, account) in rows {
            let account = account.parse().map_err(StoreError::corrupt)?;
            portal_accounts.entry(key).or_default().push(account);
        }
        Ok(portal_accounts)
    }

    pub fn insert_api_key(&mut self, kept: &KeptApiKey) -> Result<(), StoreError> {
        let (row, key) = (Row::from(kept), &kept.key);
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(api_keys::table).values(&row).execute(c))
        })?;
        if key.role != Role::Portal {
            return Ok(());
        }
        let portal_accounts: Vec<_> = key
            .accounts
            .iter()
            .map(|account| {
                (
                    api_key_accounts::api_key_id.eq(&key.id),
                    api_key_accounts::account_id.eq(account.as_str()),
                )
            })
            .collect();
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(api_key_accounts::table).values(&portal_accounts).execute(c))
        })?;
        Ok(())
    }

    /// Updates the validity and the secrets of a key. Everything else is fixed at its creation.
    pub fn update_api_key(&mut self, kept: &KeptApiKey) -> Result<(), StoreError> {
        let row = Row::from(kept);
        self.run(|connection| {
            on_either!(connection, c => diesel::update(api_keys::table.find(&row.id))
                .set((
                    api_keys::secret_hash.eq(&row.secret_hash),
                    api_keys::revoked_at.eq(row.revoked_at),
                    api_keys::expires_at.eq(row.expires_at),
                    api_keys::secret_version.eq(row.secret_version),
                    api_keys::rotated_at.eq(row.rotated_at),
                    api_keys::previous_hash.eq(&row.previous_hash),
                    api_keys::previous_until.eq(row.previous_until),
                    api_keys::hashed_by.eq(&row.hashed_by),
                    api_keys::previous_hashed_by.eq(&row.previous_hashed_by),
                ))
                .execute(c))
        })?;
        Ok(())
    }

    /// Records when keys were last used, in one statement. A later use that another replica has
    /// recorded is kept.
    pub fn note_api_key_uses(&mut self, uses: &BTreeMap<String, i64>) -> Result<(), StoreError> {
        let ids: Vec<&str> = uses.keys().map(String::as_str).collect();
        let times: Vec<i64> = uses.values().copied().collect();
        // One constant statement for any number of keys: PostgreSQL takes arrays, SQLite JSON.
        self.run(|connection| match connection {
            AnyConnection::Postgres(c) => Statement::new(
                "INSERT INTO api_key_uses (api_key_id, last_used_at) \
                 SELECT u.id, u.at FROM unnest(?, ?) AS u (id, at) \
                 ON CONFLICT (api_key_id) DO UPDATE \
                 SET last_used_at = GREATEST(api_key_uses.last_used_at, excluded.last_used_at)",
            )
            .bind::<Array<Text>, _>(&ids)
            .bind::<Array<BigInt>, _>(&times)
            .execute(c),
            AnyConnection::Sqlite(c) => sql_query(
                // `WHERE true` keeps SQLite from parsing ON CONFLICT as a join constraint.
                "INSERT INTO api_key_uses (api_key_id, last_used_at) \
                 SELECT key, value FROM json_each(?) WHERE true \
                 ON CONFLICT (api_key_id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at)",
            )
            .bind::<Text, _>(serde_json::json!(uses).to_string())
            .execute(c),
        })?;
        Ok(())
    }
}
