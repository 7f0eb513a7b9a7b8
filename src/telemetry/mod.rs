//! What operators see: log lines and metrics. Every metric is declared here, once.
//!
//! A leaf: knows no other room. Labels come from fixed sets, never from what a caller wrote, so that nobody can fill the
//! memory with time series; and what a caller wrote reaches a log line only escaped, so that nobody can forge one.

mod log_format;
mod metrics;
mod panics;
mod policies;
mod request_context;
mod traceparent;
mod withdrawals;

use std::io::{IsTerminal as _, Write as _};

use env_logger::{Builder, Env};
use log::LevelFilter;
use serde::Deserialize;
use thiserror::Error;

pub use metrics::{ImportOutcome, Metrics, MintOutcome, method_label};
pub use policies::PolicyMetrics;
pub use request_context::{RequestContext, carried, trace_id};
pub use traceparent::trace_id_of;
pub use withdrawals::{AuthorityEnds, DeliveryOutcome};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no telemetry.
#[derive(Debug, Error)]
pub enum TelemetryError {
    #[error("the log is already set up: {0}")]
    Log(#[from] log::SetLoggerError),
    #[error("a metric cannot be declared or written: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Sets up the log on stderr, panics included. Its level comes from `RUST_LOG`; without it, `level` is the least that is logged.
///
/// # Errors
/// [`TelemetryError`] if it is already set up.
pub fn init(format: LogFormat, level: LevelFilter) -> Result<(), TelemetryError> {
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // What the HTTP library says of malformed heads: anybody could ring an alarm with them.
    let usual = format!("{level},actix_http::h1::dispatcher=off");
    Builder::from_env(Env::default().default_filter_or(usual))
        .format(move |out, record| {
            let time = out.timestamp_millis().to_string();
            let line = if json {
                log_format::json(&time, record)
            } else {
                log_format::text(&time, record)
            };
            writeln!(out, "{line}")
        })
        .try_init()?;
    panics::log_them();
    Ok(())
}
