//! Audit events: what was done and what was refused. Only ever added to.

use diesel::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::connection::on_either;
use super::error::StoreError;
use super::page::{Page, PageOf};
use super::schema::audit_events;
use super::tx::Tx;
use crate::domain::clock::{Time, from_unix};

/// One event of the trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    pub id: Uuid,
    pub at: Time,
    pub caller: String,
    pub action: String,
    pub subject: String,
    /// `done`, or the code of the denial.
    pub outcome: String,
    pub detail: Value,
    pub request_id: Uuid,
}

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = audit_events)]
struct Row {
    id: String,
    at: i64,
    caller: String,
    action: String,
    subject: String,
    outcome: String,
    detail: String,
    request_id: String,
}

impl From<&AuditEvent> for Row {
    fn from(event: &AuditEvent) -> Self {
        Self {
            id: event.id.to_string(),
            at: event.at.timestamp(),
            caller: event.caller.clone(),
            action: event.action.clone(),
            subject: event.subject.clone(),
            outcome: event.outcome.clone(),
            detail: event.detail.to_string(),
            request_id: event.request_id.to_string(),
        }
    }
}

impl TryFrom<Row> for AuditEvent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: Uuid::parse_str(&row.id).map_err(StoreError::corrupt)?,
            at: from_unix(row.at),
            caller: row.caller,
            action: row.action,
            subject: row.subject,
            outcome: row.outcome,
            detail: serde_json::from_str(&row.detail).map_err(StoreError::corrupt)?,
            request_id: Uuid::parse_str(&row.request_id).map_err(StoreError::corrupt)?,
        })
    }
}

impl Tx<'_> {
    /// Writes these events.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take them; then what they tell of must not happen either.
    pub fn insert_audit_events(&mut self, events: &[AuditEvent]) -> Result<(), StoreError> {
        let rows: Vec<Row> = events.iter().map(Row::from).collect();
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(audit_events::table).values(&rows).execute(c))
        })?;
        Ok(())
    }

    /// A page of the events about one subject, in the order in which they happened.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn list_audit_events(
        &mut self,
        subject: &str,
        page: &Page,
    ) -> Result<PageOf<AuditEvent>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => audit_events::table
                .filter(audit_events::subject.eq(subject))
                .filter(audit_events::id.gt(page.after()))
                .order(audit_events::id)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        page.of(rows, |row| row.id.clone())
    }
}
