//! Requests that were not authenticated and why, and the keys that verify access tokens.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{Metrics, TelemetryError, counters, gauges};

#[derive(Debug)]
pub(super) struct AuthenticationMetrics {
    unproven: IntCounterVec,
    key_sets: IntCounterVec,
    issuer_keys: IntGaugeVec,
}

impl AuthenticationMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            unproven: counters(
                registry,
                "unproven_total",
                "Requests whose caller was not proven, by what was offered and why it proves nothing.",
                &["proof", "reason"],
            )?,
            key_sets: counters(
                registry,
                "key_sets_total",
                "Key sets of issuers of access tokens that were read or fetched, by what came of it.",
                &["issuer", "outcome"],
            )?,
            issuer_keys: gauges(
                registry,
                "issuer_keys",
                "Keys of an issuer that can verify access tokens.",
                &["issuer"],
            )?,
        })
    }
}

impl Metrics {
    /// Counts a request that proves nobody; both are words of `callers`.
    pub fn unproven(&self, proof: &'static str, reason: &'static str) {
        let labels = [proof, reason];
        self.authentication
            .unproven
            .with_label_values(&labels)
            .inc();
    }

    /// Counts a look at the keys of an issuer. Its name is one of the configuration's.
    pub fn key_set(&self, issuer: &str, outcome: &'static str) {
        let labels = [issuer, outcome];
        self.authentication
            .key_sets
            .with_label_values(&labels)
            .inc();
    }

    /// Says how many keys of an issuer can be used.
    pub fn issuer_keys(&self, issuer: &str, number: usize) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let gauge = self.authentication.issuer_keys.with_label_values(&[issuer]);
        gauge.set(number);
    }
}
