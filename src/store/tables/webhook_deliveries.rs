//! Deliveries: what was sent, or will be sent, to webhooks.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use crate::domain::clock::from_unix;
use crate::domain::webhook::Delivery;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::webhook_deliveries;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = webhook_deliveries)]
#[diesel(treat_none_as_null = true)]
struct DeliveryRow {
    id: String,
    webhook_id: String,
    kind: String,
    first_sequence: i64,
    last_sequence: i64,
    items: i32,
    state: String,
    attempts: i32,
    last_attempt_at: Option<i64>,
    last_status: Option<i32>,
    last_failure: Option<String>,
    replay_of: Option<String>,
    created_at: i64,
    give_up_at: i64,
    finished_at: Option<i64>,
}

impl From<&Delivery> for DeliveryRow {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            webhook_id: delivery.webhook.to_string(),
            kind: delivery.kind.as_str().to_owned(),
            first_sequence: delivery.first,
            last_sequence: delivery.last,
            items: delivery.items,
            state: delivery.state.as_str().to_owned(),
            attempts: delivery.attempts,
            last_attempt_at: columns::seconds(delivery.last_attempt_at),
            last_status: delivery.last_status,
            last_failure: delivery.last_failure.clone(),
            replay_of: delivery.replay_of.map(|id| id.to_string()),
            created_at: delivery.created_at.timestamp(),
            give_up_at: delivery.give_up_at.timestamp(),
            finished_at: columns::seconds(delivery.finished_at),
        }
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let id = |text: &str| Uuid::parse_str(text).map_err(StoreError::corrupt);
        Ok(Self {
            id: id(&row.id)?,
            webhook: id(&row.webhook_id)?,
            kind: row.kind.parse().map_err(StoreError::corrupt)?,
            first: row.first_sequence,
            last: row.last_sequence,
            items: row.items,
            state: row.state.parse().map_err(StoreError::corrupt)?,
            attempts: row.attempts,
            last_attempt_at: row.last_attempt_at.map(from_unix),
            last_status: row.last_status,
            last_failure: row.last_failure,
            replay_of: row.replay_of.as_deref().map(id).transpose()?,
            created_at: from_unix(row.created_at),
            give_up_at: from_unix(row.give_up_at),
            finished_at: row.finished_at.map(from_unix),
        })
    }
}

impl Tx<'_> {
    pub fn insert_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        let row = DeliveryRow::from(delivery);
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(webhook_deliveries::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// Updates the state of a delivery.
    pub fn update_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        let row = DeliveryRow::from(delivery);
        self.run(|connection| {
            on_either!(connection, c => diesel::update(webhook_deliveries::table.find(&row.id))
                .set(&row)
                .execute(c))
        })?;
        Ok(())
    }

    /// One delivery of a webhook.
    pub fn delivery(&mut self, webhook: Uuid, id: Uuid) -> Result<Option<Delivery>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => webhook_deliveries::table
                .find(id.to_string())
                .filter(webhook_deliveries::webhook_id.eq(webhook.to_string()))
                .first::<DeliveryRow>(c)
                .optional())
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// Counts the unfinished deliveries of a webhook.
    pub fn count_pending_deliveries(&mut self, webhook: Uuid) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => webhook_deliveries::table
                .filter(webhook_deliveries::webhook_id.eq(webhook.to_string()))
                .filter(webhook_deliveries::finished_at.is_null())
                .count()
                .get_result(c))
        })
    }

    /// The oldest unfinished delivery of a webhook.
    pub fn pending_delivery(&mut self, webhook: Uuid) -> Result<Option<Delivery>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => webhook_deliveries::table
                .filter(webhook_deliveries::webhook_id.eq(webhook.to_string()))
                .filter(webhook_deliveries::finished_at.is_null())
                .order(webhook_deliveries::id)
                .first::<DeliveryRow>(c)
                .optional())
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// A page of the deliveries of a webhook, the oldest first.
    pub fn list_deliveries(
        &mut self,
        webhook: Uuid,
        page: &Page,
    ) -> Result<PageOf<Delivery>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => webhook_deliveries::table
                .filter(webhook_deliveries::webhook_id.eq(webhook.to_string()))
                .filter(webhook_deliveries::id.gt(page.after()))
                .order(webhook_deliveries::id)
                .limit(page.fetch())
                .load::<DeliveryRow>(c))
        })?;
        page.of(rows, |row| row.id.clone())
    }
}
