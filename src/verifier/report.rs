//! The report of a verification, step by step.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::jws::JwsError;
use crate::domain::text::words::words;

/// What each step of RFC 9448 §6 checks, by its number. Step 0 is the parsing that precedes them.
/// The titles are neutral, because they also precede the detail of a failure.
const TITLES: [&str; 10] = [
    "token syntax",
    "`atc` syntax",
    "`x5u` signer",
    "`x5c` signer",
    "signature",
    "`tktype`",
    "`tkvalue` and identifier",
    "remaining claims",
    "`fingerprint` and account key",
    "`ca` and CSR",
];

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    Passed,
    Failed,
    /// There was nothing to check, or nothing to compare with.
    Skipped,
}

words! {
    /// The name in the report.
    impl Serialize for StepOutcome {
        Passed = "passed",
        Failed = "failed",
        Skipped = "skipped",
    }
}

/// The type of the ACME error with which a CA refuses the challenge (RFC 8555 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeProblem {
    /// The token does not authorize the order.
    Unauthorized,
    /// Nothing is wrong with the token, but the host of its `x5u` did not answer.
    Connection,
}

words! {
    /// The type of the problem document.
    impl Serialize for AcmeProblem {
        Unauthorized = "urn:ietf:params:acme:error:unauthorized",
        Connection = "urn:ietf:params:acme:error:connection",
    }
}

/// One step of RFC 9448 §6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// 1 to 9 as in the RFC; 0 if the token could not be parsed.
    pub number: usize,
    pub title: &'static str,
    pub outcome: StepOutcome,
    pub detail: String,
}

impl Step {
    pub(super) fn new(number: usize, outcome: StepOutcome, detail: impl Into<String>) -> Self {
        Self {
            number,
            title: TITLES[number],
            outcome,
            detail: detail.into(),
        }
    }

    /// A step that passed with a detail, or failed with a reason.
    pub(super) fn from_result<E: fmt::Display>(number: usize, result: Result<String, E>) -> Self {
        match result {
            Ok(detail) => Self::new(number, StepOutcome::Passed, detail),
            Err(reason) => Self::new(number, StepOutcome::Failed, reason.to_string()),
        }
    }
}

/// All steps that were performed, and the claims of the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerificationReport {
    accepted: bool,
    /// `None` if the token was accepted.
    problem: Option<AcmeProblem>,
    steps: Vec<Step>,
    claims: Option<Map<String, Value>>,
}

impl VerificationReport {
    /// `no_answer` is whether step 2 failed because the host of the `x5u` did not answer.
    pub(super) fn new(steps: Vec<Step>, claims: Map<String, Value>, no_answer: bool) -> Self {
        // Only the signature must have passed: a step that was skipped for lack of input is no
        // fault.
        let has_signature = |step: &Step| step.number == 4 && step.outcome == StepOutcome::Passed;
        let has_no_fault = |step: &Step| step.outcome != StepOutcome::Failed;
        let accepted = steps.iter().all(has_no_fault) && steps.iter().any(has_signature);
        // The signature of step 4 cannot be verified without the certificate of step 2.
        let is_connection = |step: &Step| has_no_fault(step) || matches!(step.number, 2 | 4);
        let problem = if no_answer && steps.iter().all(is_connection) {
            AcmeProblem::Connection
        } else {
            AcmeProblem::Unauthorized
        };
        Self {
            accepted,
            problem: (!accepted).then_some(problem),
            steps,
            claims: Some(claims),
        }
    }

    pub(super) fn unreadable(error: &JwsError) -> Self {
        Self {
            accepted: false,
            problem: Some(AcmeProblem::Unauthorized),
            steps: vec![Step::new(0, StepOutcome::Failed, error.to_string())],
            claims: None,
        }
    }

    /// Whether the CA may set the challenge to `valid`.
    #[must_use]
    pub const fn accepted(&self) -> bool {
        self.accepted
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|step| step.outcome == StepOutcome::Failed)
    }

    /// The payload. It can be relied on only if the token was accepted.
    #[must_use]
    pub const fn claims(&self) -> Option<&Map<String, Value>> {
        self.claims.as_ref()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome.as_str();
        write!(
            f,
            "step {} {outcome:7} {}: {}",
            self.number, self.title, self.detail
        )
    }
}

/// One line per step, then the verdict.
impl fmt::Display for VerificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        f.write_str(if self.accepted { "accepted" } else { "refused" })
    }
}
