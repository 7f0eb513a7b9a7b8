//! What undoing an import did, as JSON: printed by `--json`, and the answer of the API.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::import::UndoneImport;
use super::plan::{RowsToUndo, UndoPlan};
use super::still_blocked::StillBlocked;
use crate::authority::import::{Amount, ImportOutstanding};
use crate::domain::NumberRange;
use crate::domain::clock::rfc3339;
use crate::domain::inventory::InventoryRow;
use crate::domain::inventory::row_change::Undoable;

/// How many ranges of each kind are listed.
const RANGES_LISTED: usize = 100;

/// How many rows undoing an import changes, and the first of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UndoneAmounts {
    /// Rows that the import had ended.
    pub restored: Amount,
    /// Rows that it had added.
    pub removed: Amount,
    /// Rows that have ended otherwise since, and stay as they are.
    pub left: u64,
    pub ranges_restored: Vec<NumberRange>,
    pub ranges_removed: Vec<NumberRange>,
}

impl UndoneAmounts {
    pub(super) fn of(plan: &UndoPlan) -> Self {
        let mut amounts = Self {
            left: plan.left,
            ..Self::default()
        };
        amounts.add(&plan.allocations);
        amounts.add(&plan.delegations);
        amounts.add(&plan.exclusions);
        amounts
    }

    fn add<R: Undoable>(&mut self, rows: &RowsToUndo<R>) {
        let restored = rows.restore.iter().map(|(_, next)| next.numbers());
        let removed = rows.remove.iter().map(InventoryRow::numbers);
        for (ranges, amount, listed) in [
            (
                restored.collect::<Vec<_>>(),
                &mut self.restored,
                &mut self.ranges_restored,
            ),
            (
                removed.collect(),
                &mut self.removed,
                &mut self.ranges_removed,
            ),
        ] {
            for numbers in ranges {
                amount.ranges += 1;
                amount.numbers += numbers.count();
                if listed.len() < RANGES_LISTED {
                    listed.push(numbers);
                }
            }
        }
    }
}

/// What undoing an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UndoResult {
    job: Uuid,
    dry_run: bool,
    /// When it was undone; null in a dry run.
    #[schema(value_type = Option<String>, format = DateTime)]
    undone_at: Option<String>,
    counts: UndoCounts,
    difference: UndoDifference,
    restored_delegations: UndoDelegations,
    still_blocked: UndoBlocked,
    outstanding_grants: ImportOutstanding,
}

/// Counts of rows, and of their telephone numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct UndoCounts {
    /// Rows that the import had ended, and that are valid as before.
    restored: u64,
    restored_numbers: u64,
    /// Rows that the import had added. Their newest version is superseded, without another one.
    removed: u64,
    removed_numbers: u64,
    /// Rows that have ended otherwise since, and stay as they are.
    left: u64,
}

/// The first ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct UndoDifference {
    #[schema(schema_with = crate::authority::import::ranges)]
    restored: Vec<NumberRange>,
    #[schema(schema_with = crate::authority::import::ranges)]
    removed: Vec<NumberRange>,
    /// Whether there are more than listed here.
    more: bool,
}

/// The delegations that count again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct UndoDelegations {
    count: u64,
    /// The first of them.
    ids: Vec<Uuid>,
}

/// What still keeps numbers from getting tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct UndoBlocked {
    /// The first of the delegations that the import had ended, and that something else has ended
    /// too; `ended_for` in `GET /v1/delegations/{id}` says what.
    delegations: Vec<Uuid>,
    /// The first of the other exclusions of numbers that the import had excluded.
    exclusions: Vec<Uuid>,
    /// Whether there are more than listed here.
    more: bool,
}

impl From<&StillBlocked> for UndoBlocked {
    fn from(blocked: &StillBlocked) -> Self {
        let delegations = blocked.delegations.delegations.iter();
        Self {
            delegations: delegations.map(|ended| ended.row.row.id).collect(),
            exclusions: blocked.exclusions.iter().map(|row| row.row.id).collect(),
            more: blocked.delegations.more || blocked.more_exclusions,
        }
    }
}

impl From<&UndoneImport> for UndoResult {
    fn from(undone: &UndoneImport) -> Self {
        let amounts = &undone.amounts;
        let (restored, removed) = (amounts.restored, amounts.removed);
        let listed = amounts.ranges_restored.len() + amounts.ranges_removed.len();
        Self {
            job: undone.job.id,
            dry_run: undone.dry_run,
            undone_at: undone.job.undone.as_ref().map(|undone| rfc3339(&undone.at)),
            counts: UndoCounts {
                restored: restored.ranges,
                restored_numbers: restored.numbers,
                removed: removed.ranges,
                removed_numbers: removed.numbers,
                left: amounts.left,
            },
            difference: UndoDifference {
                restored: amounts.ranges_restored.clone(),
                removed: amounts.ranges_removed.clone(),
                more: (listed as u64) < restored.ranges + removed.ranges,
            },
            restored_delegations: UndoDelegations {
                count: undone.delegations.count,
                ids: undone
                    .delegations
                    .rows
                    .iter()
                    .map(|row| row.row.id)
                    .collect(),
            },
            still_blocked: (&undone.blocked).into(),
            outstanding_grants: (&undone.outstanding).into(),
        }
    }
}
