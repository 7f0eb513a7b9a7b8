//! Imports a number table into the inventory: all of it or nothing. Importing a table again changes
//! nothing.
//!
//! [`crate::tables`] parses the table. One transaction compares it with the database and applies
//! the difference ([`Authority::import`](crate::authority::Authority::import)); a dry run only
//! shows it.
//!
//! # Scope
//! A table only ends authority within its scope, which depends on its format:
//!
//! | format | scope |
//! |---|---|
//! | `nanp-blocks` | the NPAs that it lists |
//! | `nanpa-thousands` | the codes (NPA-NXX) that it lists |
//! | `nanpa-codes` | the NPAs that it lists, except for pooled codes |
//! | `arcep-majnum` | +33, and each overseas country code that it lists |
//! | `allocations`, `delegations`, `exclusions` | exactly the rows that they name |
//!
//! Numbers in the scope that the SPC holds as `block` or `code` end, unless the table assigns them
//! to an OCN of the import. One import therefore has to name all OCNs whose numbers the SPC holds.
//! A table never ends ported-in or toll-free numbers. Numbers outside the scope stay as they are,
//! and are counted.
//!
//! Tables are compared as sets of numbers. If the same numbers are only split into other ranges,
//! nothing changes. If an existing range keeps some of its numbers, it ends, and a new row for the
//! kept part starts at the same instant.

mod block_diff;
mod checks;
mod delegation_diff;
mod difference;
mod error;
pub(super) mod exposure;
mod finished;
mod job_heartbeats;
pub mod jobs;
mod leaving;
mod outcome;
mod report;
mod row_diff;
mod runner;
mod staged;
mod write;

pub use error::ImportError;
pub use outcome::{Amount, Difference, Imported, OutstandingTokens};
pub(super) use report::ranges;
pub use report::{ImportOutstanding, ImportResult, RefusedResult};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;
use uuid::Uuid;

use crate::authority::audited::event_by;
use crate::authority::departures;
use crate::authority::{Action, Authority, ChangeError, StoreError};
use crate::domain::clock::Time;
use crate::domain::jobs::Job;
use crate::domain::{AuditAction, Caller, Event, Spc, new_id};
use crate::store::Tx;
use crate::tables::{Format, ParsedTable, TableContent, TableError, TableSummary};
use crate::telemetry::ImportOutcome;
use difference::ImportChange;

/// `max_ended_ppm` is a fraction of this.
const MILLION: u128 = 1_000_000;

/// What the caller of an import wants and accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportOptions {
    /// Only report what would change.
    pub dry_run: bool,
    /// Import however many numbers end.
    pub confirm: bool,
    /// Exclude numbers although the carrier holds none of a line's.
    pub force: bool,
    /// How many of the numbers of a service provider code may end without `confirm`, in parts per
    /// million.
    pub max_ended_ppm: u32,
}

impl ImportOptions {
    /// Checks that the format takes these options, so that `force` is not mistaken for `confirm`.
    ///
    /// # Errors
    /// [`TableError::Unwanted`] if it does not.
    pub fn check(self, format: Format) -> Result<(), TableError> {
        if self.force && format != Format::Exclusions {
            let (format, what) = (format.as_str(), "`force`, which is for exclusions");
            return Err(TableError::Unwanted { format, what });
        }
        Ok(())
    }
}

impl Authority {
    /// Imports a table. With `job`, that job is marked as done in the same transaction. A dry run
    /// blocks the thread while it reads.
    ///
    /// # Errors
    /// [`ImportError`] if any part cannot be imported; then nothing is. In a dry run, refused lines
    /// are part of the result and no error.
    pub async fn import(
        &self,
        caller: &Caller,
        table: ParsedTable,
        options: ImportOptions,
        job: Option<&RunningJob>,
    ) -> Result<Imported, ImportError> {
        let format = table.summary.format;
        let result = self.import_table(caller, table, options, job).await;
        let outcome = match &result {
            Ok(_) if options.dry_run => ImportOutcome::DryRun,
            Ok(imported) if imported.changes_nothing() => ImportOutcome::Unchanged,
            Ok(_) => ImportOutcome::Done,
            Err(ImportError::Refused(ChangeError::Store(StoreError::ProofEnded))) => {
                ImportOutcome::Refused
            }
            Err(ImportError::Refused(ChangeError::Store(_))) => ImportOutcome::Failed,
            Err(_) => ImportOutcome::Refused,
        };
        let now = self.clock.now().timestamp();
        self.metrics.import(format, outcome, now);
        result
    }

    async fn import_table(
        &self,
        caller: &Caller,
        table: ParsedTable,
        options: ImportOptions,
        job: Option<&RunningJob>,
    ) -> Result<Imported, ImportError> {
        self.require(caller, Action::Provision)?;
        for spc in codes(&table.content) {
            self.must_hold(spc)?;
        }
        if let TableContent::ManyDelegations(lines) = &table.content {
            let table = (lines, table.summary);
            return self.import_many(caller, table, options, job).await;
        }
        let now = self.clock.now();
        if !options.dry_run && table.summary.refused.count > 0 {
            return Err(self.all_refused(table, options, now));
        }
        if options.dry_run {
            return self.store.read_at_length(|tx| {
                let mut summary = table.summary.clone();
                let change =
                    difference::compare(tx, &table.content, options.force, now, &mut summary)?;
                let leaving = leaving::of(tx, &change, now)?;
                // As if recorded now, after every delegation.
                let planned = departures::planned(&leaving, i64::MAX, now);
                let ended = departures::ended_by(tx, &planned)?;
                let imported = outcome_of(tx, &change, summary, true, now)?;
                Ok(imported.with_ended_delegations(ended))
            });
        }
        let event = event_by(caller, now, AuditAction::Import);
        let subject = subject(&table);
        // Shared, since the transaction may run twice and a table may have half a million lines.
        let (table, about) = (Arc::new(table), subject.clone());
        let run = ImportRun {
            id: job.map_or_else(|| new_id(now), |job| job.id),
            is_job: job.is_some(),
            event: event.clone(),
            about,
            spc: codes(&table.content).first().map(|spc| (*spc).clone()),
            options,
            now,
        };
        let work = move |tx: &mut Tx<'_>| {
            if matches!(table.content, TableContent::Delegations(_)) {
                staged::must_be_alone(tx, now)?;
            }
            let mut summary = table.summary.clone();
            let change = difference::compare(tx, &table.content, options.force, now, &mut summary)?;
            if summary.refused.count > 0 {
                return Err(ImportError::Lines(summary.refused));
            }
            must_not_end_too_much(tx, &change, &summary, options, now)?;
            let leaving = leaving::of(tx, &change, now)?;
            let (changes, ended) = write::apply(tx, &run.event, &change, &leaving, now)?;
            tx.insert_row_changes(run.id, &changes)?;
            let imported = outcome_of(tx, &change, summary, false, now)?;
            let imported = imported.with_ended_delegations(ended);
            conclude(tx, &run, imported, changes.len() as u64)
        };
        match job {
            // The runner records the failure of a job, together with the job's row.
            Some(_) => {
                let actor = self.actor(caller);
                self.store.change(actor, "import", work).await
            }
            None => self.change(event, subject, work).await,
        }
    }
}

/// A job whose import runs.
#[derive(Debug)]
pub struct RunningJob {
    id: Uuid,
    runner: Uuid,
    stopping: Arc<AtomicBool>,
}

impl RunningJob {
    /// `runner` is the process that runs it; `stopping` is set when that process stops.
    #[must_use]
    pub const fn new(id: Uuid, runner: Uuid, stopping: Arc<AtomicBool>) -> Self {
        Self {
            id,
            runner,
            stopping,
        }
    }
}

/// What is recorded of an import, apart from its outcome.
struct ImportRun {
    /// Of its job.
    id: Uuid,
    /// Whether the job is in the database already.
    is_job: bool,
    event: Event,
    /// The subject of the event.
    about: String,
    spc: Option<Spc>,
    options: ImportOptions,
    now: Time,
}

/// Records an import, in the transaction in which it takes effect: its event, and its job.
fn conclude(
    tx: &mut Tx<'_>,
    run: &ImportRun,
    mut imported: Imported,
    changed_rows: u64,
) -> Result<Imported, ImportError> {
    imported.job = (changed_rows > 0).then_some(run.id);
    if !imported.changes_nothing() {
        let detail = detail(&imported, run.options);
        tx.record(&run.event.done(&run.about, detail))?;
    }
    if run.is_job {
        runner::finish(tx, run.id, &imported, run.now)?;
        tx.set_job_changes(run.id, changed_rows)?;
    } else if changed_rows > 0 {
        // So that every import is listed, and can be undone.
        let (caller, of) = (run.event.caller(), (run.id, run.spc.clone()));
        let ran = finished::job(caller, of, &imported, run.options, run.now);
        tx.insert_job(&Job {
            changed_rows: Some(changed_rows),
            ..ran
        })?;
    }
    Ok(imported)
}

impl Authority {
    /// All refused lines of a table some of whose lines cannot be parsed: with those that do not
    /// fit the database, so that they can be fixed together.
    fn all_refused(&self, table: ParsedTable, options: ImportOptions, now: Time) -> ImportError {
        let mut summary = table.summary.clone();
        let compared = self.store.read_at_length(|tx| {
            difference::compare(tx, &table.content, options.force, now, &mut summary).map(|_| ())
        });
        ImportError::Lines(match compared {
            Ok(()) => summary.refused,
            // Another fault cannot be more urgent than lines that nobody can read.
            Err(_) => table.summary.refused,
        })
    }
}

/// Refuses a table that would end more than is allowed without confirmation: most likely it is
/// truncated, or an OCN is missing.
fn must_not_end_too_much(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    summary: &TableSummary,
    options: ImportOptions,
    now: Time,
) -> Result<(), ImportError> {
    if options.confirm {
        return Ok(());
    }
    let ending = change.numbers_ending().iter();
    for (spc, ending) in ending.map(|(spc, ending)| (spc.clone(), *ending)) {
        if ending == 0 {
            continue;
        }
        if !summary.ends_with_a_line && summary.may_end_unnamed_numbers() {
            return Err(ImportError::MayBeCut { ending });
        }
        let held = tx.numbers_held(&spc, now)?;
        if u128::from(ending) * MILLION > u128::from(held) * u128::from(options.max_ended_ppm) {
            return Err(ImportError::EndsTooMuch { spc, ending, held });
        }
    }
    Ok(())
}

impl TableSummary {
    /// Whether numbers can end because the table does not name them.
    fn may_end_unnamed_numbers(&self) -> bool {
        self.format
            .parse::<Format>()
            .is_ok_and(Format::lists_everybody)
    }
}

fn codes(content: &TableContent) -> Vec<&Spc> {
    match content {
        TableContent::Holdings { spc, .. } => vec![spc],
        TableContent::Allocations(rows) => {
            let mut codes: Vec<&Spc> = rows.iter().map(|row| &row.of.spc).collect();
            codes.sort_unstable();
            codes.dedup();
            codes
        }
        TableContent::Delegations(_)
        | TableContent::ManyDelegations(_)
        | TableContent::Exclusions(_) => Vec::new(),
    }
}

/// The subject of the audit event: the table's service provider code, or else its format.
fn subject(table: &ParsedTable) -> String {
    match &table.content {
        TableContent::Holdings { spc, .. } => spc.to_string(),
        TableContent::Allocations(_)
        | TableContent::Delegations(_)
        | TableContent::ManyDelegations(_)
        | TableContent::Exclusions(_) => table.summary.format.to_owned(),
    }
}

/// The outcome of an import. Unless it is a dry run, this also withdraws the grants that have lost
/// authority.
fn outcome_of(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    summary: TableSummary,
    dry_run: bool,
    now: Time,
) -> Result<Imported, ImportError> {
    let losses = change.losses(now);
    let exposed = exposure::find(tx, &losses)?;
    let withdrawn = if dry_run {
        0
    } else {
        exposure::withdraw(tx, losses, &exposed, now)?
    };
    Ok(Imported {
        summary,
        dry_run,
        outstanding: OutstandingTokens {
            withdrawn,
            ..exposure::listed(tx, &exposed)?
        },
        ..change.amounts()
    })
}

fn detail(imported: &Imported, options: ImportOptions) -> serde_json::Value {
    json!({
        "job": imported.job, "format": imported.summary.format, "sha256": imported.summary.sha256, "lines": imported.summary.lines,
        "added": imported.added.ranges, "added_numbers": imported.added.numbers,
        "ended": imported.ended.ranges, "ended_numbers": imported.ended.numbers,
        "unchanged": imported.unchanged.ranges, "confirm": options.confirm, "force": options.force,
        "outstanding_grants": imported.outstanding.count, "withdrawn": imported.outstanding.withdrawn,
    })
}
