//! Bodies that say that a change was a mistake, and why.

use serde::Deserialize;
use utoipa::ToSchema;

use super::body::wrong;
use super::deserialize;
use super::time::Instant;
use crate::api::problem::Problem;
use crate::authority::Mistake;
use crate::domain::Time;

/// That a change was a mistake, and is to be undone.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Mistake)]
pub(in crate::api) struct MistakeBody {
    /// Must be true: undoing is not a normal end.
    #[schema(value_type = bool, required = true, example = true)]
    mistake: Option<bool>,
    /// Why, for the audit trail.
    #[schema(value_type = String, required = true, example = "the table lacked a line")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
}

/// That an import was a mistake.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = JobMistake)]
pub(in crate::api) struct JobMistakeBody {
    /// Must be true: undoing is not a normal end.
    #[schema(value_type = bool, required = true, example = true)]
    mistake: Option<bool>,
    /// Why, for the audit trail.
    #[schema(value_type = String, required = true, example = "the table lacked a line")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
    /// Only report what would change.
    #[schema(default = false)]
    dry_run: Option<bool>,
}

/// When an exclusion ends, or that it was a mistake.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EndExclusion)]
pub(in crate::api) struct EndExclusionBody {
    /// The default is now.
    at: Option<Instant>,
    /// That the exclusion should never have been made: what it ended counts again, now. Without it,
    /// nothing is restored.
    #[schema(default = false)]
    mistake: Option<bool>,
    /// Why, for the audit trail; required with `mistake`.
    #[schema(value_type = Option<String>, example = "the wrong number")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
}

/// How an exclusion ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum ExclusionEnd {
    /// At an instant, or now. Nothing is restored.
    Ended(Option<Time>),
    Undone(Mistake),
}

impl MistakeBody {
    pub(in crate::api) fn mistake(self) -> Result<Mistake, Problem> {
        mistake(self.mistake, self.reason)
    }
}

impl JobMistakeBody {
    /// The mistake, and whether only to report.
    pub(in crate::api) fn mistake(self) -> Result<(Mistake, bool), Problem> {
        let dry_run = self.dry_run.unwrap_or(false);
        Ok((mistake(self.mistake, self.reason)?, dry_run))
    }
}

impl EndExclusionBody {
    pub(in crate::api) fn end(self) -> Result<ExclusionEnd, Problem> {
        match (self.mistake.unwrap_or(false), self.at, self.reason) {
            (true, Some(_), _) => Err(wrong("at", "a mistake is undone at once; leave it out")),
            (true, None, reason) => mistake(Some(true), reason).map(ExclusionEnd::Undone),
            (false, _, Some(_)) => Err(wrong("reason", "is only for a `mistake`; leave it out")),
            (false, at, None) => Ok(ExclusionEnd::Ended(at.map(|at| at.0))),
        }
    }
}

fn mistake(mistake: Option<bool>, reason: Option<String>) -> Result<Mistake, Problem> {
    if mistake != Some(true) {
        return Err(wrong("mistake", "must be true: only a mistake is undone"));
    }
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    let reason = reason.ok_or_else(|| wrong("reason", "must say why this was a mistake"))?;
    Ok(Mistake { reason })
}
