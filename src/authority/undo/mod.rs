//! Undoing mistakes: a port-out of the wrong number, a disconnect, a return, a table that lacked a
//! line. What the change ended counts again exactly as before, and what it added never held.
//!
//! Rows are not edited here either: each gets one more version. Withdrawn grants stay withdrawn,
//! since subscribers have been notified; a new token takes one request.

mod conflicts;
mod exclusion;
mod import;
mod otherwise;
mod plan;
mod report;
mod returned;
mod still_blocked;
mod write;

pub use import::UndoneImport;
pub(super) use otherwise::ended_anyway;
pub use report::{UndoResult, UndoneAmounts};
pub use still_blocked::StillBlocked;
pub(super) use still_blocked::of_numbers as exclusions_of;

use uuid::Uuid;

use super::ChangeError;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::row_change::{ChangedVersions, RowChange, RowKind};
use crate::domain::inventory::withdrawal::{
    ALLOCATION_RETURNED, AuthorityEnd, DELEGATION_ENDED, EndingRow,
};
use crate::domain::inventory::{Allocation, Delegation};
use crate::store::{Loss, StoreError, Tx};
use plan::UndoPlan;

/// How many restored delegations an answer lists.
const DELEGATIONS_LISTED: usize = 100;

/// Why something is undone, as the caller says it. It is kept in the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub reason: String,
}

/// A row that was restored or undone, and the delegations that count again because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored<T> {
    pub row: T,
    pub delegations: RestoredDelegations,
    pub blocked: StillBlocked,
}

/// Delegations that count again for numbers for which they had ended. An exclusion, or the end of a
/// delegation above, can still block them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoredDelegations {
    /// The first of them.
    pub rows: Vec<Delegation>,
    pub count: u64,
}

impl RestoredDelegations {
    /// Whether there are more than listed.
    #[must_use]
    pub const fn more(&self) -> bool {
        self.count > self.rows.len() as u64
    }
}

/// Everything that undoing a change does. Nothing is written yet, and nothing conflicts with it.
#[derive(Debug)]
struct Undoing {
    plan: UndoPlan,
    /// The departures that are lifted.
    lifted: Vec<Uuid>,
    /// Delegations that count again.
    again: Vec<Delegation>,
    blocked: StillBlocked,
    /// Numbers of removed allocations that the carrier no longer holds.
    lost: Vec<(NumberRange, Allocation)>,
}

/// Plans to undo `changes`, which `cause` made, and checks that nothing has happened since that
/// conflicts with it. Reads only.
fn prepare(
    tx: &mut Tx<'_>,
    cause: Uuid,
    changes: &[RowChange],
    now: Time,
) -> Result<Undoing, ChangeError> {
    let plan = plan::plan(tx, cause, changes, now)?;
    let lifted = lifted_departures(tx, changes, &plan)?;
    let lost = conflicts::lost(&plan, now);
    conflicts::must_be_free(tx, &plan, now)?;
    conflicts::must_be_unused(tx, &lost, now)?;
    let released = conflicts::released(tx, &plan, &lifted, now)?;
    let (exclusions, more_exclusions) = still_blocked::other_exclusions(tx, &plan, &lifted, now)?;
    Ok(Undoing {
        blocked: StillBlocked {
            delegations: released.still_ended,
            exclusions,
            more_exclusions,
        },
        again: released.again,
        lost: lost.into_iter().map(|(n, row)| (n, row.clone())).collect(),
        lifted: lifted.iter().map(|departure| departure.id).collect(),
        plan,
    })
}

/// Refuses to call off `departures` if a delegation that counts again would overlap another one
/// beside it.
pub(super) fn must_not_conflict(
    tx: &mut Tx<'_>,
    departures: &[Departure],
    now: Time,
) -> Result<(), ChangeError> {
    conflicts::released(tx, &UndoPlan::default(), departures, now).map(drop)
}

/// The departures that never were: those of removed rows, and of the ends of restored allocations.
/// What such an allocation ended when it was acquired stays ended.
fn lifted_departures(
    tx: &mut Tx<'_>,
    changes: &[RowChange],
    plan: &UndoPlan,
) -> Result<Vec<Departure>, StoreError> {
    // Also of an exclusion that was ended in the second in which it began: it is cancelled, but the
    // numbers had left.
    let exclusions = changes.iter().filter(|change| {
        change.kind == RowKind::Exclusion && matches!(change.versions, ChangedVersions::Added(_))
    });
    let exclusions = exclusions.map(|change| change.row);
    let allocations = plan.allocations.remove.iter().map(|row| row.row.id);
    let mut lifted = tx.departures_of(&exclusions.chain(allocations).collect::<Vec<_>>())?;
    let restored = plan.allocations.restore.iter().map(|(row, _)| row.row.id);
    let ends = tx.departures_of(&restored.collect::<Vec<_>>())?;
    let returned = |departure: &Departure| departure.kind == DepartureKind::Returned;
    lifted.extend(ends.into_iter().filter(returned));
    Ok(lifted)
}

impl Undoing {
    /// Whether no row changes, and no departure is lifted.
    const fn changes_nothing(&self) -> bool {
        self.plan.allocations.is_empty()
            && self.plan.delegations.is_empty()
            && self.plan.exclusions.is_empty()
            && self.lifted.is_empty()
    }

    /// The delegations that count again.
    fn delegations(&self) -> RestoredDelegations {
        let listed = self.again.iter().take(DELEGATIONS_LISTED);
        RestoredDelegations {
            count: self.again.len() as u64,
            rows: listed.cloned().collect(),
        }
    }

    /// Which numbers lose authority: those that were added, and those that are excluded again.
    fn losses(&self, now: Time) -> Vec<Loss> {
        let loss = |numbers, from: Time, reason: &str, cause| Loss {
            of: None,
            numbers: Some(numbers),
            ended: AuthorityEnd {
                at: from.max(now),
                reason: reason.to_owned(),
                cause: Some(cause),
            },
        };
        let allocations = self.lost.iter().map(|(numbers, row)| {
            let cause = EndingRow::Allocation(row.row.id);
            loss(*numbers, row.window.from(), ALLOCATION_RETURNED, cause)
        });
        let delegations = self.plan.delegations.remove.iter().map(|row| {
            let cause = EndingRow::Delegation(row.row.id);
            loss(row.numbers, row.window.from(), DELEGATION_ENDED, cause)
        });
        let exclusions = self.plan.exclusions.restore.iter().map(|(_, next)| {
            let cause = EndingRow::Exclusion(next.row.id);
            loss(
                next.numbers,
                next.window.from(),
                next.reason.as_str(),
                cause,
            )
        });
        allocations.chain(delegations).chain(exclusions).collect()
    }
}
