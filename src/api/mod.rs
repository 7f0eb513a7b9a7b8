//! HTTP: requests in, answers out. The only room that knows actix, besides `app`.
//!
//! A handler proves the caller, parses, calls one verb of `authority` and renders. Nothing is decided here.

mod http;
pub mod openapi;
mod problem;
mod router;
mod routes;
mod service;

pub use http::concurrency::ConcurrencyLimit;
pub use http::idempotency::Idempotency;
pub use router::{app, operations};
pub use routes::audit::line as audit_line;
pub use routes::facade::Facade;
pub use service::{Service, Uploads};
