//! Log lines and metrics. Every metric is declared here.
//!
//! A leaf module. Labels come from fixed sets and never from a caller's input, so a caller cannot
//! exhaust memory with new time series. Input in log lines is escaped, so a caller cannot forge a
//! line.

mod background;
mod control;
mod listener_tls;
mod log_format;
mod metrics;
mod panics;
mod policies;
mod repeated_line;
mod request_context;
mod traceparent;
mod withdrawals;

use std::io::{IsTerminal as _, Write as _};

use env_logger::{Builder, Env};
use log::{Level, LevelFilter};
use serde::Deserialize;
use thiserror::Error;

pub use background::{BackgroundTasks, RunningTask};
pub use control::{ControlMetrics, ProofOutcome, ReproofOutcome};
pub use metrics::{
    ConnectionMetrics, Cut, ImportOutcome, Listener, Metrics, MintOutcome, method_label,
};
pub use policies::PolicyMetrics;
pub use repeated_line::RepeatedLine;
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
            if has_secrets(record.target(), record.level()) {
                return Ok(());
            }
            let time = out.timestamp_millis().to_string();
            let mut line = if json {
                log_format::json(&time, record)
            } else {
                log_format::text(&time, record)
            };
            line.push(b'\n');
            out.write_all(&line)
        })
        .try_init()?;
    panics::install_hook();
    Ok(())
}

/// Whether a line can have secrets in it, which no `RUST_LOG` may show: the HTTP client logs URLs
/// and header fields of requests to others, with their codes, passwords and keys.
fn has_secrets(target: &str, level: Level) -> bool {
    let library = target.split("::").next().unwrap_or_default();
    matches!(library, "ureq" | "ureq_proto") && level > Level::Warn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_others_are_not_logged() {
        for target in ["ureq", "ureq::run", "ureq_proto::client::flow"] {
            for level in [Level::Info, Level::Debug, Level::Trace] {
                assert!(has_secrets(target, level), "{target} {level}");
            }
            assert!(!has_secrets(target, Level::Warn), "{target}");
        }
        assert!(!has_secrets("tn_authority::gateways::http", Level::Trace));
    }
}
