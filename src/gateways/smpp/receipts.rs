//! Delivery receipts (SMPP 3.4 appendix B): which message one is about, and what it says.

use rusmpp::pdus::DeliverSm;
use rusmpp::tlvs::TlvValue;
use rusmpp::values::{MessageState, MessageType};

use crate::authority::CodeReceipt;

/// The receipt in a message; `None` if there is none, or if it says nothing final.
pub(super) fn receipt_in(message: &DeliverSm) -> Option<CodeReceipt> {
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
    Some(CodeReceipt {
        message_id: normalized(&id),
        is_delivered: state?,
    })
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

#[cfg(test)]
mod tests {
    use rusmpp::types::OctetString;
    use rusmpp::values::EsmClass;

    use super::*;

    fn receipt(text: &str) -> Option<CodeReceipt> {
        let esm_class = EsmClass::from(0x04);
        let text = OctetString::from_slice(text.as_bytes()).expect("a text");
        receipt_in(
            &DeliverSm::builder()
                .esm_class(esm_class)
                .short_message(text)
                .build(),
        )
    }

    fn said(id: &str, is_delivered: bool) -> CodeReceipt {
        CodeReceipt {
            message_id: id.to_owned(),
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
        assert_eq!(receipt_in(&from_a_phone), None);
    }

    #[test]
    fn ids_are_compared_without_what_is_written_differently() {
        for (answer, receipt) in [("A1B2", "a1b2"), ("00000017", "17"), (" msg-1 ", "msg-1")] {
            assert_eq!(normalized(answer), normalized(receipt));
        }
        assert_eq!(normalized("000"), "000");
        assert_ne!(normalized("1f"), normalized("31"));
    }
}
