//! The outbox of codes: what gateways have still to send. Replicas lease rows, so that each is sent
//! by one of them.

use diesel::prelude::*;
use uuid::Uuid;

use super::versioned::ROWS_PER_INSERT;
use crate::domain::clock::from_unix;
use crate::domain::control::message::CodeMessage;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::control_messages;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = control_messages)]
struct Row {
    proof_id: String,
    gateway: String,
    sealed: Vec<u8>,
    attempts: i32,
    due_at: i64,
    give_up_at: i64,
    leased_by: Option<String>,
    leased_until: Option<i64>,
}

impl From<&CodeMessage> for Row {
    fn from(message: &CodeMessage) -> Self {
        Self {
            proof_id: message.proof.to_string(),
            gateway: message.gateway.clone(),
            sealed: message.sealed.clone(),
            attempts: i32::try_from(message.attempts).unwrap_or(i32::MAX),
            due_at: message.due_at.timestamp(),
            give_up_at: message.give_up_at.timestamp(),
            leased_by: None,
            leased_until: None,
        }
    }
}

impl TryFrom<Row> for CodeMessage {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            proof: Uuid::parse_str(&row.proof_id).map_err(StoreError::corrupt)?,
            gateway: row.gateway,
            sealed: row.sealed,
            attempts: u32::try_from(row.attempts).map_err(StoreError::corrupt)?,
            due_at: from_unix(row.due_at),
            give_up_at: from_unix(row.give_up_at),
        })
    }
}

impl Tx<'_> {
    /// Puts codes into the outbox.
    pub fn insert_control_messages(&mut self, messages: &[CodeMessage]) -> Result<(), StoreError> {
        for chunk in messages.chunks(ROWS_PER_INSERT) {
            let rows: Vec<Row> = chunk.iter().map(Row::from).collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(control_messages::table).values(&rows).execute(c))
            })?;
        }
        Ok(())
    }

    /// The code that is still to be sent for a proof.
    pub fn control_message(&mut self, proof: Uuid) -> Result<Option<CodeMessage>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => control_messages::table
                .find(proof.to_string())
                .first::<Row>(c)
                .optional())
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// Removes a code from the outbox: it was sent, given up, or is no longer needed.
    pub fn remove_control_message(&mut self, proof: Uuid) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::delete(control_messages::table
                .find(proof.to_string()))
                .execute(c))
        })?;
        Ok(())
    }
}
