//! Metrics of authority that ended: what can still be redeemed, and how those who are told of it answer.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::TelemetryError;
use super::metrics::{counters, gauge};

/// How an attempt to tell somebody ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    Delivered,
    /// It is sent again later.
    Failed,
    /// It is sent no more.
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

/// These metrics.
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
                "Tokens that are not expired although their grants are withdrawn.",
            )?,
            exposed_until: gauge(
                registry,
                "exposed_until_seconds",
                "When the last of these tokens expires, in Unix seconds; 0 if there is none.",
            )?,
            attempts: counters(
                registry,
                "webhook_attempts_total",
                "Attempts to tell webhooks, by how they ended.",
                &["outcome"],
            )?,
        };
        for attempt in DeliveryOutcome::ALL {
            metrics.attempts.with_label_values(&[attempt.label()]);
        }
        Ok(metrics)
    }

    /// Says how many tokens are exposed, and until when.
    pub fn exposed(&self, tokens: u64, until: i64) {
        self.exposed_tokens
            .set(i64::try_from(tokens).unwrap_or(i64::MAX));
        self.exposed_until.set(until);
    }

    /// Counts an attempt to tell a webhook.
    pub fn attempt(&self, outcome: DeliveryOutcome) {
        self.attempts.with_label_values(&[outcome.label()]).inc();
    }
}
