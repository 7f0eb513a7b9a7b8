//! What the sending of a code changes of its proof. Each statement changes only its own columns,
//! and only as long as nothing else has decided about the proof, since others can write the row at
//! the same time.

use diesel::prelude::*;
use uuid::Uuid;

use crate::domain::clock::Time;
use crate::domain::control::proof::ProofEnd;
use crate::domain::control::sending::SendFailure;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::control_proofs;
use crate::store::tx::Tx;

impl Tx<'_> {
    /// A gateway accepted the code of a proof.
    pub fn control_proof_sent(&mut self, id: Uuid, now: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(control_proofs::table.find(id.to_string()))
                .set((
                    control_proofs::sent_at.eq(now.timestamp()),
                    control_proofs::failure.eq(None::<String>),
                ))
                .execute(c))
        })?;
        Ok(())
    }

    /// An attempt to send the code of a proof failed.
    pub fn control_proof_not_sent(
        &mut self,
        id: Uuid,
        failure: SendFailure,
    ) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(control_proofs::table.find(id.to_string()))
                .set(control_proofs::failure.eq(failure.to_string()))
                .execute(c))
        })?;
        Ok(())
    }

    /// Ends a proof whose code will not reach the number, unless it came back or the proof has
    /// ended already. Returns whether this ended it.
    pub fn give_up_control_proof(&mut self, id: Uuid, now: Time) -> Result<bool, StoreError> {
        let ended = self.run(|connection| {
            on_either!(connection, c => diesel::update(control_proofs::table
                .find(id.to_string())
                .filter(control_proofs::confirmed_at.is_null())
                .filter(control_proofs::ends_at.is_null().or(control_proofs::ends_at.gt(now.timestamp()))))
                .set((
                    control_proofs::ends_at.eq(now.timestamp()),
                    control_proofs::end_reason.eq(ProofEnd::NotSent.to_string()),
                ))
                .execute(c))
        })?;
        Ok(ended > 0)
    }

    /// A gateway reported that the code of a proof reached the number.
    pub fn control_proof_delivered(&mut self, id: Uuid, now: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(control_proofs::table
                .find(id.to_string())
                .filter(control_proofs::delivered_at.is_null()))
                .set(control_proofs::delivered_at.eq(now.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }
}
