//! Whether tokens can be issued, and how the database is.

use prometheus::{Gauge, IntGauge, IntGaugeVec, Registry};

use super::register::{gauge, gauges, real_gauge};
use crate::telemetry::TelemetryError;

/// Readiness, and the state of the database as this replica sees it.
#[derive(Debug)]
pub struct AvailabilityMetrics {
    ready: IntGauge,
    checks: IntGaugeVec,
    differences: IntGaugeVec,
    readers: IntGaugeVec,
    /// When the writer last committed, in Unix seconds.
    pub last_commit: Gauge,
    /// For how long the writer has waited for the database, in seconds.
    pub blocked: Gauge,
    /// Whether the server is a standby.
    pub database_in_recovery: IntGauge,
    /// Pages in the log of an SQLite database, when it was last copied into the file.
    pub sqlite_log_pages: IntGauge,
    /// Synchronous standbys; -1 if the role may not see them.
    pub synchronous_standbys: IntGauge,
    /// The clock of the database minus that of this machine, in seconds.
    pub clock_offset: Gauge,
}

impl AvailabilityMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            ready: gauge(
                registry,
                "ready",
                "Whether a token could be issued now, as /readyz says.",
            )?,
            checks: gauges(
                registry,
                "readiness_check",
                "Whether a check of readiness succeeds, by check.",
                &["check"],
            )?,
            differences: gauges(
                registry,
                "replica_differences",
                "Other replicas that differ from this one in a setting that all must have in common, by setting.",
                &["setting"],
            )?,
            readers: gauges(
                registry,
                "readers",
                "Connections of the read pool, by state.",
                &["state"],
            )?,
            last_commit: real_gauge(
                registry,
                "writer_last_commit_timestamp_seconds",
                "Unix time of the last transaction that the writer committed; 0 if there is none.",
            )?,
            blocked: real_gauge(
                registry,
                "writer_blocked_seconds",
                "For how long the writer has waited for the database or its lock; 0 if it does not wait.",
            )?,
            database_in_recovery: gauge(
                registry,
                "database_in_recovery",
                "Whether the database server is a standby, which cannot be written to.",
            )?,
            sqlite_log_pages: gauge(
                registry,
                "sqlite_log_pages",
                "Pages in the log of the SQLite database; it grows while a reader keeps an old snapshot.",
            )?,
            synchronous_standbys: gauge(
                registry,
                "synchronous_standbys",
                "Standbys that confirm each commit; -1 if the role of the service may not see them.",
            )?,
            clock_offset: real_gauge(
                registry,
                "clock_offset_seconds",
                "The clock of the database minus that of this machine.",
            )?,
        })
    }

    pub fn ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// The check is one of a fixed set.
    pub fn check(&self, check: &'static str, succeeds: bool) {
        self.checks.with_label_values(&[check]).set(succeeds.into());
    }

    /// The setting is one of a fixed set.
    pub fn differences(&self, setting: &'static str, number: usize) {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.differences.with_label_values(&[setting]).set(number);
    }

    /// The state is one of a fixed set.
    pub fn readers(&self, state: &'static str, number: u32) {
        self.readers.with_label_values(&[state]).set(number.into());
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    #[test]
    fn every_metric_of_availability_is_written() {
        let metrics = Metrics::new().expect("metrics");
        metrics.availability.check("database", false);
        metrics.availability.differences("spcs", 2);
        metrics.availability.readers("idle", 3);
        metrics.availability.clock_offset.set(-0.5);
        let text = metrics.render().expect("text");
        for line in [
            "tn_authority_ready 0",
            "tn_authority_readiness_check{check=\"database\"} 0",
            "tn_authority_replica_differences{setting=\"spcs\"} 2",
            "tn_authority_readers{state=\"idle\"} 3",
            "tn_authority_writer_last_commit_timestamp_seconds 0",
            "tn_authority_writer_blocked_seconds 0",
            "tn_authority_database_in_recovery 0",
            "tn_authority_sqlite_log_pages 0",
            "tn_authority_synchronous_standbys 0",
            "tn_authority_clock_offset_seconds -0.5",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "{line} is missing in:\n{text}"
            );
        }
    }
}
