//! The state that all handlers share: the parts of the service, and the bounds of requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::http::concurrency::ConcurrencyLimit;
use super::http::door::Door;
use super::http::idempotency::Idempotency;
use super::http::upload::UploadShares;
use super::routes::facade::Facade;
use crate::authority::Authority;
use crate::authority::import::jobs::Jobs;
use crate::callers::Callers;
use crate::webhooks::Sender;

/// The parts of the service that handlers call, and the bounds of requests.
#[derive(Debug)]
pub struct Service {
    pub authority: Arc<Authority>,
    pub callers: Callers,
    pub jobs: Jobs,
    pub webhooks: Arc<Sender>,
    pub uploads: Uploads,
    /// Replays requests that carry an `Idempotency-Key`.
    pub idempotency: Idempotency,
    pub under_way: ConcurrencyLimit,
    /// Refuses token requests that would wait too long.
    pub door: Door,
    /// The facade for clients of an STI-PA; `None` if it is off.
    pub facade: Option<Facade>,
    /// The URL under which clients reach the service, without a final `/`.
    pub public_url: String,
    /// The maximum size of a body; a larger one is answered 413.
    pub max_body_bytes: usize,
    /// The timeout for receiving a body; for a table, for each piece of it, and for the time that
    /// is not earned by its size.
    pub request_timeout: Duration,
    /// The maximum size of the body of a bulk of token requests.
    pub max_bulk_body_bytes: usize,
}

/// How uploaded tables are stored, and their bounds.
#[derive(Debug)]
pub struct Uploads {
    /// The folder where they are stored until they are imported.
    pub dir: PathBuf,
    /// The maximum size of a table; a larger one is answered 413.
    pub max_bytes: u64,
    /// Bytes a second at which a table has to arrive, on average.
    pub min_rate: u64,
    /// The uploads in progress.
    pub shares: UploadShares,
    /// The share of a service provider code's numbers that an import can end without confirmation,
    /// in parts per million.
    pub max_ended_ppm: u32,
}
