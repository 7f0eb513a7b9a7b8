//! What every request passes: authentication, limits, bodies, queries, idempotency.

pub(super) mod authentication;
pub(super) mod body;
pub(super) mod concurrency;
pub(super) mod database_wait;
pub(super) mod deserialize;
pub(super) mod door;
pub(super) mod idempotency;
pub(super) mod mistake;
pub(super) mod query;
pub(super) mod request;
pub(super) mod time;
pub(super) mod unsent;
pub(super) mod upload;
