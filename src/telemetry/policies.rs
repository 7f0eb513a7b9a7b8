//! Metrics of the policies.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::TelemetryError;
use super::metrics::{gauge, gauges};

/// The policies in force, and whether a newer set failed to load.
#[derive(Debug)]
pub struct PolicyMetrics {
    set: IntGaugeVec,
    /// 1 while the policies in the folder cannot be loaded, so the previous set stays in force.
    /// Alert if it is not 0.
    pub reload_failed: IntGauge,
}

impl PolicyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            set: gauges(
                registry,
                "policy_set_info",
                "The policies in force, with the SHA-256 of their files as a label; always 1.",
                &["sha256"],
            )?,
            reload_failed: gauge(
                registry,
                "policy_reload_failed",
                "1 while the policies in the folder cannot be loaded and the previous ones stay in force.",
            )?,
        })
    }

    /// Sets the policies in force.
    pub fn in_force(&self, sha256: &str) {
        self.set.reset();
        self.set.with_label_values(&[sha256]).set(1);
    }
}
