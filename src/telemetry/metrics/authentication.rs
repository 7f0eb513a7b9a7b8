//! Metrics of failed authentication, and of the keys that verify access tokens.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Metrics, TelemetryError, counters, gauge, gauges};

#[derive(Debug)]
pub(super) struct AuthenticationMetrics {
    unproven: IntCounterVec,
    key_sets: IntCounterVec,
    issuer_keys: IntGaugeVec,
    client_crl_loads: IntCounterVec,
    client_crl_next_update: IntGauge,
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
            client_crl_loads: counters(
                registry,
                "client_crl_loads_total",
                "Attempts to read the CRLs of client certificates, by outcome.",
                &["outcome"],
            )?,
            client_crl_next_update: gauge(
                registry,
                "client_crl_next_update_seconds",
                "When the first of the CRLs of client certificates expires, in seconds since 1970; 0 without any.",
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

    /// Counts an attempt to read the CRLs of client certificates.
    pub fn client_crl_loaded(&self, outcome: &'static str) {
        let loads = &self.authentication.client_crl_loads;
        loads.with_label_values(&[outcome]).inc();
    }

    /// Sets when the first of the CRLs in force expires.
    pub fn client_crl_next_update(&self, at: i64) {
        self.authentication.client_crl_next_update.set(at);
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
