//! Webhooks. Replicas share the work: each webhook is leased to one process at a time.

use diesel::prelude::*;
use uuid::Uuid;

use super::accounts::Within;
use super::columns;
use crate::domain::clock::{Time, from_unix};
use crate::domain::webhook::{EventKind, Webhook};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::{webhook_deliveries, webhooks};
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = webhooks)]
struct Row {
    id: String,
    account_id: Option<String>,
    below: bool,
    url: String,
    kinds: String,
    generation: i32,
    previous_until: Option<i64>,
    position: i64,
    next_attempt_at: i64,
    leased_by: Option<String>,
    leased_until: Option<i64>,
    created_at: i64,
    created_by: String,
    ended_at: Option<i64>,
    derived_by: Option<String>,
}

impl TryFrom<Row> for Webhook {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let account = row.account_id.as_deref().map(str::parse).transpose();
        let kinds = row.kinds.split(' ').map(str::parse);
        Ok(Self {
            id: Uuid::parse_str(&row.id).map_err(StoreError::corrupt)?,
            account: account.map_err(StoreError::corrupt)?,
            below: row.below,
            url: row.url.parse().map_err(StoreError::corrupt)?,
            kinds: kinds
                .collect::<Result<_, _>>()
                .map_err(StoreError::corrupt)?,
            generation: row.generation,
            previous_until: row.previous_until.map(from_unix),
            position: row.position,
            created_at: from_unix(row.created_at),
            created_by: row.created_by,
            ended_at: row.ended_at.map(from_unix),
            derived_by: row.derived_by,
        })
    }
}

impl Tx<'_> {
    /// Inserts a webhook, which is due immediately.
    pub fn insert_webhook(&mut self, webhook: &Webhook) -> Result<(), StoreError> {
        let kinds: Vec<&str> = webhook
            .kinds
            .iter()
            .map(|kind| EventKind::as_str(*kind))
            .collect();
        let row = Row {
            id: webhook.id.to_string(),
            account_id: webhook.account.as_ref().map(ToString::to_string),
            below: webhook.below,
            url: webhook.url.as_str().to_owned(),
            kinds: kinds.join(" "),
            generation: webhook.generation,
            previous_until: columns::seconds(webhook.previous_until),
            position: webhook.position,
            next_attempt_at: webhook.created_at.timestamp(),
            leased_by: None,
            leased_until: None,
            created_at: webhook.created_at.timestamp(),
            created_by: webhook.created_by.clone(),
            ended_at: columns::seconds(webhook.ended_at),
            derived_by: webhook.derived_by.clone(),
        };
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(webhooks::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// One webhook, even if it has ended.
    pub fn webhook(&mut self, id: Uuid) -> Result<Option<Webhook>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => webhooks::table
                .find(id.to_string())
                .first::<Row>(c)
                .optional())
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// A page of the webhooks in use, ordered by id; with `within`, only those of accounts in it.
    pub fn list_webhooks(
        &mut self,
        within: Option<&Within>,
        page: &Page,
    ) -> Result<PageOf<Webhook>, StoreError> {
        use super::accounts::{path, within};
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = webhooks::table
                    .filter(webhooks::ended_at.is_null())
                    .filter(webhooks::id.gt(page.after()))
                    .order(webhooks::id)
                    .limit(page.fetch())
                    .into_boxed();
                if let Some(within) = within {
                    // Only for the types: NULL matches no list.
                    query = query.filter(webhooks::account_id.assume_not_null().eq_any(within!(within)));
                }
                query.load::<Row>(c)
            })
        })?;
        page.of(rows, |row| row.id.clone())
    }

    /// Counts the webhooks in use of one account, or of the carrier.
    pub fn count_webhooks(&mut self, account: Option<&str>) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => {
                let query = webhooks::table.filter(webhooks::ended_at.is_null()).count().into_boxed();
                match account {
                    Some(account) => query.filter(webhooks::account_id.eq(account)),
                    None => query.filter(webhooks::account_id.is_null()),
                }
                .get_result::<i64>(c)
            })
        })
    }

    /// Counts the webhooks in use whose newest secret is not derived by the API key secret of this
    /// name.
    pub fn count_webhooks_derived_otherwise(&mut self, name: &str) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => webhooks::table
                .filter(webhooks::ended_at.is_null())
                .filter(webhooks::derived_by.is_null().or(webhooks::derived_by.ne(name)))
                .count()
                .get_result::<i64>(c))
        })
    }

    /// Counts webhooks in use whose secret is derived from something with neither name. Those of an
    /// older version, which recorded no name, are not counted.
    pub fn count_webhooks_derived_from_neither(
        &mut self,
        newest: &str,
        previous: Option<&str>,
    ) -> Result<i64, StoreError> {
        let previous = previous.unwrap_or(newest);
        self.run(|connection| {
            on_either!(connection, c => webhooks::table
                .filter(webhooks::ended_at.is_null())
                .filter(webhooks::derived_by.is_not_null())
                .filter(webhooks::derived_by.ne_all([newest, previous]))
                .count()
                .get_result::<i64>(c))
        })
    }

    /// Updates what can change of a webhook: its secrets, its position in the feed, its end.
    pub fn update_webhook(&mut self, webhook: &Webhook) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(webhooks::table.find(webhook.id.to_string()))
                .set((
                    webhooks::generation.eq(webhook.generation),
                    webhooks::previous_until.eq(columns::seconds(webhook.previous_until)),
                    webhooks::position.eq(webhook.position),
                    webhooks::ended_at.eq(columns::seconds(webhook.ended_at)),
                    webhooks::derived_by.eq(&webhook.derived_by),
                ))
                .execute(c))
        })?;
        Ok(())
    }

    /// The owners of the webhooks that are leased now, one item for each webhook: the id of an
    /// account, or `None` for the carrier.
    pub fn leased_webhooks(&mut self, now: Time) -> Result<Vec<Option<String>>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => webhooks::table
                .filter(webhooks::ended_at.is_null())
                .filter(webhooks::leased_until.gt(now.timestamp()))
                .select(webhooks::account_id)
                .load(c))
        })
    }

    /// The webhook that has been due for the longest time, of those that are not leased. Skips
    /// those of `excluded_owners`, written as in [`Tx::leased_webhooks`]. `last` is the last
    /// sequence number of the feed.
    pub fn due_webhook(
        &mut self,
        now: Time,
        last: i64,
        excluded_owners: &[Option<String>],
    ) -> Result<Option<Webhook>, StoreError> {
        let now = now.timestamp();
        let accounts: Vec<&String> = excluded_owners.iter().flatten().collect();
        let row = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = webhooks::table
                    .filter(webhooks::ended_at.is_null())
                    .filter(webhooks::next_attempt_at.le(now))
                    .filter(webhooks::leased_until.is_null().or(webhooks::leased_until.le(now)))
                    // Due if the feed has newer entries, or if a delivery is unfinished.
                    .filter(webhooks::position.lt(last).or(webhooks::id.eq_any(
                        webhook_deliveries::table
                            .filter(webhook_deliveries::finished_at.is_null())
                            .select(webhook_deliveries::webhook_id),
                    )))
                    .order((webhooks::next_attempt_at, webhooks::id))
                    .into_boxed();
                if !accounts.is_empty() {
                    query = query.filter(
                        webhooks::account_id.is_null().or(webhooks::account_id.ne_all(&accounts)),
                    );
                }
                // No comparison with NULL is true, so the carrier's webhooks need their own clause.
                if excluded_owners.contains(&None) {
                    query = query.filter(webhooks::account_id.is_not_null());
                }
                query.first::<Row>(c).optional()
            })
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// Leases a webhook to a process until an instant.
    pub fn lease_webhook(&mut self, id: Uuid, to: Uuid, until: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(webhooks::table.find(id.to_string()))
                .set((
                    webhooks::leased_by.eq(to.to_string()),
                    webhooks::leased_until.eq(until.timestamp()),
                ))
                .execute(c))
        })?;
        Ok(())
    }

    /// Ends the lease of a process; the webhook is not due again before `next`. Returns whether the
    /// process had the lease.
    pub fn release_webhook(
        &mut self,
        id: Uuid,
        from: Uuid,
        next: Time,
    ) -> Result<bool, StoreError> {
        let released = self.run(|connection| {
            on_either!(connection, c => diesel::update(webhooks::table
                .find(id.to_string())
                .filter(webhooks::leased_by.eq(from.to_string())))
                .set((
                    webhooks::leased_by.eq(None::<String>),
                    webhooks::leased_until.eq(None::<i64>),
                    webhooks::next_attempt_at.eq(next.timestamp()),
                ))
                .execute(c))
        })?;
        Ok(released > 0)
    }
}
