//! Webhook subscriptions, and the deliveries that the sender works off.

pub(super) mod deliveries;
pub(super) mod subscriptions;
