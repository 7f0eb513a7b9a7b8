//! Metrics of effective control: proofs, and how long it takes until a code comes back. No label
//! holds a number.

use prometheus::{HistogramVec, IntCounterVec, Registry};

use super::TelemetryError;
use super::metrics::{counters, minutes};

/// What happened to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofOutcome {
    Started,
    Confirmed,
    /// A code was not accepted.
    WrongCode,
    /// The proof failed: too many wrong codes, no code sent, or the authority was lost before the
    /// code came back.
    Failed,
}

impl ProofOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Confirmed => "confirmed",
            Self::WrongCode => "wrong-code",
            Self::Failed => "failed",
        }
    }
}

/// What happened when the service proved control again, for a right to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReproofOutcome {
    /// A number was asked.
    Started,
    Confirmed,
    /// A proof failed, and was reported.
    Failed,
    /// A right waits for a limit.
    Limited,
    /// A right waits, since its account has no authority over the numbers now.
    NoAuthority,
}

impl ReproofOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Limited => "limited",
            Self::NoAuthority => "no-authority",
        }
    }
}

/// Proofs of control.
#[derive(Debug)]
pub struct ControlMetrics {
    proofs: IntCounterVec,
    confirm_seconds: HistogramVec,
    reproofs: IntCounterVec,
}

impl ControlMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self {
            proofs: counters(
                registry,
                "control_proofs_total",
                "Proofs of control of a number, by method and outcome; several wrong codes of one proof count each.",
                &["method", "outcome"],
            )?,
            confirm_seconds: minutes(
                registry,
                "control_confirm_seconds",
                "Time from the start of a proof of control until its code came back, by method.",
                "method",
            )?,
            reproofs: counters(
                registry,
                "control_reproofs_total",
                "Proofs of control that the service started for renewal rights, by outcome; limited and no-authority count each wait of a right.",
                &["outcome"],
            )?,
        })
    }

    /// Counts what happened to a proof.
    pub fn proof(&self, method: &'static str, outcome: ProofOutcome) {
        self.proofs
            .with_label_values(&[method, outcome.label()])
            .inc();
    }

    /// Counts what happened when control was proven again.
    pub fn reproofs(&self, outcome: ReproofOutcome, count: u64) {
        let counter = self.reproofs.with_label_values(&[outcome.label()]);
        counter.inc_by(count);
    }

    /// Times a confirmed proof.
    pub fn confirmed_after(&self, method: &'static str, seconds: f64) {
        self.confirm_seconds
            .with_label_values(&[method])
            .observe(seconds);
    }
}
