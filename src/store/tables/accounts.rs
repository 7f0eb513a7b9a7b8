//! Accounts and their suspensions.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use crate::domain::accounts::account::{Account, LifetimeMode, Suspension};
use crate::domain::clock::{Time, from_unix};
use crate::domain::{AccountId, Dialect};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::{accounts, horizon_accounts, legacy_accounts, suspensions};
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = accounts)]
pub(in crate::store) struct Row {
    id: String,
    name: String,
    parent_id: Option<String>,
    path: String,
    created_at: i64,
}

/// The path from the carrier to an account: `/reseller/customer`. No id contains a `/`, so
/// everything below an account starts with its path and a `/`, and is contiguous in an index.
pub(in crate::store) fn path(account: &Account) -> String {
    let steps = account.above.iter().rev().chain([&account.id]);
    steps.fold(String::new(), |path, id| path + "/" + id.as_str())
}

/// An account's row, and since when it is suspended, its tokens live to the horizon, and its
/// requests are read in the legacy dialect.
pub(in crate::store) type WithSuspension = (Row, Option<i64>, Option<i64>, Option<i64>);

impl TryFrom<WithSuspension> for Account {
    type Error = StoreError;

    fn try_from(
        (row, suspended_at, horizon_since, legacy_since): WithSuspension,
    ) -> Result<Self, StoreError> {
        // The last step of the path is the account itself.
        let above = row.path.split('/').skip(1).map(str::parse);
        let mut above: Vec<AccountId> = above
            .collect::<Result<_, _>>()
            .map_err(StoreError::corrupt)?;
        above.pop();
        above.reverse();
        Ok(Self {
            id: row.id.parse().map_err(StoreError::corrupt)?,
            name: row.name,
            above,
            created_at: from_unix(row.created_at),
            suspended_since: suspended_at.map(from_unix),
            lifetime: match horizon_since {
                Some(_) => LifetimeMode::GrantHorizon,
                None => LifetimeMode::Proof,
            },
            dialect: match legacy_since {
                Some(_) => Dialect::Legacy,
                None => Dialect::Strict,
            },
        })
    }
}

/// The accounts, each with its open suspension and its settings.
macro_rules! with_suspension {
    () => {
        accounts::table
            .left_join(
                suspensions::table.on(suspensions::account_id
                    .eq(accounts::id)
                    .and(suspensions::resumed_at.is_null())),
            )
            // These tables have rows only for accounts that differ from the default.
            .left_join(horizon_accounts::table.on(horizon_accounts::account_id.eq(accounts::id)))
            .left_join(legacy_accounts::table.on(legacy_accounts::account_id.eq(accounts::id)))
            .select((
                accounts::all_columns,
                suspensions::suspended_at.nullable(),
                horizon_accounts::since.nullable(),
                legacy_accounts::since.nullable(),
            ))
    };
}

/// Those of these accounts that exist.
macro_rules! accounts_among {
    ($ids:expr) => {{
        use diesel::prelude::*;
        use $crate::store::schema::{accounts, horizon_accounts, legacy_accounts, suspensions};
        use $crate::store::tables::among::among;
        $crate::store::tables::accounts::with_suspension!().filter(among(accounts::id, $ids))
    }};
}
pub(in crate::store) use {accounts_among, with_suspension};

/// A set of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    pub roots: Vec<Account>,
    /// Whether all accounts below them are included.
    pub below: bool,
}

/// The ids of the accounts of a [`Within`]. `0` is the character after `/`.
macro_rules! within {
    ($within:expr) => {{
        use $crate::store::schema::accounts;
        let mut found = accounts::table
            .select(accounts::id)
            // Matches nothing; the loop adds each root with OR.
            .filter(accounts::path.eq(""))
            .into_boxed();
        for root in &$within.roots {
            let path = path(root);
            found = found.or_filter(accounts::path.eq(path.clone()));
            if $within.below {
                let (first, end) = (format!("{path}/"), format!("{path}0"));
                found = found.or_filter(accounts::path.ge(first).and(accounts::path.lt(end)));
            }
        }
        found
    }};
}
pub(in crate::store) use within;

impl Tx<'_> {
    /// Those of these accounts that exist.
    pub fn accounts(&mut self, ids: &[&AccountId]) -> Result<Vec<Account>, StoreError> {
        let ids = ids.iter().map(|id| id.as_str());
        let rows = self.run(|connection| {
            on_either!(connection, c => accounts_among!(ids).load::<WithSuspension>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    pub fn account(&mut self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.accounts(&[id])?.pop())
    }

    /// A page of the accounts, ordered by id; with `within`, only those in it.
    pub fn list_accounts(
        &mut self,
        within: Option<&Within>,
        page: &Page,
    ) -> Result<PageOf<Account>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = with_suspension!()
                    .filter(accounts::id.gt(page.after()))
                    .order(accounts::id)
                    .limit(page.fetch())
                    .into_boxed();
                if let Some(within) = within {
                    query = query.filter(accounts::id.eq_any(within!(within)));
                }
                query.load::<WithSuspension>(c)
            })
        })?;
        page.of(rows, |(row, _, _, _)| row.id.clone())
    }

    pub fn insert_account(&mut self, account: &Account) -> Result<(), StoreError> {
        let row = Row {
            id: account.id.to_string(),
            name: account.name.clone(),
            parent_id: account.parent().map(ToString::to_string),
            path: path(account),
            created_at: account.created_at.timestamp(),
        };
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(accounts::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// Changes an account's name; its id, parent and history remain.
    pub fn rename_account(&mut self, id: &AccountId, name: &str) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(accounts::table.find(id.as_str()))
                .set(accounts::name.eq(name))
                .execute(c))
        })?;
        Ok(())
    }

    /// Sets how long the account's tokens live.
    pub fn set_lifetime_mode(
        &mut self,
        id: &AccountId,
        mode: LifetimeMode,
        at: Time,
    ) -> Result<(), StoreError> {
        let values = (
            horizon_accounts::account_id.eq(id.as_str()),
            horizon_accounts::since.eq(at.timestamp()),
        );
        self.run(|connection| {
            on_either!(connection, c => match mode {
                LifetimeMode::Proof => diesel::delete(horizon_accounts::table.find(id.as_str())).execute(c),
                LifetimeMode::GrantHorizon => diesel::insert_into(horizon_accounts::table).values(values).execute(c),
            })
        })?;
        Ok(())
    }

    /// Sets how strictly the account's requests are read.
    pub fn set_dialect(
        &mut self,
        id: &AccountId,
        dialect: Dialect,
        at: Time,
    ) -> Result<(), StoreError> {
        let values = (
            legacy_accounts::account_id.eq(id.as_str()),
            legacy_accounts::since.eq(at.timestamp()),
        );
        self.run(|connection| {
            on_either!(connection, c => match dialect {
                Dialect::Strict => diesel::delete(legacy_accounts::table.find(id.as_str())).execute(c),
                Dialect::Legacy => diesel::insert_into(legacy_accounts::table).values(values).execute(c),
            })
        })?;
        Ok(())
    }

    /// Whether an account was suspended at an instant.
    pub fn was_suspended(&mut self, id: &AccountId, at: Time) -> Result<bool, StoreError> {
        let at = at.timestamp();
        let found = self.run(|connection| {
            on_either!(connection, c => suspensions::table
                .filter(suspensions::account_id.eq(id.as_str()))
                .filter(suspensions::suspended_at.le(at))
                .filter(suspensions::resumed_at.is_null().or(suspensions::resumed_at.gt(at)))
                .select(suspensions::id)
                .first::<String>(c)
                .optional())
        })?;
        Ok(found.is_some())
    }

    /// The open suspension of an account, if there is one.
    pub fn suspension(&mut self, id: &AccountId) -> Result<Option<Suspension>, StoreError> {
        let found = self.run(|connection| {
            on_either!(connection, c => suspensions::table
                .filter(suspensions::account_id.eq(id.as_str()))
                .filter(suspensions::resumed_at.is_null())
                .select(suspensions::suspended_by)
                .first::<Option<String>>(c)
                .optional())
        })?;
        let Some(by) = found else { return Ok(None) };
        let by = by.as_deref().map(str::parse).transpose();
        let by = by.map_err(StoreError::corrupt)?;
        Ok(Some(Suspension { by }))
    }

    /// Opens a suspension. Proofs of control of the account, and of all accounts below it, end.
    pub fn suspend_account(
        &mut self,
        account: &Account,
        by: Option<&AccountId>,
        row: Uuid,
        at: Time,
    ) -> Result<(), StoreError> {
        let values = (
            suspensions::id.eq(row.to_string()),
            suspensions::account_id.eq(account.id.as_str()),
            suspensions::suspended_by.eq(by.map(AccountId::as_str)),
            suspensions::suspended_at.eq(at.timestamp()),
            suspensions::resumed_at.eq(columns::seconds(None)),
        );
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(suspensions::table).values(values).execute(c))
        })?;
        let accounts = Within {
            roots: vec![account.clone()],
            below: true,
        };
        self.end_proofs_of_accounts(&accounts, at)
    }

    /// Closes the open suspension.
    pub fn resume_account(&mut self, id: &AccountId, at: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(suspensions::table
                .filter(suspensions::account_id.eq(id.as_str()))
                .filter(suspensions::resumed_at.is_null()))
                .set(suspensions::resumed_at.eq(at.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }
}
