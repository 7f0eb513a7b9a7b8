//! Receipts of gateways: whether a code reached its number. One can come to any replica.

use chrono::TimeDelta;
use uuid::Uuid;

use super::outbox::{about, event};
use crate::authority::Authority;
use crate::domain::clock::Time;
use crate::domain::control::sending::SendFailure;
use crate::store::{StoreError, Tx};

/// How long a receipt is awaited, which is as long as a code can be valid.
const MAX_AGE: TimeDelta = TimeDelta::seconds(3_600);

impl Authority {
    /// Records under which id a gateway accepted the code of a proof, for a receipt that comes to
    /// another replica.
    pub async fn receipt_awaited(
        &self,
        gateway: &str,
        message_id: String,
        proof: Uuid,
    ) -> Result<(), StoreError> {
        let (now, gateway) = (self.clock.now(), gateway.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            tx.forget_control_receipts(now - MAX_AGE)?;
            if tx.control_proof(proof)?.is_some() {
                tx.await_control_receipt(&gateway, &message_id, proof, now)?;
            }
            Ok(())
        };
        self.store.write_alongside("await-receipt", work).await
    }

    /// Records what a receipt says about the code that the gateway accepted under one of these ids.
    pub async fn receipt_received(
        &self,
        gateway: &str,
        message_ids: Vec<String>,
        is_delivered: bool,
    ) -> Result<(), StoreError> {
        let (now, gateway) = (self.clock.now(), gateway.to_owned());
        let work = move |tx: &mut Tx<'_>| match tx.take_control_receipt(&gateway, &message_ids)? {
            Some(proof) => reported(tx, proof, is_delivered, now),
            None => Ok(None),
        };
        let failed = self.store.write_alongside("code-receipt", work).await?;
        self.count_undelivered(failed);
        Ok(())
    }

    /// Records what a gateway reports about a code that it accepted.
    pub async fn code_reported(&self, proof: Uuid, is_delivered: bool) -> Result<(), StoreError> {
        let now = self.clock.now();
        let work = move |tx: &mut Tx<'_>| reported(tx, proof, is_delivered, now);
        let failed = self.store.write_alongside("code-report", work).await?;
        self.count_undelivered(failed);
        Ok(())
    }

    fn count_undelivered(&self, gateway: Option<String>) {
        if let Some(gateway) = gateway {
            let failure = SendFailure::Undelivered.as_str();
            self.metrics.gateways.failed(&gateway, failure);
        }
    }
}

/// Returns the gateway of a code that did not reach its number.
fn reported(
    tx: &mut Tx<'_>,
    proof: Uuid,
    is_delivered: bool,
    now: Time,
) -> Result<Option<String>, StoreError> {
    let Some((proof, _)) = tx.control_proof(proof)? else {
        return Ok(None);
    };
    if is_delivered {
        tx.control_proof_delivered(proof.id, now)?;
        return Ok(None);
    }
    let failure = SendFailure::Undelivered;
    tx.control_proof_not_sent(proof.id, failure)?;
    if tx.give_up_control_proof(proof.id, now)? {
        let reason = "the gateway reported that it did not reach the number";
        let event = event(&proof, now).refused(&proof.id, failure.as_str(), &reason);
        tx.record(&about(event, &proof))?;
    }
    Ok(Some(proof.gateway))
}
