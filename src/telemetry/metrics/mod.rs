//! The Prometheus metrics of the service.

mod authentication;
mod availability;
mod connections;
mod gateways;
mod imports;
mod register;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use super::TelemetryError;
use super::background::BackgroundTasks;
use super::control::ControlMetrics;
use super::listener_tls::ListenerTlsMetrics;
use super::policies::PolicyMetrics;
use super::withdrawals::AuthorityEnds;
use authentication::AuthenticationMetrics;
use availability::AvailabilityMetrics;
use gateways::GatewayMetrics;
use imports::ImportMetrics;
use register::{counter, jobs, register_build_info, seconds};

pub use connections::{ConnectionMetrics, Cut, Listener};
pub use imports::ImportOutcome;
pub(super) use register::{counters, gauge, gauges, minutes};

/// The route label of a request that matches no route.
const NO_ROUTE: &str = "unmatched";

/// The outcome of a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintOutcome {
    Granted,
    Denied,
    /// The service failed, or the request was malformed.
    Error,
}

/// All metrics. They have their own registry, so that several services in one process, as in tests,
/// do not share them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tokens: IntCounterVec,
    denials: IntCounterVec,
    imports: ImportMetrics,
    http_requests: IntCounterVec,
    http_request_seconds: HistogramVec,
    transaction_seconds: HistogramVec,
    transaction_retries: IntCounterVec,
    /// Jobs in the writer's queue.
    pub writer_queue_length: IntGauge,
    /// Jobs per transaction of the writer.
    pub writer_batch_size: Histogram,
    /// Jobs that were evicted from a full queue.
    pub writer_displaced: IntCounter,
    /// Orders that were dropped unrecorded, since their clients had left.
    pub abandoned_orders: IntCounter,
    /// Token requests that were refused before any work was done for them.
    pub overload_refusals: IntCounter,
    limited: IntCounterVec,
    /// When the first signing certificate expires, in Unix seconds; 0 if there is none.
    pub signing_certificate_not_after_seconds: IntGauge,
    /// Files that are currently refused for signing. Alert if it is not 0.
    pub signer_refused_files: IntGauge,
    /// Codes of the carrier without a valid certificate. Alert if it is not 0.
    pub spcs_without_certificate: IntGauge,
    signing_chains: IntGaugeVec,
    signature_failures: IntCounterVec,
    authentication: AuthenticationMetrics,
    pub availability: AvailabilityMetrics,
    pub connections: ConnectionMetrics,
    pub listener_tls: ListenerTlsMetrics,
    pub policies: PolicyMetrics,
    /// Withdrawn grants with unexpired tokens, and webhook deliveries.
    pub authority_ends: AuthorityEnds,
    pub control: ControlMetrics,
    pub background: BackgroundTasks,
    /// Codes on their way to numbers.
    pub gateways: GatewayMetrics,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// [`TelemetryError`] if two metrics have the same name.
    #[expect(clippy::too_many_lines, reason = "every metric is declared here, once")]
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new_custom(Some("tn_authority".to_owned()), None)?;
        register_build_info(&registry)?;
        let metrics = Self {
            tokens: counters(
                &registry,
                "tokens_total",
                "Token requests, by outcome.",
                &["outcome"],
            )?,
            denials: counters(
                &registry,
                "denials_total",
                "Denied token requests, by problem code.",
                &["code"],
            )?,
            imports: ImportMetrics::new(&registry)?,
            http_requests: counters(
                &registry,
                "http_requests_total",
                "HTTP requests, by method, route and status.",
                &["method", "route", "status"],
            )?,
            http_request_seconds: seconds(
                &registry,
                "http_request_seconds",
                "Duration of HTTP requests, from the request head to the response.",
                "route",
            )?,
            transaction_seconds: seconds(
                &registry,
                "transaction_seconds",
                "Duration of transactions, including their retries.",
                "name",
            )?,
            transaction_retries: counters(
                &registry,
                "transaction_retries_total",
                "Retries of transactions.",
                &["name"],
            )?,
            writer_queue_length: gauge(
                &registry,
                "writer_queue_length",
                "Jobs in the writer's queue.",
            )?,
            writer_batch_size: jobs(
                &registry,
                "writer_batch_size",
                "Jobs per transaction of the writer.",
            )?,
            writer_displaced: counter(
                &registry,
                "writer_displaced_total",
                "Jobs evicted from the longest queue of a tenant, since all were full; their requests got 503.",
            )?,
            abandoned_orders: counter(
                &registry,
                "abandoned_orders_total",
                "Token requests dropped unrecorded while others waited, since their clients had closed the connection.",
            )?,
            overload_refusals: counter(
                &registry,
                "overload_refusals_total",
                "Token requests refused with 503 before they were read, since they would have waited too long.",
            )?,
            limited: counters(
                &registry,
                "limited_requests_total",
                "Requests that exceeded a rate limit, by limit.",
                &["limit"],
            )?,
            signing_certificate_not_after_seconds: gauge(
                &registry,
                "signing_certificate_not_after_seconds",
                "Unix time at which the first signing certificate expires; 0 if there is none.",
            )?,
            signer_refused_files: gauge(
                &registry,
                "signer_refused_files",
                "Files and keys that are currently refused for signing.",
            )?,
            spcs_without_certificate: gauge(
                &registry,
                "spcs_without_certificate",
                "Service provider codes of the carrier without a valid certificate.",
            )?,
            signing_chains: gauges(
                &registry,
                "signing_chains",
                "Certificate chains, by state.",
                &["state"],
            )?,
            signature_failures: counters(
                &registry,
                "signature_failures_total",
                "Recorded grants whose token could not be signed, by cause.",
                &["kind"],
            )?,
            authentication: AuthenticationMetrics::new(&registry)?,
            availability: AvailabilityMetrics::new(&registry)?,
            connections: ConnectionMetrics::new(&registry)?,
            listener_tls: ListenerTlsMetrics::new(&registry)?,
            policies: PolicyMetrics::new(&registry)?,
            authority_ends: AuthorityEnds::new(&registry)?,
            control: ControlMetrics::new(&registry)?,
            background: BackgroundTasks::new(&registry)?,
            gateways: GatewayMetrics::new(&registry)?,
            registry,
        };
        // Export a zero from the start, because a rate cannot be computed for a series that begins
        // at one.
        for outcome in [
            MintOutcome::Granted,
            MintOutcome::Denied,
            MintOutcome::Error,
        ] {
            metrics.tokens.with_label_values(&[outcome.label()]);
        }
        Ok(metrics)
    }

    /// Counts a token request.
    pub fn token(&self, outcome: MintOutcome) {
        self.tokens.with_label_values(&[outcome.label()]).inc();
    }

    /// Counts a denial. The code comes from the service or its policies, never from a caller.
    pub fn denial(&self, code: &str) {
        self.denials.with_label_values(&[code]).inc();
    }

    /// Counts a request that exceeded a rate limit. The limit is one of a fixed set.
    pub fn limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Counts a failed signature. The kind is one of a fixed set.
    pub fn signature_failed(&self, kind: &'static str) {
        self.signature_failures.with_label_values(&[kind]).inc();
    }

    /// Sets the number of certificate chains in a state.
    pub fn signing_chains(&self, state: &'static str, number: i64) {
        self.signing_chains.with_label_values(&[state]).set(number);
    }

    /// Counts and times an HTTP request. The route is a pattern such as `/v1/accounts/{id}`, never
    /// a path.
    pub fn http_request(&self, method: &str, route: Option<&str>, status: u16, seconds: f64) {
        let (method, route) = (method_label(method), route.unwrap_or(NO_ROUTE));
        let status = status.to_string();
        self.http_requests
            .with_label_values(&[method, route, &status])
            .inc();
        self.http_request_seconds
            .with_label_values(&[route])
            .observe(seconds);
    }

    /// Times a transaction.
    pub fn transaction(&self, name: &'static str, seconds: f64) {
        self.transaction_seconds
            .with_label_values(&[name])
            .observe(seconds);
    }

    /// Counts a retry of a transaction.
    pub fn transaction_retry(&self, name: &'static str) {
        self.transaction_retries.with_label_values(&[name]).inc();
    }

    /// Renders all metrics in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> Result<String, TelemetryError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl MintOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// A method of RFC 9110, or PATCH, as a label; `other` for all others, since a client can send any
/// text.
pub fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_written_with_its_labels() {
        let metrics = Metrics::new().expect("metrics");
        metrics.token(MintOutcome::Denied);
        metrics.denial("not-authorized");
        metrics.import("nanp-blocks", ImportOutcome::Done, 1_800_000_000);
        metrics.import("nanp-blocks", ImportOutcome::Refused, 1_900_000_000);
        metrics.http_request("POST", Some("/at/account/{id}/token"), 403, 0.002);
        metrics.http_request("G\nET", None, 404, 0.001);
        metrics.transaction("issue", 0.01);
        metrics.transaction_retry("issue");
        metrics.writer_queue_length.set(3);
        metrics.writer_batch_size.observe(7.0);
        let certificate_ends = &metrics.signing_certificate_not_after_seconds;
        certificate_ends.set(1_900_000_000);
        metrics.signature_failed("timeout");
        metrics.limited("caller");
        metrics.unproven("api-key", "revoked");
        metrics.signing_chains("active", 2);
        metrics.policies.in_force("0");
        metrics.policies.in_force("5e");
        metrics.unproven("access-token", "expired");
        metrics.key_set("corporate", "new");
        metrics.issuer_keys("corporate", 2);
        metrics.client_crl_loaded("failed");
        metrics.client_crl_next_update(1_800_000_000);
        metrics.connections.opened(Listener::Api);
        metrics.connections.cut(Listener::Api, Cut::Reader);
        let (text, version) = (metrics.render().expect("text"), env!("CARGO_PKG_VERSION"));
        for line in [
            &format!("tn_authority_build_info{{version=\"{version}\"}} 1"),
            "tn_authority_tokens_total{outcome=\"granted\"} 0",
            "tn_authority_tokens_total{outcome=\"denied\"} 1",
            "tn_authority_denials_total{code=\"not-authorized\"} 1",
            "tn_authority_imports_total{format=\"nanp-blocks\",outcome=\"refused\"} 1",
            "tn_authority_last_import_timestamp_seconds{format=\"nanp-blocks\"} 1800000000",
            "tn_authority_http_requests_total{method=\"POST\",route=\"/at/account/{id}/token\",status=\"403\"} 1",
            "tn_authority_http_requests_total{method=\"other\",route=\"unmatched\",status=\"404\"} 1",
            "tn_authority_http_request_seconds_count{route=\"unmatched\"} 1",
            "tn_authority_transaction_seconds_count{name=\"issue\"} 1",
            "tn_authority_transaction_retries_total{name=\"issue\"} 1",
            "tn_authority_limited_requests_total{limit=\"caller\"} 1",
            "tn_authority_writer_displaced_total 0",
            "tn_authority_abandoned_orders_total 0",
            "tn_authority_overload_refusals_total 0",
            "tn_authority_writer_queue_length 3",
            "tn_authority_writer_batch_size_bucket{le=\"8\"} 1",
            "tn_authority_signing_certificate_not_after_seconds 1900000000",
            "tn_authority_signature_failures_total{kind=\"timeout\"} 1",
            "tn_authority_unproven_total{proof=\"api-key\",reason=\"revoked\"} 1",
            "tn_authority_signing_chains{state=\"active\"} 2",
            "tn_authority_policy_set_info{sha256=\"5e\"} 1",
            "tn_authority_policy_reload_failed 0",
            "tn_authority_unproven_total{proof=\"access-token\",reason=\"expired\"} 1",
            "tn_authority_key_sets_total{issuer=\"corporate\",outcome=\"new\"} 1",
            "tn_authority_issuer_keys{issuer=\"corporate\"} 2",
            "tn_authority_client_crl_loads_total{outcome=\"failed\"} 1",
            "tn_authority_client_crl_next_update_seconds 1800000000",
            "tn_authority_open_connections{listener=\"api\"} 1",
            "tn_authority_cut_connections_total{cause=\"slow-reader\",listener=\"api\"} 1",
            "tn_authority_cut_connections_total{cause=\"share\",listener=\"operations\"} 0",
            "tn_authority_signer_refused_files 0",
            "tn_authority_tls_certificate_not_after_seconds 0",
            "tn_authority_tls_reload_failed 0",
            "tn_authority_spcs_without_certificate 0",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in:\n{text}"
            );
        }
    }

    #[test]
    fn what_was_never_counted_can_be_written() {
        assert!(Metrics::new().and_then(|metrics| metrics.render()).is_ok());
    }
}
