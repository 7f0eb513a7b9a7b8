//! Creates metrics and registers them, with the buckets of the histograms.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::telemetry::TelemetryError;

/// Seconds, from the duration of a signature in memory to that of a client's timeout.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Seconds that people and networks take to answer, up to an hour.
const MINUTES: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
];
/// Jobs in one transaction of the writer.
const JOBS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// A family of counters.
pub(in crate::telemetry) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, TelemetryError> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// A counter.
pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntCounter, TelemetryError> {
    register(registry, IntCounter::new(name, help))
}

/// A gauge.
pub(in crate::telemetry) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<IntGauge, TelemetryError> {
    register(registry, IntGauge::new(name, help))
}

/// A gauge of a real number.
pub(super) fn real_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<Gauge, TelemetryError> {
    register(registry, Gauge::new(name, help))
}

/// A family of gauges.
pub(in crate::telemetry) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, TelemetryError> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A family of histograms of durations.
pub(super) fn seconds(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<HistogramVec, TelemetryError> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    register(registry, HistogramVec::new(options, &[label]))
}

/// A family of histograms of what takes people and networks seconds to minutes.
pub(in crate::telemetry) fn minutes(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<HistogramVec, TelemetryError> {
    let options = HistogramOpts::new(name, help).buckets(MINUTES.to_vec());
    register(registry, HistogramVec::new(options, &[label]))
}

/// A histogram of numbers of jobs.
pub(super) fn jobs(
    registry: &Registry,
    name: &str,
    help: &str,
) -> Result<Histogram, TelemetryError> {
    let options = HistogramOpts::new(name, help).buckets(JOBS.to_vec());
    register(registry, Histogram::with_opts(options))
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> Result<M, TelemetryError> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// The version of the service, as a label.
pub(super) fn register_build_info(registry: &Registry) -> Result<(), TelemetryError> {
    let build = gauges(
        registry,
        "build_info",
        "The version of the service, as a label; always 1.",
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}
