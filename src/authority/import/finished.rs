//! The job of an import that ran at once, as at the command line.

use uuid::Uuid;

use super::{ImportOptions, ImportResult, Imported};
use crate::domain::clock::Time;
use crate::domain::jobs::{Job, JobState};
use crate::domain::{Caller, Spc};

/// The job as it is recorded, together with what it imported.
pub(super) fn job(
    caller: &Caller,
    (id, spc): (Uuid, Option<Spc>),
    imported: &Imported,
    options: ImportOptions,
    now: Time,
) -> Job {
    let summary = &imported.summary;
    Job {
        id,
        state: JobState::Done,
        format: summary.format.to_owned(),
        ocns: summary.ocns.clone(),
        spc,
        dry_run: options.dry_run,
        confirm: options.confirm,
        caller: caller.id.clone(),
        request_id: caller.request_id,
        // No process has to report on it: it has finished.
        runner: id,
        bytes_total: summary.bytes,
        bytes_read: summary.bytes,
        lines_read: summary.lines,
        result: serde_json::to_value(ImportResult::from(imported)).ok(),
        failure: None,
        created_at: now,
        started_at: Some(now),
        heartbeat_at: now,
        finished_at: Some(now),
        changed_rows: None,
        undone: None,
    }
}
