//! SIP, as far as a `MESSAGE` outside of a dialog needs it (RFC 3261, RFC 3428): messages, a client
//! transaction, and a server that answers. A leaf module without knowledge of what is sent.
//!
//! Everything from the network is bounded: the size of a message, the number of transactions and
//! connections, and each wait.

pub mod client;
mod connections;
pub mod message;
pub mod once_a_minute;
pub mod server;
pub mod target;

#[cfg(test)]
mod tests;
