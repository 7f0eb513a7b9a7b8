//! The outbox of codes: what gateways have still to send. Replicas lease rows, so that each is sent
//! by one of them. Two replicas can write here at the same time, so each statement checks itself
//! that the row is still as it was read.

use diesel::prelude::*;
use uuid::Uuid;

use super::versioned::ROWS_PER_INSERT;
use crate::domain::clock::{Time, from_unix};
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
    unclear_attempts: i32,
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
            unclear_attempts: i32::try_from(message.unclear).unwrap_or(i32::MAX),
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
            unclear: u32::try_from(row.unclear_attempts).map_err(StoreError::corrupt)?,
            due_at: from_unix(row.due_at),
            give_up_at: from_unix(row.give_up_at),
        })
    }
}

/// Rows that no process has leased.
macro_rules! unleased {
    ($now:expr) => {
        control_messages::leased_until
            .is_null()
            .or(control_messages::leased_until.le($now))
    };
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

    /// Whether a code is due over one of these gateways, or any is no longer to be sent.
    pub fn has_due_control_message(
        &mut self,
        gateways: &[&str],
        now: Time,
    ) -> Result<bool, StoreError> {
        let (now, most_unclear) = (now.timestamp(), i32::from(CodeMessage::MAX_UNCLEAR));
        let found = self.run(|connection| {
            on_either!(connection, c => control_messages::table
                .filter(unleased!(now))
                .filter(control_messages::due_at.le(now)
                    .and(control_messages::gateway.eq_any(gateways))
                    .or(control_messages::give_up_at.le(now))
                    .or(control_messages::unclear_attempts.ge(most_unclear)))
                .select(control_messages::proof_id)
                .first::<String>(c)
                .optional())
        })?;
        Ok(found.is_some())
    }

    /// Leases the codes that have been due for the longest time over a gateway, and counts the
    /// attempts that are to be made with them. If a process ends before it records what became of
    /// its attempt, the code may have been sent.
    pub fn lease_control_messages(
        &mut self,
        gateway: &str,
        most: u16,
        now: Time,
        (process, until): (Uuid, Time),
    ) -> Result<Vec<CodeMessage>, StoreError> {
        let (now, most_unclear) = (now.timestamp(), i32::from(CodeMessage::MAX_UNCLEAR));
        let due: Vec<String> = self.run(|connection| {
            on_either!(connection, c => control_messages::table
                .filter(control_messages::gateway.eq(gateway))
                .filter(control_messages::due_at.le(now))
                .filter(control_messages::give_up_at.gt(now))
                .filter(control_messages::unclear_attempts.lt(most_unclear))
                .filter(unleased!(now))
                .order((control_messages::due_at, control_messages::proof_id))
                .limit(most.into())
                .select(control_messages::proof_id)
                .load(c))
        })?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.run(|connection| {
            on_either!(connection, c => diesel::update(control_messages::table
                .filter(control_messages::proof_id.eq_any(&due))
                .filter(unleased!(now)))
                .set((
                    control_messages::leased_by.eq(process.to_string()),
                    control_messages::leased_until.eq(until.timestamp()),
                    control_messages::attempts.eq(control_messages::attempts + 1),
                    control_messages::unclear_attempts.eq(control_messages::unclear_attempts + 1),
                ))
                .returning(control_messages::all_columns)
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Codes that are no longer worth sending, or may have been sent often enough, and that no
    /// process is sending.
    pub fn overdue_control_messages(
        &mut self,
        now: Time,
        most: u16,
    ) -> Result<Vec<CodeMessage>, StoreError> {
        let (now, most_unclear) = (now.timestamp(), i32::from(CodeMessage::MAX_UNCLEAR));
        let rows = self.run(|connection| {
            on_either!(connection, c => control_messages::table
                .filter(control_messages::give_up_at.le(now)
                    .or(control_messages::unclear_attempts.ge(most_unclear)))
                .filter(unleased!(now))
                .order(control_messages::give_up_at)
                .limit(most.into())
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Ends the lease of a process: the next attempt is due `at`, and `unclear` attempts so far may
    /// have sent the code. Returns whether it had the lease.
    pub fn retry_control_message(
        &mut self,
        proof: Uuid,
        process: Uuid,
        (at, unclear): (Time, u32),
    ) -> Result<bool, StoreError> {
        let unclear = i32::try_from(unclear).unwrap_or(i32::MAX);
        let released = self.run(|connection| {
            on_either!(connection, c => diesel::update(control_messages::table
                .find(proof.to_string())
                .filter(control_messages::leased_by.eq(process.to_string())))
                .set((
                    control_messages::leased_by.eq(None::<String>),
                    control_messages::leased_until.eq(None::<i64>),
                    control_messages::due_at.eq(at.timestamp()),
                    control_messages::unclear_attempts.eq(unclear),
                ))
                .execute(c))
        })?;
        Ok(released > 0)
    }

    /// Removes a code that a process has leased. Returns whether it had the lease.
    pub fn remove_leased_control_message(
        &mut self,
        proof: Uuid,
        process: Uuid,
    ) -> Result<bool, StoreError> {
        let removed = self.run(|connection| {
            on_either!(connection, c => diesel::delete(control_messages::table
                .find(proof.to_string())
                .filter(control_messages::leased_by.eq(process.to_string())))
                .execute(c))
        })?;
        Ok(removed > 0)
    }

    /// Counts the codes that are still to be sent.
    pub fn count_control_messages(&mut self) -> Result<i64, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => control_messages::table.count().get_result::<i64>(c))
        })
    }
}
