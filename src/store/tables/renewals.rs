//! Renewals: standing rights to renew.

use diesel::prelude::*;
use uuid::Uuid;

use super::accounts::Within;
use super::among::among;
use super::columns;
use crate::domain::clock::{Time, from_unix};
use crate::domain::control::reproofing::Reproofing;
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{AccountId, TnAuthList};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::{delegations, renewals};
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = renewals)]
pub(super) struct Row {
    id: String,
    account_id: String,
    delegation_id: String,
    tkvalue: String,
    fingerprint: String,
    lifetime: i32,
    not_after: Option<i64>,
    caller: Option<String>,
    created_at: i64,
    created_by: String,
    revoked_at: Option<i64>,
    control_method: Option<String>,
    control_max_age: Option<i64>,
    control_due_at: Option<i64>,
}

impl From<&Renewal> for Row {
    fn from(renewal: &Renewal) -> Self {
        let control = renewal.control.as_ref();
        Self {
            id: renewal.id.to_string(),
            account_id: renewal.account.to_string(),
            delegation_id: renewal.delegation.to_string(),
            tkvalue: renewal.list.to_tkvalue(),
            fingerprint: renewal.fingerprint.to_string(),
            lifetime: i32::try_from(renewal.lifetime).unwrap_or(i32::MAX),
            not_after: columns::seconds(renewal.not_after),
            caller: renewal.caller.clone(),
            created_at: renewal.created_at.timestamp(),
            created_by: renewal.created_by.clone(),
            revoked_at: columns::seconds(renewal.revoked_at),
            control_method: control.map(|control| control.method.to_string()),
            control_max_age: control.map(|control| control.max_age.into()),
            control_due_at: columns::seconds(control.and_then(|control| control.due_at)),
        }
    }
}

impl TryFrom<Row> for Renewal {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = |text: &str| Uuid::parse_str(text).map_err(StoreError::corrupt);
        let control = match (row.control_method, row.control_max_age, row.control_due_at) {
            (Some(method), Some(max_age), due_at) => Some(Reproofing {
                method: method.parse().map_err(StoreError::corrupt)?,
                max_age: u32::try_from(max_age).map_err(StoreError::corrupt)?,
                due_at: due_at.map(from_unix),
            }),
            (None, None, None) => None,
            _ => return Err(StoreError::corrupt("a renewal names half a method")),
        };
        Ok(Self {
            id: id(&row.id)?,
            account: row.account_id.parse().map_err(StoreError::corrupt)?,
            delegation: id(&row.delegation_id)?,
            list: TnAuthList::from_tkvalue(&row.tkvalue).map_err(StoreError::corrupt)?,
            fingerprint: row.fingerprint.parse().map_err(StoreError::corrupt)?,
            lifetime: u32::try_from(row.lifetime).map_err(StoreError::corrupt)?,
            not_after: row.not_after.map(from_unix),
            caller: row.caller,
            created_at: from_unix(row.created_at),
            created_by: row.created_by,
            revoked_at: row.revoked_at.map(from_unix),
            control,
        })
    }
}

impl Tx<'_> {
    pub fn insert_renewal(&mut self, renewal: &Renewal) -> Result<(), StoreError> {
        let row = Row::from(renewal);
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(renewals::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// One right, even if it was revoked.
    pub fn renewal(&mut self, id: Uuid) -> Result<Option<Renewal>, StoreError> {
        Ok(self.renewals_of(&[id])?.pop())
    }

    /// The rights with these ids.
    pub fn renewals_of(&mut self, ids: &[Uuid]) -> Result<Vec<Renewal>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let rows = self.run(|connection| {
            on_either!(connection, c => renewals::table
                .filter(among(renewals::id, ids.iter().map(String::as_str)))
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// A page of the rights, ordered by id; with `within`, only those of accounts in it.
    pub fn list_renewals(
        &mut self,
        within: Option<&Within>,
        page: &Page,
    ) -> Result<PageOf<Renewal>, StoreError> {
        use super::accounts::{path, within};
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = renewals::table
                    .filter(renewals::id.gt(page.after()))
                    .order(renewals::id)
                    .limit(page.fetch())
                    .into_boxed();
                if let Some(within) = within {
                    query = query.filter(renewals::account_id.eq_any(within!(within)));
                }
                query.load::<Row>(c)
            })
        })?;
        page.of(rows, |row| row.id.clone())
    }

    /// Counts the rights of an account that are not revoked, have not expired, and whose
    /// delegations have not ended.
    pub fn count_renewals(&mut self, account: &AccountId, now: Time) -> Result<i64, StoreError> {
        let expired = renewals::not_after.le(now.timestamp());
        let delegation_end = delegations::valid_until;
        let open_delegations = delegations::table
            .filter(delegations::superseded_at.is_null())
            .filter(
                delegation_end
                    .is_null()
                    .or(delegation_end.gt(now.timestamp())),
            )
            .select(delegations::id);
        self.run(|connection| {
            on_either!(connection, c => renewals::table
                .filter(renewals::delegation_id.eq_any(open_delegations))
                .filter(renewals::account_id.eq(account.as_str()))
                .filter(renewals::revoked_at.is_null())
                .filter(renewals::not_after.is_null().or(diesel::dsl::not(expired)))
                .count()
                .get_result::<i64>(c))
        })
    }

    pub fn revoke_renewal(&mut self, id: Uuid, at: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(renewals::table
                .find(id.to_string())
                .filter(renewals::revoked_at.is_null()))
                .set(renewals::revoked_at.eq(at.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }
}
