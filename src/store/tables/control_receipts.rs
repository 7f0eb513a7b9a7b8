//! Delivery receipts that are awaited. An SMSC can send one to any replica, and after a restart.

use diesel::prelude::*;
use uuid::Uuid;

use crate::domain::clock::Time;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::control_receipts;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = control_receipts)]
struct Row {
    gateway: String,
    message_id: String,
    proof_id: String,
    sent_at: i64,
}

impl Tx<'_> {
    /// A gateway accepted the code of a proof under an id. SMSCs use ids again.
    pub fn await_control_receipt(
        &mut self,
        gateway: &str,
        message_id: &str,
        proof: Uuid,
        now: Time,
    ) -> Result<(), StoreError> {
        let row = Row {
            gateway: gateway.to_owned(),
            message_id: message_id.to_owned(),
            proof_id: proof.to_string(),
            sent_at: now.timestamp(),
        };
        self.run(|connection| {
            on_either!(connection, c => {
                diesel::delete(control_receipts::table.find((gateway, message_id))).execute(c)?;
                diesel::insert_into(control_receipts::table).values(&row).execute(c)
            })
        })?;
        Ok(())
    }

    /// The proof whose code a gateway accepted under this id, whose receipt is awaited no longer.
    pub fn take_control_receipt(
        &mut self,
        gateway: &str,
        message_id: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        let taken: Vec<String> = self.run(|connection| {
            let found = control_receipts::table.find((gateway, message_id));
            on_either!(connection, c => diesel::delete(found)
                .returning(control_receipts::proof_id)
                .get_results(c))
        })?;
        let proof = taken.first().map(|proof| Uuid::parse_str(proof));
        proof.transpose().map_err(StoreError::corrupt)
    }

    /// Which of these ids a gateway accepted a code under whose receipt is awaited.
    pub fn awaited_control_receipts(
        &mut self,
        gateway: &str,
        message_ids: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => control_receipts::table
                .filter(control_receipts::gateway.eq(gateway))
                .filter(control_receipts::message_id.eq_any(message_ids))
                .select(control_receipts::message_id)
                .load(c))
        })
    }

    /// Removes what was accepted before an instant: its receipt comes no longer.
    pub fn forget_control_receipts(&mut self, before: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::delete(control_receipts::table
                .filter(control_receipts::sent_at.lt(before.timestamp())))
                .execute(c))
        })?;
        Ok(())
    }
}
