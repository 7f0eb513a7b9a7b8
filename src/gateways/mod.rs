//! Sends codes to numbers over the carrier's gateways: text messages by HTTP, Kannel or SMPP, and
//! SIP `MESSAGE`s.
//!
//! `authority` and `domain` decide what is sent, to whom and how often; the outbox is in the
//! database. Addresses come from the configuration alone, never from a caller.

mod alphabet;
mod error;
mod gateway;
mod http;
mod http_reply;
mod kannel;
mod literals;
mod sip;
mod smpp;
mod template;
mod worker;

pub use error::GatewayError;
pub use gateway::{Gateway, OutgoingCode, Reports};
pub use http::{HttpGateway, HttpSettings};
pub use kannel::{KannelGateway, KannelSettings};
pub use sip::{SipGateway, SipSettings};
pub use smpp::{SmppGateway, SmppSettings};
pub use template::{IN_MESSAGES, Template, TemplateError, Values};
pub use worker::{ConfiguredGateway, GatewayThreads, Gateways};
