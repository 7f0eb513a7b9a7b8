//! Sends notifications to targets on the Internet: checks the address, signs the message (Standard
//! Webhooks) and posts it.
//!
//! `authority` and `domain` decide what is sent, to whom, and how often. Nothing is sent to an
//! internal address unless the configuration allows it.

mod guard;
mod send;
mod sign;
mod worker;

pub use guard::{Guard, NameLookup, SystemNames};
pub use send::{SendError, Sender, SenderSettings};
pub use sign::{Secrets, SignError};
pub use worker::{SENDERS, SenderThreads};
