//! Metrics of failed authentication, and of the keys that verify access tokens.

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
                "Requests that failed authentication, by kind of credential and reason.",
                &["proof", "reason"],
            )?,
            key_sets: counters(
                registry,
                "key_sets_total",
                "Attempts to read or fetch the key set of an access token issuer, by outcome.",
                &["issuer", "outcome"],
            )?,
            issuer_keys: gauges(
                registry,
                "issuer_keys",
                "Usable keys of an access token issuer.",
                &["issuer"],
            )?,
        })
    }
}

impl Metrics {
    /// Counts a request that failed authentication. Both labels are from fixed sets in `callers`.
    pub fn unproven(&self, proof: &'static str, reason: &'static str) {
        let labels = [proof, reason];
        self.authentication
            .unproven
            .with_label_values(&labels)
            .inc();
    }

    /// Counts an attempt to load the keys of an issuer. The issuer's name comes from the
    /// configuration.
    pub fn key_set(&self, issuer: &str, outcome: &'static str) {
        let labels = [issuer, outcome];
        self.authentication
            .key_sets
            .with_label_values(&labels)
            .inc();
    }

    /// Sets the number of usable keys of an issuer.
    pub fn issuer_keys(&self, issuer: &str, number: usize) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let gauge = self.authentication.issuer_keys.with_label_values(&[issuer]);
        gauge.set(number);
    }
}
