//! Importing what the carrier keeps out of a table: all of it or nothing, and as often as one likes.
//!
//! A table is read by [`crate::tables`] into what it says, which is then held against what is known, in one transaction
//! ([`Authority::import`](crate::authority::Authority::import)). The difference is what happens; a dry run only shows it.
//!
//! # Who speaks for what
//! Authority ends only where a table says so.
//!
//! | format | speaks for |
//! |---|---|
//! | `nanp-blocks` | the NPAs that it has a line of |
//! | `nanpa-thousands` | the codes (NPA-NXX) that it has a line of |
//! | `nanpa-codes` | the NPAs that it has a line of, but for the codes that are pooled |
//! | `arcep-majnum` | +33, and each overseas country code that it has a line of |
//! | `allocations`, `delegations`, `exclusions` | the very rows that they name |
//!
//! What an SPC holds as `block` or `code` inside of that, and the table does not give to the OCNs of the import, ends. So
//! one import has to name all OCNs whose numbers the SPC holds. Ported-in and toll-free numbers never end by a table. What
//! is held outside of what the table speaks for stays, and is counted.
//!
//! A table is a set of numbers, whatever its ranges: where the same numbers are only cut differently, nothing happens.
//! Where a known range keeps some of its numbers, it ends and the kept part starts at the same instant.

mod block_diff;
mod checks;
mod error;
mod exposure;
pub mod jobs;
mod outcome;
mod report;
mod row_diff;
mod write;

pub use error::ImportError;
pub use outcome::{Amount, Difference, Imported, OutstandingTokens};
pub use report::{ImportResult, RefusedResult};

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeError, StoreError};
use crate::domain::clock::Time;
use crate::domain::{Caller, Spc};
use crate::store::Tx;
use crate::tables::{Format, ParsedTable, TableContent, TableSummary};
use crate::telemetry::ImportOutcome;
use write::ImportChange;

/// One part of a share in a million.
const MILLION: u128 = 1_000_000;

/// What whoever imports agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// The difference is right, also if much ends.
    pub confirm: bool,
    /// The share of the numbers of a service provider code that may end without that, in parts of a million.
    pub max_ended_ppm: u32,
}

impl Authority {
    /// Makes what is known what the table says. With `job`, that job is done in the same transaction. Blocks in a dry run,
    /// which only reads.
    ///
    /// # Errors
    /// [`ImportError`] if anything of it cannot be done; then nothing of it stays. In a dry run lines that are refused are
    /// told, and no error.
    pub async fn import(
        &self,
        caller: &Caller,
        draft: ParsedTable,
        consent: ImportOptions,
        job: Option<Uuid>,
    ) -> Result<Imported, ImportError> {
        let format = draft.told.format;
        let outcome = self.difference(caller, draft, consent, job).await;
        let told = match &outcome {
            Ok(_) if consent.dry_run => ImportOutcome::DryRun,
            Ok(imported) if imported.changes_nothing() => ImportOutcome::Unchanged,
            Ok(_) => ImportOutcome::Done,
            Err(ImportError::Refused(ChangeError::Store(StoreError::ProofEnded))) => {
                ImportOutcome::Refused
            }
            Err(ImportError::Refused(ChangeError::Store(_))) => ImportOutcome::Failed,
            Err(_) => ImportOutcome::Refused,
        };
        let now = self.clock.now().timestamp();
        self.metrics.import(format, told, now);
        outcome
    }

    async fn difference(
        &self,
        caller: &Caller,
        draft: ParsedTable,
        consent: ImportOptions,
        job: Option<Uuid>,
    ) -> Result<Imported, ImportError> {
        self.require(caller, Action::Provision)?;
        for spc in codes(&draft.says) {
            self.must_hold(spc)?;
        }
        if !consent.dry_run && draft.told.refused.count > 0 {
            return Err(ImportError::Lines(draft.told.refused));
        }
        let now = self.clock.now();
        if consent.dry_run {
            return self.store.read(|tx| {
                let mut told = draft.told.clone();
                let change = write::difference(tx, &draft.says, now, &mut told)?;
                summary(tx, &change, told, true, now)
            });
        }
        let event = event_by(caller, now, "import");
        let subject = subject(&draft);
        let (draft, about, done) = (Arc::new(draft), subject.clone(), event.clone());
        let work = move |tx: &mut Tx<'_>| {
            let mut told = draft.told.clone();
            let change = write::difference(tx, &draft.says, now, &mut told)?;
            if told.refused.count > 0 {
                return Err(ImportError::Lines(told.refused));
            }
            may_end(tx, &change, &told, consent, now)?;
            write::apply(tx, &done, &change, now)?;
            let imported = summary(tx, &change, told, false, now)?;
            if !imported.changes_nothing() {
                tx.record(&done.done(&about, detail(&imported, consent)))?;
            }
            if let Some(job) = job {
                jobs::finish(tx, job, &imported, now)?;
            }
            Ok(imported)
        };
        match job {
            // What becomes of a job is recorded with the job.
            Some(_) => {
                let actor = self.actor(caller);
                self.store.change(actor, "import", work).await
            }
            None => self.change(event, subject, work).await,
        }
    }
}

/// Refuses a table that would end more than it may without a second look.
fn may_end(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    told: &TableSummary,
    consent: ImportOptions,
    now: Time,
) -> Result<(), ImportError> {
    if consent.confirm {
        return Ok(());
    }
    let ending = change.numbers_ending().iter();
    for (spc, ending) in ending.map(|(spc, ending)| (spc.clone(), *ending)) {
        if ending == 0 {
            continue;
        }
        if !told.ends_with_a_line && told.speaks_for_others() {
            return Err(ImportError::MayBeCut { ending });
        }
        let held = tx.numbers_held(&spc, now)?;
        if u128::from(ending) * MILLION > u128::from(held) * u128::from(consent.max_ended_ppm) {
            return Err(ImportError::EndsTooMuch { spc, ending, held });
        }
    }
    Ok(())
}

impl TableSummary {
    /// Whether what the table does not name may end.
    fn speaks_for_others(&self) -> bool {
        self.format
            .parse::<Format>()
            .is_ok_and(Format::lists_everybody)
    }
}

fn codes(says: &TableContent) -> Vec<&Spc> {
    match says {
        TableContent::Holdings { spc, .. } => vec![spc],
        TableContent::Allocations(rows) => {
            let mut codes: Vec<&Spc> = rows.iter().map(|row| &row.of.spc).collect();
            codes.sort_unstable();
            codes.dedup();
            codes
        }
        TableContent::Delegations(_) | TableContent::Exclusions(_) => Vec::new(),
    }
}

/// What the event is about: the service provider code of a table, else the format.
fn subject(draft: &ParsedTable) -> String {
    match &draft.says {
        TableContent::Holdings { spc, .. } => spc.to_string(),
        TableContent::Allocations(_)
        | TableContent::Delegations(_)
        | TableContent::Exclusions(_) => draft.told.format.to_owned(),
    }
}

/// What was done, or would be. What was done takes back the grants that it touches.
fn summary(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    told: TableSummary,
    dry_run: bool,
    now: Time,
) -> Result<Imported, ImportError> {
    let losses = change.losses(now);
    let touched = exposure::touched(tx, &losses)?;
    let withdrawn = if dry_run {
        0
    } else {
        exposure::withdraw_for(tx, losses, &touched, now)?
    };
    Ok(Imported {
        told,
        dry_run,
        outstanding: OutstandingTokens {
            withdrawn,
            ..exposure::listed(tx, &touched)?
        },
        ..change.amounts()
    })
}

fn detail(imported: &Imported, consent: ImportOptions) -> serde_json::Value {
    json!({
        "format": imported.told.format, "sha256": imported.told.sha256, "lines": imported.told.lines,
        "added": imported.added.ranges, "added_numbers": imported.added.numbers,
        "ended": imported.ended.ranges, "ended_numbers": imported.ended.numbers,
        "unchanged": imported.unchanged.ranges, "confirm": consent.confirm,
        "outstanding_grants": imported.outstanding.count, "withdrawn": imported.outstanding.withdrawn,
    })
}
