//! Log lines and metrics. Every metric is declared here.
//!
//! A leaf module. Labels come from fixed sets and never from a caller's input, so a caller cannot
//! exhaust memory with new time series. Input in log lines is escaped, so a caller cannot forge a
//! line.

mod background;
mod control;
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

pub use background::{BackgroundTasks, RunningTask};
pub use control::{ControlMetrics, ProofOutcome, ReproofOutcome};
pub use metrics::{
    ConnectionMetrics, Cut, ImportOutcome, Listener, Metrics, MintOutcome, method_label,
};
pub use policies::PolicyMetrics;
pub use request_context::{RequestContext, carried, trace_id};
pub use traceparent::trace_id_of;
pub use withdrawals::{AuthorityEnds, DeliveryOutcome};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, otherwise JSON.
    #[default]
    Auto,
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging or metrics failed.
#[derive(Debug, Error)]
pub enum TelemetryError {
    #[error("logging is already initialized: {0}")]
    Log(#[from] log::SetLoggerError),
    #[error("a metric cannot be registered or rendered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Initializes logging to stderr, including panics. The level comes from `RUST_LOG`, or is `level`
/// if that is not set.
pub fn init(format: LogFormat, level: LevelFilter) -> Result<(), TelemetryError> {
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // The HTTP library logs malformed request heads, so any client could trigger an alert.
    let default = format!("{level},actix_http::h1::dispatcher=off");
    Builder::from_env(Env::default().default_filter_or(default))
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
    panics::install_hook();
    Ok(())
}
