//! Tells targets on the Internet what happened: checks where they are, signs what is sent (Standard Webhooks), and sends it.
//!
//! What is to be sent, to whom, and how often is decided in `authority` and `domain`. Nothing here is told to an address
//! inside of somebody's network, unless the configuration names it.

mod guard;
mod send;
mod sign;
mod worker;

pub use guard::{Guard, NameLookup, SystemNames};
pub use send::{SendError, Sender, SenderSettings};
pub use sign::{Secrets, SignError};
pub use worker::SenderThreads;
