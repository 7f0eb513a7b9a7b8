//! Metrics of the API listener's TLS.

use prometheus::{IntGauge, Registry};

use super::TelemetryError;
use super::metrics::gauge;

/// The certificate in force, and whether its files can replace it.
#[derive(Debug)]
pub struct ListenerTlsMetrics {
    /// When the certificate expires, in Unix seconds; 0 if there is none.
    pub not_after: IntGauge,
    /// 1 while files on disk cannot replace what is in force. Alert if it is not 0.
    pub reload_failed: IntGauge,
}

impl ListenerTlsMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            not_after: gauge(
                registry,
                "tls_certificate_not_after_seconds",
                "When the TLS certificate of the API expires, in Unix seconds; 0 if there is none.",
            )?,
            reload_failed: gauge(
                registry,
                "tls_reload_failed",
                "1 while files of TLS or of CAs are faulty and the previous ones stay in force.",
            )?,
        })
    }
}
