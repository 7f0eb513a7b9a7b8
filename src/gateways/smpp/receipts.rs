//! Delivery receipts (SMPP 3.4 appendix B): which message one is about, and what it says.

use std::collections::{HashMap, VecDeque};

use rusmpp::pdus::DeliverSm;
use rusmpp::tlvs::TlvValue;
use rusmpp::values::{MessageState, MessageType};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::gateways::gateway::DeliveryReport;

/// How long a receipt is waited for, which is as long as a code can be valid.
const MAX_AGE: Duration = Duration::from_secs(3_600);
/// The most messages that wait for a receipt.
const MAX_AWAITED: usize = 20_000;
/// The most receipts that came before the answer with their id, as they can.
const MAX_EARLY: usize = 256;

/// A receipt: the id of the message, and whether it reached the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    pub id: String,
    pub is_delivered: bool,
}

impl Receipt {
    /// The receipt in a message; `None` if there is none, or if it says nothing final.
    pub(super) fn of(message: &DeliverSm) -> Option<Self> {
        let is_receipt =
            message.esm_class.message_type == MessageType::ShortMessageContainsMCDeliveryReceipt;
        if !is_receipt {
            return None;
        }
        let (mut id, mut state) = (None, None);
        let mut text = message.short_message().as_ref().to_vec();
        for tlv in message.tlvs() {
            match tlv.value() {
                Some(TlvValue::ReceiptedMessageId(value)) => id = Some(value.as_str().to_owned()),
                Some(TlvValue::MessageState(value)) => state = final_state(*value),
                Some(TlvValue::MessagePayload(value)) => text = value.value.as_ref().to_vec(),
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&text);
        let in_text = |key| field(&text, key);
        let id = id.or_else(|| in_text("id:").map(str::to_owned))?;
        let state = state.or_else(|| in_text("stat:").and_then(named_state));
        Some(Self {
            id: normalized(&id),
            is_delivered: state?,
        })
    }
}

impl Receipt {
    /// Its id, in each way that the answer to the message may have written it.
    pub(super) fn spellings(&self) -> Vec<String> {
        spellings(&self.id)
    }
}

/// The value of `key:value` in the text of a receipt.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(' ').find_map(|part| part.strip_prefix(key))
}

/// `None` if it is not final.
const fn final_state(state: MessageState) -> Option<bool> {
    match state {
        MessageState::Delivered => Some(true),
        MessageState::Expired
        | MessageState::Deleted
        | MessageState::Undeliverable
        | MessageState::Rejected => Some(false),
        _ => None,
    }
}

fn named_state(name: &str) -> Option<bool> {
    match name {
        "DELIVRD" => Some(true),
        "EXPIRED" | "DELETED" | "UNDELIV" | "REJECTD" => Some(false),
        _ => None,
    }
}

/// An id without what SMSCs write differently in answers and in receipts.
pub(super) fn normalized(id: &str) -> String {
    let id = id.trim().to_ascii_lowercase();
    match id.trim_start_matches('0') {
        "" => id,
        rest => rest.to_owned(),
    }
}

/// Messages that were accepted, and whose receipts have not come.
#[derive(Debug, Default)]
pub(super) struct AwaitedReceipts {
    proofs: HashMap<String, Uuid>,
    /// In the order of their submission.
    order: VecDeque<(Instant, String)>,
    early: VecDeque<Receipt>,
}

impl AwaitedReceipts {
    /// A message was accepted with an id. Returns what a receipt has said about it already.
    pub(super) fn accepted(&mut self, id: &str, proof: Uuid) -> Option<DeliveryReport> {
        let (id, now) = (normalized(id), Instant::now());
        if let Some(at) = self.early.iter().position(|early| is_of(early, &id)) {
            let receipt = self.early.remove(at)?;
            return Some(DeliveryReport {
                proof,
                is_delivered: receipt.is_delivered,
            });
        }
        let is_old = |at: Instant| now.duration_since(at) > MAX_AGE;
        while let Some((at, _)) = self.order.front()
            && (is_old(*at) || self.order.len() >= MAX_AWAITED)
        {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.proofs.remove(&oldest);
            }
        }
        self.proofs.insert(id.clone(), proof);
        self.order.push_back((now, id));
        None
    }

    /// What a receipt says about a message that is awaited.
    pub(super) fn received(&mut self, receipt: &Receipt) -> Option<DeliveryReport> {
        let Some(proof) = self.take(&receipt.id) else {
            if self.early.len() >= MAX_EARLY {
                self.early.pop_front();
            }
            self.early.push_back(receipt.clone());
            return None;
        };
        Some(DeliveryReport {
            proof,
            is_delivered: receipt.is_delivered,
        })
    }

    fn take(&mut self, id: &str) -> Option<Uuid> {
        let mut spellings = spellings(id).into_iter();
        spellings.find_map(|spelling| self.proofs.remove(&spelling))
    }
}

/// Whether a receipt is about the message with this id.
fn is_of(receipt: &Receipt, id: &str) -> bool {
    spellings(&receipt.id).iter().any(|spelling| spelling == id)
}

/// The id of a receipt, and how the answer may have written it: many SMSCs write it in hexadecimal
/// in one place, and in decimal in the other.
fn spellings(id: &str) -> Vec<String> {
    let in_hex = id.parse::<u64>().ok().map(|value| format!("{value:x}"));
    let in_decimal = u64::from_str_radix(id, 16).ok();
    let in_decimal = in_decimal.map(|value| value.to_string());
    let others = in_hex.into_iter().chain(in_decimal);
    std::iter::once(id.to_owned()).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use rusmpp::types::OctetString;
    use rusmpp::values::EsmClass;

    use super::*;

    fn receipt(text: &str) -> Option<Receipt> {
        let esm_class = EsmClass::from(0x04);
        let text = OctetString::from_slice(text.as_bytes()).expect("a text");
        Receipt::of(
            &DeliverSm::builder()
                .esm_class(esm_class)
                .short_message(text)
                .build(),
        )
    }

    fn said(id: &str, is_delivered: bool) -> Receipt {
        Receipt {
            id: id.to_owned(),
            is_delivered,
        }
    }

    #[test]
    fn a_receipt_says_what_became_of_a_message() {
        let text = |stat| {
            format!(
                "id:00A1b2 sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 \
                 stat:{stat} err:000 text:123456 is the co"
            )
        };
        assert_eq!(receipt(&text("DELIVRD")), Some(said("a1b2", true)));
        for failed in ["UNDELIV", "EXPIRED", "DELETED", "REJECTD"] {
            assert_eq!(receipt(&text(failed)), Some(said("a1b2", false)));
        }
        for open in ["ENROUTE", "ACCEPTD", "UNKNOWN", "?"] {
            assert_eq!(receipt(&text(open)), None);
        }
        assert_eq!(receipt("stat:DELIVRD"), None);
        assert_eq!(receipt(""), None);
        let text = OctetString::from_slice(b"id:1 stat:DELIVRD").expect("a text");
        let from_a_phone = DeliverSm::builder().short_message(text).build();
        assert_eq!(Receipt::of(&from_a_phone), None);
    }

    #[test]
    fn a_receipt_finds_its_message_however_the_id_is_written() {
        let proof = Uuid::from_u128(1);
        for (accepted, received) in [
            ("A1B2", "a1b2"),
            ("00000017", "17"),
            ("1f", "31"),
            ("31", "1f"),
            ("msg-1", "msg-1"),
        ] {
            let mut awaited = AwaitedReceipts::default();
            assert_eq!(awaited.accepted(accepted, proof), None);
            let receipt = Receipt {
                id: normalized(received),
                is_delivered: true,
            };
            let report = awaited.received(&receipt);
            let expected = DeliveryReport {
                proof,
                is_delivered: true,
            };
            assert_eq!(report, Some(expected), "{accepted} {received}");
            assert_eq!(awaited.received(&receipt), None, "a second receipt");
        }
    }

    #[test]
    fn a_receipt_can_come_before_the_answer() {
        let mut awaited = AwaitedReceipts::default();
        for (received, accepted) in [("7", "07"), ("162", "A2"), ("a2", "162")] {
            let early = Receipt {
                id: received.to_owned(),
                is_delivered: false,
            };
            assert_eq!(awaited.received(&early), None);
            let report = awaited.accepted(accepted, Uuid::nil()).expect("a report");
            assert!(!report.is_delivered);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut awaited = AwaitedReceipts::default();
        for n in 0..MAX_AWAITED + 10 {
            awaited.accepted(&format!("m{n}"), Uuid::nil());
        }
        assert_eq!(
            (awaited.proofs.len(), awaited.order.len()),
            (MAX_AWAITED, MAX_AWAITED)
        );
        for n in 0..MAX_EARLY + 10 {
            let id = format!("unknown-{n}");
            awaited.received(&Receipt {
                id,
                is_delivered: true,
            });
        }
        assert_eq!(awaited.early.len(), MAX_EARLY);
    }
}
