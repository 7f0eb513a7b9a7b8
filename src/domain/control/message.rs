//! Codes on their way: what a gateway has still to send.

use uuid::Uuid;

use crate::domain::clock::Time;

/// The media type of a SIP `MESSAGE` with the nonce of a proof: `{"proof": id, "nonce": text}`.
pub const CONTROL_NONCE: &str = "application/vnd.tn-authority.control-nonce+json";
/// The `typ` of the JWS with which the account's key returns a nonce.
pub const CONTROL_ANSWER: &str = "control-answer+jwt";

/// A code that is to be sent. It is in the database from the transaction that starts its proof,
/// until it was sent or given up; the code is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeMessage {
    pub proof: Uuid,
    /// The name of the gateway.
    pub gateway: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    pub attempts: u32,
    /// Attempts that may have sent it. One counts from its lease on, until it is known that it did
    /// not.
    pub unclear: u32,
    /// When the next attempt is due.
    pub due_at: Time,
    /// From when on no attempt is made.
    pub give_up_at: Time,
}
