//! Delegations: what an account may get tokens for.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use super::connection::on_either;
use super::error::StoreError;
use super::inventory::versioned_table;
use super::page::{Page, PageOf};
use super::schema::delegations;
use super::touching::{Probes, Touching, Versions};
use super::tx::Tx;
use crate::domain::clock::Time;
use crate::domain::inventory::Delegation;
use crate::domain::{AccountId, NumberRange};

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = delegations)]
pub(super) struct Row {
    id: String,
    version: i32,
    account_id: String,
    parent_id: Option<String>,
    first_position: i64,
    last_position: i64,
    span: i64,
    ca: bool,
    reference: Option<String>,
    valid_from: i64,
    valid_until: Option<i64>,
    recorded_at: i64,
    superseded_at: Option<i64>,
}

impl From<&Delegation> for Row {
    fn from(delegation: &Delegation) -> Self {
        Self {
            id: delegation.row.id.to_string(),
            version: delegation.row.version,
            account_id: delegation.account.to_string(),
            parent_id: delegation.parent.map(|id| id.to_string()),
            first_position: delegation.numbers.first().position(),
            last_position: delegation.numbers.last().position(),
            span: delegation.numbers.span(),
            ca: delegation.ca,
            reference: delegation.reference.clone(),
            valid_from: delegation.window.from().timestamp(),
            valid_until: columns::seconds(delegation.window.until()),
            recorded_at: delegation.belief.recorded_at.timestamp(),
            superseded_at: columns::seconds(delegation.belief.superseded_at),
        }
    }
}

impl TryFrom<Row> for Delegation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let parent = row.parent_id.as_deref().map(Uuid::parse_str);
        Ok(Self {
            row: columns::row_ref(&row.id, row.version)?,
            account: row.account_id.parse().map_err(StoreError::corrupt)?,
            parent: parent.transpose().map_err(StoreError::corrupt)?,
            numbers: columns::numbers(row.first_position, row.last_position)?,
            ca: row.ca,
            reference: row.reference,
            window: columns::window(row.valid_from, row.valid_until)?,
            belief: columns::belief(row.recorded_at, row.superseded_at),
        })
    }
}

versioned_table! {
    table: delegations, name: "delegations", domain: Delegation,
    insert: insert_delegations, find: delegation, list: list_delegations, supersede: supersede_delegation,
    touching: delegations_touching,
}

impl Tx<'_> {
    /// A page of what one account was lent: the newest version of each delegation, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn list_delegations_of(
        &mut self,
        account: &AccountId,
        page: &Page,
    ) -> Result<PageOf<Delegation>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => delegations::table
                .filter(delegations::superseded_at.is_null())
                .filter(delegations::account_id.eq(account.as_str()))
                .filter(delegations::id.gt(page.after()))
                .order(delegations::id)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        page.of(rows, |row| row.id.clone())
    }
}
