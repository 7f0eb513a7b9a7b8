//! Delivery receipts about codes that are not known yet: an SMSC can send one to another replica,
//! before the one that has sent the code has recorded its id.

use diesel::prelude::*;

use crate::domain::clock::Time;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::control_early_receipts;
use crate::store::tx::Tx;

/// The most receipts that are kept.
const MAX_KEPT: i64 = 1_000;

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = control_early_receipts)]
struct Row {
    gateway: String,
    message_id: String,
    is_delivered: bool,
    received_at: i64,
}

impl Tx<'_> {
    /// Keeps a receipt for a code that is not known yet, unless there are too many.
    pub fn keep_early_receipt(
        &mut self,
        gateway: &str,
        message_id: &str,
        is_delivered: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        let row = Row {
            gateway: gateway.to_owned(),
            message_id: message_id.to_owned(),
            is_delivered,
            received_at: now.timestamp(),
        };
        self.run(|connection| {
            on_either!(connection, c => {
                let kept = control_early_receipts::table.count().get_result::<i64>(c)?;
                if kept >= MAX_KEPT {
                    return Ok(0);
                }
                let known = control_early_receipts::table.find((gateway, message_id));
                diesel::delete(known).execute(c)?;
                diesel::insert_into(control_early_receipts::table).values(&row).execute(c)
            })
        })?;
        Ok(())
    }

    /// Whether the code reached its number, by the receipt with this id that came before; it is
    /// kept no longer. `None` if there is none.
    pub fn take_early_receipt(
        &mut self,
        gateway: &str,
        message_id: &str,
    ) -> Result<Option<bool>, StoreError> {
        let taken: Vec<bool> = self.run(|connection| {
            let found = control_early_receipts::table.find((gateway, message_id));
            on_either!(connection, c => diesel::delete(found)
                .returning(control_early_receipts::is_delivered)
                .get_results(c))
        })?;
        Ok(taken.first().copied())
    }

    /// Which of these ids receipts have that came before, and what they say.
    pub fn early_receipts(
        &mut self,
        gateway: &str,
        message_ids: &[&str],
    ) -> Result<Vec<(String, bool)>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => control_early_receipts::table
                .filter(control_early_receipts::gateway.eq(gateway))
                .filter(control_early_receipts::message_id.eq_any(message_ids))
                .select((
                    control_early_receipts::message_id,
                    control_early_receipts::is_delivered,
                ))
                .load(c))
        })
    }

    /// Removes the receipts that came before an instant: they are about no code of this service.
    pub fn forget_early_receipts(&mut self, before: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::delete(control_early_receipts::table
                .filter(control_early_receipts::received_at.lt(before.timestamp())))
                .execute(c))
        })?;
        Ok(())
    }
}
