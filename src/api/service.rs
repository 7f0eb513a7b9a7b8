//! What every handler is given: the parts of the service, and the bounds of requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::http::concurrency::ConcurrencyLimit;
use super::http::idempotency::Idempotency;
use super::routes::facade::Facade;
use crate::authority::Authority;
use crate::authority::import::jobs::Jobs;
use crate::callers::Callers;
use crate::webhooks::Sender;

/// What the handlers call.
#[derive(Debug)]
pub struct Service {
    pub authority: Arc<Authority>,
    pub callers: Callers,
    pub jobs: Jobs,
    pub webhooks: Arc<Sender>,
    pub uploads: Uploads,
    /// What requests are kept with that may come again.
    pub idempotency: Idempotency,
    pub under_way: ConcurrencyLimit,
    /// For clients of STI-PAs; `None` if it is off.
    pub facade: Option<Facade>,
    /// A longer body is answered 413.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive; of a table, each piece of it.
    pub request_timeout: Duration,
    /// The same for a bulk of requests for tokens.
    pub max_bulk_body_bytes: usize,
}

/// What becomes of the tables that are sent.
#[derive(Debug)]
pub struct Uploads {
    /// Where they are kept until they are imported.
    pub dir: PathBuf,
    /// A longer one is answered 413.
    pub max_bytes: u64,
    /// The share of the numbers of a service provider code that may end unconfirmed, in parts of a million.
    pub max_ended_ppm: u32,
}
