//! The Prometheus metrics of the service.

mod authentication;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use super::TelemetryError;
use super::policies::PolicyMetrics;
use super::withdrawals::AuthorityEnds;
use authentication::AuthenticationMetrics;

/// Seconds: from a signature in memory to a client that gives up.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Jobs in one transaction of the writer.
const JOBS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];
/// The label of a request that no route took.
const NO_ROUTE: &str = "unmatched";

/// How a request for a token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintOutcome {
    Granted,
    Denied,
    /// The service failed, or the request was malformed.
    Error,
}

/// How an import ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    Done,
    /// What the table says was known already.
    Unchanged,
    DryRun,
    /// The table, or the difference, is refused.
    Refused,
    /// The service failed.
    Failed,
}

/// Every metric, on a registry of its own: two services in one process, as in tests, do not meet.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tokens: IntCounterVec,
    denials: IntCounterVec,
    imports: IntCounterVec,
    last_import: IntGaugeVec,
    http_requests: IntCounterVec,
    http_request_seconds: HistogramVec,
    transaction_seconds: HistogramVec,
    transaction_retries: IntCounterVec,
    /// Jobs that wait for the writer.
    pub writer_queue_length: IntGauge,
    /// Jobs that the writer put into one transaction.
    pub writer_batch_size: Histogram,
    /// Jobs that had to make place for those of others.
    pub writer_displaced: IntCounter,
    limited: IntCounterVec,
    /// When the signing certificate ends, in Unix seconds; of several, the first that does; 0 if there is none.
    pub signing_certificate_not_after_seconds: IntGauge,
    /// Files that are refused for signing now: an alarm when it is not 0.
    pub signer_refused_files: IntGauge,
    /// Codes of the carrier that no certificate is in force for: an alarm when it is not 0.
    pub spcs_without_certificate: IntGauge,
    signing_chains: IntGaugeVec,
    signature_failures: IntCounterVec,
    authentication: AuthenticationMetrics,
    pub policies: PolicyMetrics,
    /// Authority that ended while tokens were out, and who is told.
    pub authority_ends: AuthorityEnds,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Errors
    /// [`TelemetryError`] if two have one name.
    #[expect(clippy::too_many_lines, reason = "every metric is declared here, once")]
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new_custom(Some("tn_authority".to_owned()), None)?;
        say_version(&registry)?;
        let metrics = Self {
            tokens: counters(
                &registry,
                "tokens_total",
                "Requests for a token, by how they ended.",
                &["outcome"],
            )?,
            denials: counters(
                &registry,
                "denials_total",
                "Denied requests for a token, by code.",
                &["code"],
            )?,
            imports: counters(
                &registry,
                "imports_total",
                "Imports, by the format of the table and by how they ended.",
                &["format", "outcome"],
            )?,
            last_import: gauges(
                &registry,
                "last_import_timestamp_seconds",
                "When a table of this format was last imported, also if nothing changed, in Unix seconds.",
                &["format"],
            )?,
            http_requests: counters(
                &registry,
                "http_requests_total",
                "Answered HTTP requests.",
                &["method", "route", "status"],
            )?,
            http_request_seconds: seconds(
                &registry,
                "http_request_seconds",
                "Time from a request's head to its answer.",
                "route",
            )?,
            transaction_seconds: seconds(
                &registry,
                "transaction_seconds",
                "Time of a transaction, its retries included.",
                "name",
            )?,
            transaction_retries: counters(
                &registry,
                "transaction_retries_total",
                "Transactions that were run again.",
                &["name"],
            )?,
            writer_queue_length: gauge(
                &registry,
                "writer_queue_length",
                "Jobs that wait for the writer.",
            )?,
            writer_batch_size: jobs(
                &registry,
                "writer_batch_size",
                "Jobs in one transaction of the writer.",
            )?,
            writer_displaced: counter(
                &registry,
                "writer_displaced_total",
                "Waiting jobs of the longest lane that made place for a job of another, and were answered 503.",
            )?,
            limited: counters(
                &registry,
                "limited_requests_total",
                "Requests that came too often, by what is limited.",
                &["limit"],
            )?,
            signing_certificate_not_after_seconds: gauge(
                &registry,
                "signing_certificate_not_after_seconds",
                "When the signing certificate ends that ends first, in Unix seconds; 0 if there is none.",
            )?,
            signer_refused_files: gauge(
                &registry,
                "signer_refused_files",
                "Files and keys that are refused for signing now.",
            )?,
            spcs_without_certificate: gauge(
                &registry,
                "spcs_without_certificate",
                "Service provider codes of the carrier without a certificate in force.",
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
                "Recorded grants for which no token was signed, by what failed.",
                &["kind"],
            )?,
            authentication: AuthenticationMetrics::new(&registry)?,
            policies: PolicyMetrics::new(&registry)?,
            authority_ends: AuthorityEnds::new(&registry)?,
            registry,
        };
        // A rate needs a zero to start from.
        for outcome in [
            MintOutcome::Granted,
            MintOutcome::Denied,
            MintOutcome::Error,
        ] {
            metrics.tokens.with_label_values(&[outcome.label()]);
        }
        Ok(metrics)
    }

    /// Counts a request for a token.
    pub fn token(&self, outcome: MintOutcome) {
        self.tokens.with_label_values(&[outcome.label()]).inc();
    }

    /// Counts a denial. The code is one of the service's or of its policies, never a caller's word.
    pub fn denial(&self, code: &str) {
        self.denials.with_label_values(&[code]).inc();
    }

    /// Counts an import. The format is one of the service's words.
    pub fn import(&self, format: &'static str, outcome: ImportOutcome, now: i64) {
        let labels = [format, outcome.label()];
        self.imports.with_label_values(&labels).inc();
        if matches!(outcome, ImportOutcome::Done | ImportOutcome::Unchanged) {
            self.last_import.with_label_values(&[format]).set(now);
        }
    }

    /// Counts a request that came too often; the limit is one of the service's words.
    pub fn limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Counts a signature that was not made; the kind is one word of the signer's.
    pub fn signature_failed(&self, kind: &'static str) {
        self.signature_failures.with_label_values(&[kind]).inc();
    }

    /// Says how many certificate chains are in a state.
    pub fn signing_chains(&self, state: &'static str, number: i64) {
        self.signing_chains.with_label_values(&[state]).set(number);
    }

    /// Counts and times an HTTP request. The route is its pattern, as `/v1/accounts/{id}`, never a path.
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

    /// Times a transaction, which has a name.
    pub fn transaction(&self, name: &'static str, seconds: f64) {
        self.transaction_seconds
            .with_label_values(&[name])
            .observe(seconds);
    }

    /// Counts one more run of a transaction.
    pub fn transaction_retry(&self, name: &'static str) {
        self.transaction_retries.with_label_values(&[name]).inc();
    }

    /// All of them in the text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// [`TelemetryError`] if one cannot be written.
    pub fn render(&self) -> Result<String, TelemetryError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl ImportOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry-run",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
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

fn say_version(registry: &Registry) -> Result<(), TelemetryError> {
    let build = gauges(
        registry,
        "build_info",
        "Which version runs; always 1.",
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

/// The methods of RFC 9110 and PATCH; a client may send any word.
pub fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, TelemetryError> {
    declare(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, TelemetryError> {
    declare(registry, IntCounter::new(name, help))
}

pub(super) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntGauge, TelemetryError> {
    declare(registry, IntGauge::new(name, help))
}

pub(super) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, TelemetryError> {
    declare(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<HistogramVec, TelemetryError> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    declare(registry, HistogramVec::new(options, &[label]))
}

fn jobs(registry: &Registry, name: &str, help: &str) -> Result<Histogram, TelemetryError> {
    let options = HistogramOpts::new(name, help).buckets(JOBS.to_vec());
    declare(registry, Histogram::with_opts(options))
}

pub(super) fn declare<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> Result<M, TelemetryError> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
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
        metrics
            .signing_certificate_not_after_seconds
            .set(1_900_000_000);
        metrics.signature_failed("timeout");
        metrics.limited("caller");
        metrics.unproven("api-key", "revoked");
        metrics.signing_chains("active", 2);
        metrics.policies.in_force("0");
        metrics.policies.in_force("5e");
        metrics.unproven("access-token", "expired");
        metrics.key_set("corporate", "new");
        metrics.issuer_keys("corporate", 2);
        let text = metrics.render().expect("text");
        for line in [
            concat!(
                "tn_authority_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
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
            "tn_authority_signer_refused_files 0",
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
