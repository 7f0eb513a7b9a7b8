//! The HTTP API. Only this module and `app` know actix.
//!
//! A handler authenticates the caller, parses the request, calls one verb of `authority` and
//! renders the result. No decisions are made here.

mod http;
pub mod openapi;
mod problem;
mod router;
mod routes;
mod service;
mod waiting;

pub use http::concurrency::ConcurrencyLimit;
pub use http::door::Door;
pub use http::idempotency::Idempotency;
pub use http::request::OverTls;
pub use http::unsent::UnsentAnswers;
pub use http::upload::UploadShares;
pub use router::{app, operations, while_waiting};
pub use routes::audit::line as audit_line;
pub use routes::facade::Facade;
pub use service::{Service, Uploads};
pub use waiting::WaitingState;

pub use crate::authority::ClientPresence;
