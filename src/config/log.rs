//! `[log]`: the format of the log.

use serde::Deserialize;

use crate::telemetry::LogFormat;

/// The format of the log. Its level comes from `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
}
