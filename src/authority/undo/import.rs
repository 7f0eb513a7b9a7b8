//! An import that was a mistake, such as a table that lacked a line: it is undone as a whole.

use serde_json::json;
use uuid::Uuid;

use super::report::UndoneAmounts;
use super::{Mistake, RestoredDelegations, StillBlocked, Undoing, prepare, write};
use crate::authority::audited::event_by;
use crate::authority::import::{OutstandingTokens, exposure};
use crate::authority::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::clock::Time;
use crate::domain::jobs::{Job, JobState, UndoneJob};
use crate::domain::{AuditAction, Caller};
use crate::store::Tx;

/// The most rows that are restored or removed in one transaction.
const MAX_ROWS: usize = 500_000;

/// What undoing an import did, or would do.
#[derive(Debug, Clone, PartialEq)]
pub struct UndoneImport {
    pub job: Job,
    pub dry_run: bool,
    pub amounts: UndoneAmounts,
    pub delegations: RestoredDelegations,
    pub blocked: StillBlocked,
    /// Tokens for what the import had added.
    pub outstanding: OutstandingTokens,
}

impl Authority {
    /// Undoes an import: every row that it changed is as before, or nothing changes. Grants for
    /// what it had added are withdrawn; those that it withdrew stay withdrawn.
    ///
    /// # Errors
    /// If it did not change anything, was undone before, or something has happened since that
    /// conflicts with it.
    pub async fn undo_import(
        &self,
        by: impl Into<ChangeRequester<'_, UndoneImport>>,
        job: Uuid,
        mistake: Mistake,
    ) -> Result<UndoneImport, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::UndoImport);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let (mut known, undoing) = undoing(tx, job, now)?;
            write::apply(tx, &event, job, &undoing, now)?;
            let losses = undoing.losses(now);
            let exposed = exposure::find(tx, &losses)?;
            let withdrawn = exposure::withdraw(tx, losses, &exposed, now)?;
            let undone = UndoneJob {
                at: now,
                by: event.caller().id.clone(),
                reason: mistake.reason.clone(),
            };
            if !tx.set_job_undone(job, &undone)? {
                return Err(ChangeError::AlreadyUndone("import"));
            }
            known.undone = Some(undone);
            let outstanding = exposure::listed(tx, &exposed)?;
            let done = UndoneImport {
                outstanding: OutstandingTokens {
                    withdrawn,
                    ..outstanding
                },
                ..would_be(known, &undoing)
            };
            let detail = json!({
                "mistake": true, "reason": mistake.reason,
                "restored": done.amounts.restored.ranges, "removed": done.amounts.removed.ranges,
                "left": done.amounts.left, "restored_delegations": done.delegations.count,
                "outstanding_grants": done.outstanding.count, "withdrawn": withdrawn,
            });
            tx.record(&event.done(&job, detail))?;
            Ok(UndoneImport {
                dry_run: false,
                ..done
            })
        };
        self.change_by(by, recorded, job, work).await
    }

    /// What [`Authority::undo_import`] would do. Blocks.
    ///
    /// # Errors
    /// As for [`Authority::undo_import`].
    pub fn try_undo_import(&self, caller: &Caller, job: Uuid) -> Result<UndoneImport, ChangeError> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        self.store.read_at_length(|tx| {
            let (known, undoing) = undoing(tx, job, now)?;
            let exposed = exposure::find(tx, &undoing.losses(now))?;
            Ok(UndoneImport {
                outstanding: exposure::listed(tx, &exposed)?,
                ..would_be(known, &undoing)
            })
        })
    }
}

/// The job, and what undoing it does.
fn undoing(tx: &mut Tx<'_>, job: Uuid, now: Time) -> Result<(Job, Undoing), ChangeError> {
    let known = tx.job(job)?.ok_or(ChangeError::NotFound("job"))?;
    if known.undone.is_some() {
        return Err(ChangeError::AlreadyUndone("import"));
    }
    let is_done = match known.state {
        JobState::Done => !known.dry_run,
        JobState::Queued | JobState::Running => {
            return Err(ChangeError::NotUndoable("the import has not finished"));
        }
        JobState::Failed | JobState::Lost => false,
    };
    if !is_done || known.changed_rows == Some(0) {
        return Err(ChangeError::NotUndoable("the import changed nothing"));
    }
    if known
        .changed_rows
        .is_some_and(|rows| rows > MAX_ROWS as u64)
    {
        return Err(ChangeError::NotUndoable(
            "the import changed more than 500,000 rows; import a table that ends them",
        ));
    }
    let mut changes = tx.row_changes_of(job)?;
    changes.extend(tx.rows_of_staged_import(job, MAX_ROWS)?);
    if known.changed_rows != Some(changes.len() as u64) {
        return Err(ChangeError::NotUndoable(
            "the import was made before this version recorded what an import changes; import a corrected table",
        ));
    }
    let undoing = prepare(tx, job, &changes, now)?;
    Ok((known, undoing))
}

fn would_be(job: Job, undoing: &Undoing) -> UndoneImport {
    UndoneImport {
        job,
        dry_run: true,
        amounts: UndoneAmounts::of(&undoing.plan),
        delegations: undoing.delegations(),
        blocked: undoing.blocked.clone(),
        outstanding: OutstandingTokens::default(),
    }
}
