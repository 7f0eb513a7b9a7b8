//! Imports of tables.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::Metrics;
use super::register::{counters, gauges};
use crate::telemetry::TelemetryError;

/// The outcome of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    Done,
    /// The table contains nothing new.
    Unchanged,
    DryRun,
    /// The table or its difference from the database was refused.
    Refused,
    /// The service failed.
    Failed,
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

/// Imports, and when the last one of each format succeeded.
#[derive(Debug)]
pub(super) struct ImportMetrics {
    all: IntCounterVec,
    last: IntGaugeVec,
}

impl ImportMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            all: counters(
                registry,
                "imports_total",
                "Imports, by format of the table and outcome.",
                &["format", "outcome"],
            )?,
            last: gauges(
                registry,
                "last_import_timestamp_seconds",
                "Unix time of the last successful import of a table of this format, including imports without changes.",
                &["format"],
            )?,
        })
    }
}

impl Metrics {
    /// Counts an import. The format is one of a fixed set.
    pub fn import(&self, format: &'static str, outcome: ImportOutcome, now: i64) {
        let labels = [format, outcome.label()];
        self.imports.all.with_label_values(&labels).inc();
        if matches!(outcome, ImportOutcome::Done | ImportOutcome::Unchanged) {
            let last = &self.imports.last;
            last.with_label_values(&[format]).set(now);
        }
    }
}
