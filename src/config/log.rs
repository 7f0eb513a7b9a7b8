//! `[log]`: how the log is written.

use serde::Deserialize;

use crate::telemetry::LogFormat;

/// How the log looks. Its level comes from `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
}
