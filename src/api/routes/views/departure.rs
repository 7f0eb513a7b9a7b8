//! Views of departures, and of the delegations that they end.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::RangeView;
use crate::api::http::time::Instant;
use crate::authority::{EndedDelegation, EndedPart};
use crate::domain::inventory::departure::Departure;

/// Numbers that left the carrier, or came to it anew. Delegations that were made before have ended
/// for them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Departure)]
pub(in crate::api) struct DepartureView {
    id: Uuid,
    /// ported-out, aging, returned or acquired
    #[schema(example = "ported-out")]
    reason: &'static str,
    /// The row that caused it: exclusion:ID or allocation:ID.
    #[schema(example = "exclusion:0197f2a0-0000-7000-8000-000000000001")]
    cause: String,
    #[serde(flatten)]
    numbers: RangeView,
    /// When the numbers leave.
    at: Instant,
    recorded_at: Instant,
    /// When it was called off or undone; null if it counts.
    superseded_at: Option<Instant>,
}

impl From<Departure> for DepartureView {
    fn from(row: Departure) -> Self {
        Self {
            id: row.id,
            reason: row.kind.as_str(),
            cause: row.caused_by().to_string(),
            numbers: row.numbers.into(),
            at: row.at.into(),
            recorded_at: row.belief.recorded_at.into(),
            superseded_at: row.belief.superseded_at.map(Instant),
        }
    }
}

/// Numbers for which a delegation ended early, or will, because they leave. They have to be
/// delegated anew when they are back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedFor)]
pub(in crate::api) struct EndedForView {
    #[serde(flatten)]
    numbers: RangeView,
    at: Instant,
    /// ported-out, aging, returned or acquired
    #[schema(example = "ported-out")]
    reason: &'static str,
    /// The row that caused it: exclusion:ID or allocation:ID.
    #[schema(example = "exclusion:0197f2a0-0000-7000-8000-000000000001")]
    cause: String,
}

impl From<EndedPart> for EndedForView {
    fn from(part: EndedPart) -> Self {
        Self {
            numbers: part.numbers.into(),
            at: part.at.into(),
            reason: part.kind.as_str(),
            cause: part.cause.to_string(),
        }
    }
}

/// A delegation that ends because numbers leave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedDelegation)]
pub(in crate::api) struct EndedDelegationView {
    id: Uuid,
    #[schema(example = "acme")]
    account: String,
    /// Whether all of it ends; else the rest continues, with the same id.
    whole: bool,
    /// The numbers for which it ends; at most 100 ranges.
    ended_for: Vec<EndedForView>,
    /// Whether there are more ranges than listed here.
    more: bool,
}

impl From<EndedDelegation> for EndedDelegationView {
    fn from(ended: EndedDelegation) -> Self {
        Self {
            id: ended.row.row.id,
            account: ended.row.account.to_string(),
            whole: ended.whole,
            ended_for: ended
                .ended_for
                .into_iter()
                .map(EndedForView::from)
                .collect(),
            more: ended.more,
        }
    }
}
