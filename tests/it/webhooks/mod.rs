//! Webhooks against real HTTPS servers: what is told, to whom, how often, and where nothing goes.

mod control_failed;
mod deliveries;
mod guard;
pub mod house;
mod renewed_cas;
mod retry_after;
mod subscriptions;
mod target;

pub use target::sender_to_nowhere;
