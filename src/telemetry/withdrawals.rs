//! Metrics of withdrawn grants: tokens that can still be redeemed, and the webhook deliveries that
//! report them.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::TelemetryError;
use super::metrics::{counters, gauge};

/// The outcome of an attempt to deliver a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    Delivered,
    /// It will be retried.
    Failed,
    /// It will not be retried.
    GivenUp,
}

impl DeliveryOutcome {
    const ALL: [Self; 3] = [Self::Delivered, Self::Failed, Self::GivenUp];

    const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given-up",
        }
    }
}

/// Withdrawn grants whose tokens are unexpired, and webhook deliveries.
#[derive(Debug)]
pub struct AuthorityEnds {
    exposed_tokens: IntGauge,
    exposed_until: IntGauge,
    attempts: IntCounterVec,
}

impl AuthorityEnds {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        let metrics = Self {
            exposed_tokens: gauge(
                registry,
                "exposed_tokens",
                "Unexpired tokens of withdrawn grants.",
            )?,
            exposed_until: gauge(
                registry,
                "exposed_until_seconds",
                "Unix time at which the last unexpired token of a withdrawn grant expires; 0 if there is none.",
            )?,
            attempts: counters(
                registry,
                "webhook_attempts_total",
                "Attempts to deliver webhook notifications, by outcome.",
                &["outcome"],
            )?,
        };
        for attempt in DeliveryOutcome::ALL {
            metrics.attempts.with_label_values(&[attempt.label()]);
        }
        Ok(metrics)
    }

    /// Sets the number of unexpired tokens of withdrawn grants, and when the last of them expires.
    pub fn exposed(&self, tokens: u64, until: i64) {
        self.exposed_tokens
            .set(i64::try_from(tokens).unwrap_or(i64::MAX));
        self.exposed_until.set(until);
    }

    /// Counts a delivery attempt.
    pub fn attempt(&self, outcome: DeliveryOutcome) {
        self.attempts.with_label_values(&[outcome.label()]).inc();
    }
}
