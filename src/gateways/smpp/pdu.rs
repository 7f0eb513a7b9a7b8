//! PDUs: what is sent, and how they are framed.

use bytes::{Buf as _, BytesMut};
use rusmpp::decode::DecodeWithLength as _;
use rusmpp::encode::{Encode as _, Length as _};
use rusmpp::pdus::{BindTransceiver, SubmitSm};
use rusmpp::tlvs::MessageSubmissionRequestTlvValue;
use rusmpp::types::{COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp::values::{
    DataCoding, InterfaceVersion, IntermediateNotification, MCDeliveryReceipt, MessagePayload, Npi,
    RegisteredDelivery, SmeOriginatedAcknowledgement, Ton,
};
use rusmpp::{Command, CommandStatus, Pdu};

use super::SmppSettings;
use crate::gateways::alphabet::{Encoded, encode};
use crate::gateways::error::GatewayError;
use crate::gateways::gateway::OutgoingCode;

/// Length, id, status and sequence number (SMPP 3.4 §3.2).
const HEADER: usize = 16;
/// The longest PDU that is read.
const MAX_PDU: usize = 65_536;
/// What one short message holds (3GPP TS 23.040): septets of the default alphabet, octets of UCS-2.
const MAX_SEPTETS: usize = 160;
const MAX_UCS2: usize = 140;
/// The longest name as a sender.
const MAX_SENDER_NAME: usize = 11;

/// The address that messages are from.
#[derive(Debug, Clone)]
pub(super) struct SenderAddress {
    ton: Ton,
    npi: Npi,
    address: COctetString<1, 21>,
}

impl SenderAddress {
    pub(super) fn new(from: Option<&str>) -> Result<Self, GatewayError> {
        let Some(from) = from else {
            return Ok(Self {
                ton: Ton::Unknown,
                npi: Npi::Unknown,
                address: COctetString::empty(),
            });
        };
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (ton, npi, address) = match from.strip_prefix('+') {
            Some(digits) if is_digits(digits) => (Ton::International, Npi::Isdn, digits),
            _ if is_digits(from) => (Ton::Unknown, Npi::Isdn, from),
            _ if from.len() <= MAX_SENDER_NAME => (Ton::Alphanumeric, Npi::Unknown, from),
            _ => {
                let why = "is neither a number nor a name of up to 11 characters";
                return Err(GatewayError::wrong("from", &why));
            }
        };
        Ok(Self {
            ton,
            npi,
            address: field("from", address)?,
        })
    }
}

/// The request that opens a session.
pub(super) fn bind(settings: &SmppSettings) -> Result<BindTransceiver, GatewayError> {
    Ok(BindTransceiver::builder()
        .system_id(field("username", &settings.system_id)?)
        .password(field("secret_file", settings.password.expose())?)
        .system_type(field("system_type", &settings.system_type)?)
        .interface_version(InterfaceVersion::Smpp3_4)
        .build())
}

fn field<const MAX: usize>(
    key: &'static str,
    text: &str,
) -> Result<COctetString<1, MAX>, GatewayError> {
    let terminated = [text.as_bytes(), b"\0"].concat();
    COctetString::from_vec(terminated).map_err(|_| {
        let why = format!("is not ASCII of at most {} characters", MAX - 1);
        GatewayError::wrong(key, &why)
    })
}

/// The message for a code cannot be written as SMPP wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsubmittable;

/// The message for a code. A text that does not fit into one short message goes into the
/// `message_payload`, which the SMSC splits: so it is accepted as a whole or not at all.
pub(super) fn submit(from: &SenderAddress, code: &OutgoingCode) -> Result<SubmitSm, Unsubmittable> {
    let number = code.number.to_string();
    let digits = number.trim_start_matches('+');
    let destination = COctetString::from_vec([digits.as_bytes(), b"\0"].concat());
    // Relative to now (§7.1.1): a code that arrives after its end is of no use.
    let (hours, minutes) = (code.minutes / 60 % 100, code.minutes % 60);
    let validity = format!("000000{hours:02}{minutes:02}00000R\0");
    let message = SubmitSm::builder()
        .source_addr_ton(from.ton)
        .source_addr_npi(from.npi)
        .source_addr(from.address.clone())
        .dest_addr_ton(Ton::International)
        .dest_addr_npi(Npi::Isdn)
        .destination_addr(destination.map_err(|_| Unsubmittable)?)
        .validity_period(EmptyOrFullCOctetString::from_vec(validity.into_bytes()).map_err(|_| Unsubmittable)?)
        .registered_delivery(RegisteredDelivery::new(
            MCDeliveryReceipt::McDeliveryReceiptRequestedWhereFinalDeliveryOutcomeIsSuccessOrFailure,
            SmeOriginatedAcknowledgement::NoReceiptSmeAcknowledgementRequested,
            IntermediateNotification::NoIntermediaryNotificationRequested,
            0,
        ));
    let (coding, octets, most) = match encode(&code.text) {
        Encoded::Gsm(octets) => (DataCoding::McSpecific, octets, MAX_SEPTETS),
        Encoded::Ucs2(octets) => (DataCoding::Ucs2, octets, MAX_UCS2),
    };
    let mut message = message.data_coding(coding).build();
    if octets.len() <= most {
        message.set_short_message(OctetString::from_vec(octets).map_err(|_| Unsubmittable)?);
    } else {
        let payload = MessagePayload::new(rusmpp::types::AnyOctetString::from_vec(octets));
        message.push_tlv(MessageSubmissionRequestTlvValue::MessagePayload(payload));
    }
    Ok(message)
}

/// A PDU as it is sent.
pub(super) fn frame(status: CommandStatus, sequence: u32, pdu: impl Into<Pdu>) -> Vec<u8> {
    let command = Command::new(status, sequence, pdu);
    let length = 4 + command.length();
    let mut framed = vec![0; length];
    framed[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    command.encode(&mut framed[4..]);
    framed
}

/// A PDU that was received.
#[derive(Debug)]
pub(super) enum Received {
    Known(Box<Command>),
    /// Its header can be read, and its body not.
    Unreadable {
        sequence: u32,
    },
}

/// The stream is no sequence of PDUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSmpp;

/// Takes the first PDU of what was received; `None` if it is not complete.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Received>, NotSmpp> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NotSmpp)?;
    if !(HEADER..=MAX_PDU).contains(&length) {
        return Err(NotSmpp);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut pdu = buffer.split_to(length);
    let sequence = (&pdu[HEADER - 4..HEADER]).get_u32();
    pdu.advance(4);
    let decoded = Command::decode(&mut pdu, length - 4);
    Ok(Some(match decoded {
        Ok((command, _)) => Received::Known(Box::new(command)),
        Err(_) => Received::Unreadable { sequence },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> OutgoingCode {
        OutgoingCode {
            proof: uuid::Uuid::nil(),
            account: "acme".parse().expect("an id"),
            account_name: "ACME".to_owned(),
            number: "+12125551001".parse().expect("a number"),
            code: crate::domain::control::codes::ControlCode::new("123456"),
            text: text.to_owned(),
            minutes: 10,
            expires_at: crate::domain::clock::from_unix(0),
        }
    }

    fn submitted(text: &str) -> SubmitSm {
        let from = SenderAddress::new(Some("+12125550000")).expect("a number");
        submit(&from, &code(text)).expect("a message")
    }

    #[test]
    fn a_text_is_written_in_the_alphabet_that_has_it() {
        let gsm = submitted("123456 @ Å");
        assert_eq!(gsm.data_coding, DataCoding::McSpecific);
        assert_eq!(gsm.short_message().as_ref(), b"123456 \x00 \x0e");
        let ucs2 = submitted("ж");
        assert_eq!(ucs2.data_coding, DataCoding::Ucs2);
        assert_eq!(ucs2.short_message().as_ref(), b"\x04\x36");
        assert_eq!(gsm.validity_period.as_str(), "000000001000000R");
        assert_eq!(gsm.destination_addr.as_str(), "12125551001");
    }

    #[test]
    fn a_long_text_is_one_message_all_the_same() {
        for (text, is_long) in [
            ("a".repeat(160), false),
            ("a".repeat(161), true),
            ("€".repeat(80), false),
            ("€".repeat(81), true),
            ("ж".repeat(70), false),
            ("ж".repeat(71), true),
        ] {
            let message = submitted(&text);
            assert_eq!(message.tlvs().len(), usize::from(is_long), "{text}");
            assert_eq!(message.sm_length() == 0, is_long, "{text}");
        }
    }

    #[test]
    fn a_sender_is_a_number_or_a_short_name() {
        let ton = |from| SenderAddress::new(Some(from)).map(|source| source.ton);
        assert_eq!(ton("+12125550000"), Ok(Ton::International));
        assert_eq!(ton("70707"), Ok(Ton::Unknown));
        assert_eq!(ton("CARRIER"), Ok(Ton::Alphanumeric));
        assert!(ton("A NAME TOO LONG").is_err());
        assert!(ton("é").is_err());
    }

    #[test]
    fn what_is_framed_is_taken_again() {
        let framed = frame(CommandStatus::EsmeRok, 7, Pdu::EnquireLink);
        assert_eq!(
            framed,
            hex::decode("00000010000000150000000000000007").expect("hex")
        );
        let mut buffer = BytesMut::from(&framed[..15]);
        assert!(take(&mut buffer).expect("a part").is_none());
        buffer.extend_from_slice(&framed[15..]);
        buffer.extend_from_slice(&frame(CommandStatus::EsmeRok, 8, submitted("a")));
        for sequence in [7, 8] {
            match take(&mut buffer) {
                Ok(Some(Received::Known(command))) => {
                    assert_eq!(command.sequence_number(), sequence);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(buffer.is_empty());
    }

    /// An SMSC, or what listens in its place, can send anything.
    #[test]
    fn what_is_no_pdu_ends_the_session_and_a_broken_body_does_not() {
        for start in ["00000000", "0000000f", "00010001", "ffffffff", "48545450"] {
            let mut buffer = BytesMut::from(&hex::decode(start).expect("hex")[..]);
            assert_eq!(take(&mut buffer).expect_err("not SMPP"), NotSmpp, "{start}");
        }
        // A deliver_sm whose fields have no end.
        let mut broken = hex::decode("00000018000000050000000000000009").expect("hex");
        broken.extend_from_slice(&[b'x'; 8]);
        let mut buffer = BytesMut::from(&broken[..]);
        let taken = take(&mut buffer);
        assert!(
            matches!(taken, Ok(Some(Received::Unreadable { sequence: 9 }))),
            "{taken:?}"
        );
        assert!(buffer.is_empty());
    }
}
