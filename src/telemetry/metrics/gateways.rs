//! Codes on their way to numbers, over the carrier's gateways.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::register::{counters, gauge};
use crate::telemetry::TelemetryError;

/// What is still to be sent, and what failed. Gateways are named by the configuration.
#[derive(Debug)]
pub struct GatewayMetrics {
    errors: IntCounterVec,
    pending: IntGauge,
}

impl GatewayMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            errors: counters(
                registry,
                "control_gateway_errors_total",
                "Attempts to send a code that failed, by gateway and kind of failure.",
                &["gateway", "kind"],
            )?,
            pending: gauge(
                registry,
                "control_messages_pending",
                "Codes that are still to be sent.",
            )?,
        })
    }

    /// Counts an attempt that failed.
    pub fn failed(&self, gateway: &str, kind: &'static str) {
        self.errors.with_label_values(&[gateway, kind]).inc();
    }

    pub fn pending(&self, count: i64) {
        self.pending.set(count);
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    #[test]
    fn failures_are_counted_by_gateway() {
        let metrics = Metrics::new().expect("metrics");
        metrics.gateways.failed("sms", "timeout");
        metrics.gateways.pending(7);
        let text = metrics.render().expect("text");
        for line in [
            "tn_authority_control_gateway_errors_total{gateway=\"sms\",kind=\"timeout\"} 1",
            "tn_authority_control_messages_pending 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}
