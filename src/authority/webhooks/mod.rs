//! Webhook subscriptions, and the queue of deliveries that the sender works through.

pub(super) mod deliveries;
pub(super) mod subscriptions;
