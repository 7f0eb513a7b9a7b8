//! Receipts of gateways: whether a code reached its number. One can come to any replica.

use chrono::TimeDelta;
use uuid::Uuid;

use super::outbox::{about, event};
use crate::authority::Authority;
use crate::domain::clock::Time;
use crate::domain::control::receipt_ids::{IdConversion, PossibleReceipt, ReceiptMatch};
use crate::domain::control::sending::SendFailure;
use crate::store::{StoreError, Tx};

/// How long a receipt is awaited, which is as long as a code can be valid.
const MAX_AGE: TimeDelta = TimeDelta::seconds(3_600);

/// How long a receipt is kept whose code is not known. Another replica may be about to record it;
/// later, an SMSC may use the id again.
const MAX_EARLY: TimeDelta = TimeDelta::seconds(60);

/// A receipt of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeReceipt {
    /// As the receipt has it.
    pub message_id: String,
    pub is_delivered: bool,
}

impl Authority {
    /// Records under which id a gateway accepted the code of a proof, for a receipt that comes
    /// later, to any replica. One that came before is recorded now.
    pub async fn receipt_awaited(
        &self,
        gateway: &str,
        message_id: String,
        proof: Uuid,
        conversion: Option<IdConversion>,
    ) -> Result<ReceiptMatch, StoreError> {
        let (now, gateway) = (self.clock.now(), gateway.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            tx.forget_control_receipts(now - MAX_AGE)?;
            tx.forget_early_receipts(now - MAX_EARLY)?;
            if tx.control_proof(proof)?.is_none() {
                return Ok((ReceiptMatch::None, None));
            }
            let in_receipt = conversion.and_then(|one| one.in_receipt(&message_id));
            let ids = [
                (Some(message_id.clone()), ReceiptMatch::Exact),
                (in_receipt, ReceiptMatch::Converted),
            ];
            for (id, found) in ids {
                let Some(id) = id else { continue };
                if let Some(is_delivered) = tx.take_early_receipt(&gateway, &id)? {
                    return Ok((found, reported(tx, proof, is_delivered, now)?));
                }
            }
            tx.await_control_receipt(&gateway, &message_id, proof, now)?;
            let possible = IdConversion::ALL.into_iter();
            let possible = possible.filter_map(|one| Some((one, one.in_receipt(&message_id)?)));
            let possible: Vec<(IdConversion, String)> = possible.collect();
            let ids: Vec<&str> = possible.iter().map(|(_, id)| id.as_str()).collect();
            let found = match &tx.early_receipts(&gateway, &ids)?[..] {
                [(found, is_delivered)] => {
                    let used = possible.iter().find(|(_, id)| id == found);
                    possible_match(used.map(|(one, _)| *one), &message_id, *is_delivered)
                }
                // Both cannot be about one message.
                _ => ReceiptMatch::None,
            };
            Ok((found, None))
        };
        let (found, failed) = self.store.write_alongside("await-receipt", work).await?;
        self.count_undelivered(failed);
        Ok(found)
    }

    /// Records what a receipt says about the code that the gateway accepted under its id, or under
    /// the one that it is converted to. If there is none, it is kept for a while.
    pub async fn receipt_received(
        &self,
        gateway: &str,
        receipt: CodeReceipt,
        conversion: Option<IdConversion>,
    ) -> Result<ReceiptMatch, StoreError> {
        let (now, gateway) = (self.clock.now(), gateway.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let CodeReceipt {
                message_id,
                is_delivered,
            } = &receipt;
            // The exact id first: a converted one can be that of another message.
            let converted = conversion.and_then(|one| one.in_answer(message_id));
            let ids = [
                (Some(message_id.clone()), ReceiptMatch::Exact),
                (converted, ReceiptMatch::Converted),
            ];
            for (id, found) in ids {
                let Some(id) = id else { continue };
                if let Some(proof) = tx.take_control_receipt(&gateway, &id)? {
                    return Ok((found, reported(tx, proof, *is_delivered, now)?));
                }
            }
            tx.forget_early_receipts(now - MAX_EARLY)?;
            tx.keep_early_receipt(&gateway, message_id, *is_delivered, now)?;
            let possible = IdConversion::ALL.into_iter();
            let possible = possible.filter_map(|one| Some((one, one.in_answer(message_id)?)));
            let possible: Vec<(IdConversion, String)> = possible.collect();
            let ids: Vec<&str> = possible.iter().map(|(_, id)| id.as_str()).collect();
            let found = match &tx.awaited_control_receipts(&gateway, &ids)?[..] {
                [found] => {
                    let used = possible.iter().find(|(_, id)| id == found);
                    possible_match(used.map(|(one, _)| *one), found, *is_delivered)
                }
                _ => ReceiptMatch::None,
            };
            Ok((found, None))
        };
        let (found, failed) = self.store.write_alongside("code-receipt", work).await?;
        self.count_undelivered(failed);
        Ok(found)
    }

    fn count_undelivered(&self, gateway: Option<String>) {
        if let Some(gateway) = gateway {
            let failure = SendFailure::Undelivered.as_str();
            self.metrics.gateways.failed(&gateway, failure);
        }
    }
}

fn possible_match(
    conversion: Option<IdConversion>,
    message_id: &str,
    is_delivered: bool,
) -> ReceiptMatch {
    conversion.map_or(ReceiptMatch::None, |conversion| {
        ReceiptMatch::Possible(PossibleReceipt {
            conversion,
            message_id: message_id.to_owned(),
            is_delivered,
        })
    })
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
