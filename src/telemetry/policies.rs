//! The metrics of the policies.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::TelemetryError;
use super::metrics::{gauge, gauges};

/// Which policies are in force, and whether others should be.
#[derive(Debug)]
pub struct PolicyMetrics {
    set: IntGaugeVec,
    /// 1 while the folder of policies holds what cannot be put into force: an alarm when it is not 0.
    pub reload_failed: IntGauge,
}

impl PolicyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            set: gauges(
                registry,
                "policy_set_info",
                "The policies in force, by the SHA-256 of their files; always 1.",
                &["sha256"],
            )?,
            reload_failed: gauge(
                registry,
                "policy_reload_failed",
                "1 while the folder of policies holds what cannot be put into force.",
            )?,
        })
    }

    /// Says which policies are in force.
    pub fn in_force(&self, sha256: &str) {
        self.set.reset();
        self.set.with_label_values(&[sha256]).set(1);
    }
}
