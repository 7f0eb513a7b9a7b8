//! Audit events: what was done and what was refused. Rows are only ever added. The events of grants
//! are part of the rows of `grants`; the trail is both tables, merged by the ids of the events.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text};
use serde_json::Map;
use uuid::{Builder, Uuid};

use super::accounts::{Within, path, within};
use super::statement::{Statement, column};
use super::versioned::ROWS_PER_INSERT;
use crate::domain::clock::{Time, from_unix};
use crate::domain::{AccountId, AuditEvent};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::audit_events;
use crate::store::tx::Tx;

/// Selects audit events; the default selects all.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub account: Option<AccountId>,
    /// Only events about these accounts.
    pub within: Option<Within>,
    pub subject: Option<String>,
    pub caller: Option<String>,
    pub action: Option<String>,
    pub outcome: Option<String>,
    pub request_id: Option<Uuid>,
    /// Only events from this instant on.
    pub from: Option<Time>,
    /// Only events before this instant.
    pub until: Option<Time>,
}

#[derive(Debug, Clone, Queryable, Insertable)]
// Lets diesel insert many rows in one statement.
#[diesel(table_name = audit_events, treat_none_as_default_value = false)]
struct Row {
    id: String,
    at: i64,
    caller: String,
    action: String,
    subject: String,
    outcome: String,
    detail: String,
    request_id: String,
    account_id: Option<String>,
    caller_account_id: Option<String>,
}

impl From<&AuditEvent> for Row {
    fn from(event: &AuditEvent) -> Self {
        let text = |id: &Option<AccountId>| id.as_ref().map(ToString::to_string);
        Self {
            id: event.id.to_string(),
            at: event.at.timestamp(),
            caller: event.caller.clone(),
            action: event.action.clone(),
            subject: event.subject.clone(),
            outcome: event.outcome.clone(),
            detail: event.detail.to_string(),
            request_id: event.request_id.to_string(),
            account_id: text(&event.account),
            caller_account_id: text(&event.caller_account),
        }
    }
}

impl TryFrom<Row> for AuditEvent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = |text: Option<String>| text.map(|text| text.parse()).transpose();
        Ok(Self {
            id: Uuid::parse_str(&row.id).map_err(StoreError::corrupt)?,
            at: from_unix(row.at),
            caller: row.caller,
            action: row.action,
            subject: row.subject,
            outcome: row.outcome,
            detail: serde_json::from_str::<Map<_, _>>(&row.detail)
                .map_err(StoreError::corrupt)?
                .into(),
            request_id: Uuid::parse_str(&row.request_id).map_err(StoreError::corrupt)?,
            account: id(row.account_id).map_err(StoreError::corrupt)?,
            caller_account: id(row.caller_account_id).map_err(StoreError::corrupt)?,
        })
    }
}

/// The events that match a filter, after a cursor.
macro_rules! passing {
    ($filter:expr, $after:expr) => {{
        let mut query = audit_events::table
            .filter(audit_events::id.gt($after))
            .into_boxed();
        if let Some(account) = &$filter.account {
            query = query.filter(audit_events::account_id.eq(account.as_str()));
        }
        if let Some(within) = &$filter.within {
            query = query.filter(audit_events::account_id.eq_any(within!(within).nullable()));
        }
        if let Some(caller) = &$filter.caller {
            query = query.filter(audit_events::caller.eq(caller));
            // A reader that may not see a caller must not find its events by guessing ids.
            if let Some(within) = &$filter.within {
                query = query
                    .filter(audit_events::caller_account_id.eq_any(within!(within).nullable()));
            }
        }
        if let Some(subject) = &$filter.subject {
            query = query.filter(audit_events::subject.eq(subject));
        }
        if let Some(action) = &$filter.action {
            query = query.filter(audit_events::action.eq(action));
        }
        if let Some(outcome) = &$filter.outcome {
            query = query.filter(audit_events::outcome.eq(outcome));
        }
        if let Some(request) = &$filter.request_id {
            query = query.filter(audit_events::request_id.eq(request.to_string()));
        }
        if let Some(until) = $filter.until {
            query = query.filter(audit_events::at.lt(until.timestamp()));
        }
        if let Some(from) = $filter.from {
            query = query.filter(audit_events::at.ge(from.timestamp()));
        }
        query
    }};
}

impl Tx<'_> {
    /// Records one event.
    ///
    /// # Errors
    /// [`StoreError`] if that fails; then what the event reports must not happen either.
    pub fn record(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        self.insert_audit_events(std::slice::from_ref(event))
    }

    /// Records these events. The text of the statement is the same for any number of them, so it is
    /// prepared once.
    ///
    /// # Errors
    /// [`StoreError`] if that fails; then what the events report must not happen either.
    pub fn insert_audit_events(&mut self, events: &[AuditEvent]) -> Result<(), StoreError> {
        let rows: Vec<Row> = events.iter().map(Row::from).collect();
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            self.run(|connection| match connection {
                AnyConnection::Postgres(c) => insert_into_postgres(c, chunk),
                AnyConnection::Sqlite(c) => chunk.iter().try_for_each(|row| {
                    let insert = diesel::insert_into(audit_events::table).values(row);
                    insert.execute(c).map(drop)
                }),
            })?;
        }
        Ok(())
    }

    /// A page of the events that match a filter, the oldest first.
    pub fn list_audit_events(
        &mut self,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<PageOf<AuditEvent>, StoreError> {
        // An id is never older than its event, so the primary key finds the start of a period. It
        // can be newer, if the clock was set back, so it does not find the end.
        let start = filter.from.map(first_id_at).unwrap_or_default();
        let after = start.as_str().max(page.after());
        let rows = self.run(|connection| {
            on_either!(connection, c => passing!(filter, after)
                .order(audit_events::id)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        // Beyond the last row of a full page, grants need not be read. This matters for a ledger
        // whose older grants have their events in `audit_events`: each row here bounds the search
        // for a grant that has its own.
        let is_full = i64::try_from(rows.len()).is_ok_and(|found| found == page.fetch());
        let last = rows.last().filter(|_| is_full).map(|row| row.id.clone());
        let of_grants =
            self.list_grant_events(filter, (page.after(), last.as_deref()), page.fetch())?;
        let mut events: Vec<AuditEvent> = rows
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?;
        events.extend(of_grants);
        events.sort_unstable_by_key(|event| event.id);
        Ok(page.of_fetched(events, |event| event.id.to_string()))
    }
}

fn insert_into_postgres(connection: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
    Statement::new(
        "INSERT INTO audit_events (id, at, caller, action, subject, outcome, detail, request_id, \
         account_id, caller_account_id) SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Array<Text>, _>(column!(rows, &id))
    .bind::<Array<BigInt>, _>(column!(rows, &at))
    .bind::<Array<Text>, _>(column!(rows, &caller))
    .bind::<Array<Text>, _>(column!(rows, &action))
    .bind::<Array<Text>, _>(column!(rows, &subject))
    .bind::<Array<Text>, _>(column!(rows, &outcome))
    .bind::<Array<Text>, _>(column!(rows, &detail))
    .bind::<Array<Text>, _>(column!(rows, &request_id))
    .bind::<Array<Nullable<Text>>, _>(column!(rows, &account_id))
    .bind::<Array<Nullable<Text>>, _>(column!(rows, &caller_account_id))
    .execute(connection)
    .map(drop)
}

/// A lower bound of the ids of events from this instant on.
fn first_id_at(time: Time) -> String {
    let milliseconds = u64::try_from(time.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(milliseconds, &[0; 10])
        .into_uuid()
        .to_string()
}
