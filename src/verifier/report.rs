//! What the verifier found, step by step.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::jws::JwsError;

/// What each step of RFC 9448 §6 looks at, by its number; 0 stands for the reading before them.
const TITLES: [&str; 10] = [
    "the token is a JWT",
    "`atc` is well-formed",
    "`x5u` names a trusted authority",
    "`x5c` is a trusted authority's",
    "the signature",
    "`tktype`",
    "`tkvalue` is the identifier",
    "the remaining claims",
    "`fingerprint` is the account's",
    "`ca` is that of the CSR",
];

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    Passed,
    Failed,
    /// There was nothing to check, or nothing to check it with.
    Skipped,
}

impl StepOutcome {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One step of RFC 9448 §6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// 1 to 9 as in the RFC; 0 if the token could not even be read.
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

    /// A step that passed with its detail, or failed with its reason.
    pub(super) fn from_result<E: fmt::Display>(number: usize, result: Result<String, E>) -> Self {
        match result {
            Ok(detail) => Self::new(number, StepOutcome::Passed, detail),
            Err(reason) => Self::new(number, StepOutcome::Failed, reason.to_string()),
        }
    }
}

/// All steps that were made, and what the token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerificationReport {
    accepted: bool,
    steps: Vec<Step>,
    claims: Option<Map<String, Value>>,
}

impl VerificationReport {
    pub(super) fn new(steps: Vec<Step>, claims: Map<String, Value>) -> Self {
        let signed = |step: &Step| step.number == 4 && step.outcome == StepOutcome::Passed;
        let sound = |step: &Step| step.outcome != StepOutcome::Failed;
        Self {
            accepted: steps.iter().all(sound) && steps.iter().any(signed),
            steps,
            claims: Some(claims),
        }
    }

    pub(super) fn unreadable(error: &JwsError) -> Self {
        Self {
            accepted: false,
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

    /// The payload as it was read, true only if the token was accepted.
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

/// One line a step, then the verdict.
impl fmt::Display for VerificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        f.write_str(if self.accepted { "accepted" } else { "refused" })
    }
}
