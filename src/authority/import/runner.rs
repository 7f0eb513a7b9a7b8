//! The thread that runs queued imports, one at a time, and keeps their rows up to date.

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::jobs::QueuedImport;
use super::{ImportError, ImportResult, Imported, RefusedResult, RunningJob};
use crate::authority::Authority;
use crate::authority::audited::event_by;
use crate::domain::clock::Time;
use crate::domain::jobs::{JobFailure, JobState};
use crate::domain::{AuditAction, Caller, new_id};
use crate::store::{StoreError, Tx, Waiter};
use crate::tables::{Progress, TableError};
use crate::telemetry::RunningTask;

/// How often an idle runner checks for lost jobs.
const LOST_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long an idle runner deletes what failed imports have left, until it checks its queue again.
const DISCARD_TURN: Duration = Duration::from_secs(1);
/// How often a running job writes its progress, which is also its heartbeat.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Seconds without a heartbeat after which a job is lost. Longer than any import occupies the
/// writer, since a job has no heartbeat meanwhile.
const MAX_SILENCE_SECONDS: i64 = 60;

/// Runs the jobs of this process.
pub(super) struct Runner {
    pub(super) authority: Arc<Authority>,
    /// Identifies this process in the rows of its jobs.
    pub(super) id: Uuid,
    pub(super) stopping: Arc<AtomicBool>,
}

impl Runner {
    /// Runs jobs until the sending end of the queue is dropped.
    pub(super) fn run_queue(&self, task: RunningTask, queue: &Receiver<QueuedImport>) {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(error) => return task.failed(&error),
        };
        loop {
            match queue.recv_timeout(LOST_CHECK_INTERVAL) {
                Ok(work) if self.stopping.load(Ordering::SeqCst) => {
                    let detail = "the service stopped before the job started; send the table again";
                    let failure = failure("stopped", &detail);
                    waiter.wait(self.fail(&work.caller, work.job.id, None, failure));
                }
                Ok(work) => self.run_to_the_end(&task, &waiter, work),
                Err(RecvTimeoutError::Timeout) => {
                    let checked = task.attempt(|| {
                        waiter.wait(mark_lost_jobs(&self.authority))?;
                        let discard = self.authority.discard_failed_imports(DISCARD_TURN);
                        waiter.wait(discard).map(drop)
                    });
                    if let Some(Err(error)) = checked {
                        task.failed(&format_args!("cannot check for lost imports: {error}"));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return task.stop(),
            }
        }
    }

    /// Runs a job. However it fails, the failure is recorded.
    fn run_to_the_end(&self, task: &RunningTask, waiter: &Waiter, work: QueuedImport) {
        let (id, caller) = (work.job.id, work.caller.clone());
        let (result, failure) = match task.attempt(|| self.run(waiter, work)) {
            Some(Ok(())) => return,
            Some(Err(error)) => {
                log::warn!(job:% = id; "import job failed: {error}");
                (error.result(), failure(error.code(), &error))
            }
            None => {
                let detail = "the import failed by a fault of the service; its log says more";
                (None, failure("internal", &detail))
            }
        };
        waiter.wait(self.fail(&caller, id, result, failure));
    }

    fn run(&self, waiter: &Waiter, work: QueuedImport) -> Result<(), ImportError> {
        let (id, authority) = (work.job.id, &self.authority);
        let now = self.authority.now();
        let start = move |tx: &mut Tx<'_>| tx.start_job(id, now);
        if !waiter.wait(authority.change_as_service("job", start))? {
            // Another process has marked it as lost.
            return Ok(());
        }
        let (mut last_report, mut report_error) = (Instant::now(), None);
        let mut report = |progress: Progress| {
            if last_report.elapsed() >= PROGRESS_INTERVAL {
                last_report = Instant::now();
                // Keep reading if the database is unavailable; if that lasts, the import itself
                // fails.
                report_error = waiter.wait(self.write_progress(id, progress)).err();
            }
            !self.stopping.load(Ordering::SeqCst)
        };
        let file = BufReader::new(work.file);
        let table = crate::tables::read(file, &work.request, now, &mut report)?;
        if let Some(error) = report_error {
            log::warn!(job:% = id; "cannot write the progress of an import job: {error}");
        }
        let progress = Progress {
            bytes: table.summary.bytes,
            lines: table.summary.lines,
        };
        waiter.wait(self.write_progress(id, progress))?;
        if self.stopping.load(Ordering::SeqCst) {
            return Err(TableError::Stopped.into());
        }
        let options = work.options;
        let job = RunningJob::new(id, self.id, Arc::clone(&self.stopping));
        let import = self
            .authority
            .import(&work.caller, table, options, Some(&job));
        let imported = waiter.wait(import)?;
        if options.dry_run {
            // A dry run has no writing transaction in which the job could be finished.
            let now = self.authority.now();
            let event = event_by(&work.caller, now, AuditAction::Import);
            let done = move |tx: &mut Tx<'_>| {
                finish(tx, id, &imported, now)?;
                Ok::<_, ImportError>(tx.record(&event.done(&id, json!({ "dry_run": true })))?)
            };
            waiter.wait(self.authority.change_as_service("job", done))?;
        }
        Ok(())
    }

    async fn write_progress(&self, id: Uuid, progress: Progress) -> Result<(), StoreError> {
        let (runner, now) = (self.id, self.authority.now());
        let write = move |tx: &mut Tx<'_>| {
            tx.update_job_progress(id, progress.bytes, progress.lines)?;
            tx.record_job_heartbeats(runner, now)
        };
        self.authority.change_as_service("job", write).await
    }

    async fn fail(
        &self,
        caller: &Caller,
        id: Uuid,
        result: Option<RefusedResult>,
        failure: JobFailure,
    ) {
        let now = self.authority.now();
        let event = event_by(caller, now, AuditAction::Import);
        let write = move |tx: &mut Tx<'_>| {
            if tx.finish_job(id, JobState::Failed, result.as_ref(), Some(&failure), now)? {
                tx.record(&event.refused(&id, &failure.code, &failure.detail))?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.authority.change_as_service("job", write).await {
            log::error!(job:% = id; "cannot record that an import job failed, so it will be marked as lost: {error}");
        }
    }
}

fn failure(code: &str, detail: &dyn ToString) -> JobFailure {
    JobFailure {
        code: code.to_owned(),
        detail: detail.to_string(),
    }
}

/// Marks a job as done, in the transaction that imported its table. Fails if it was marked as lost,
/// so that the transaction is rolled back.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    job: Uuid,
    imported: &Imported,
    now: Time,
) -> Result<(), ImportError> {
    let result = ImportResult::from(imported);
    if tx.finish_job(job, JobState::Done, Some(&result), None, now)? {
        Ok(())
    } else {
        Err(ImportError::Lost)
    }
}

/// Marks jobs without a heartbeat as lost, of all replicas.
pub(super) async fn mark_lost_jobs(authority: &Authority) -> Result<(), StoreError> {
    let now = authority.now();
    let since = now - TimeDelta::seconds(MAX_SILENCE_SECONDS);
    // Reading first is cheap; a write would take a turn of the writer on every check.
    if authority.store.read(|tx| tx.count_silent_jobs(since))? == 0 {
        return Ok(());
    }
    let failure = JobFailure {
        code: "lost".to_owned(),
        detail:
            "the process that ran the job is gone, and nothing was imported; send the table again"
                .to_owned(),
    };
    let caller = Caller::the_service(new_id(now));
    let event = event_by(&caller, now, AuditAction::Import);
    let mark = move |tx: &mut Tx<'_>| {
        for job in tx.mark_silent_jobs_lost(since, &failure, now)? {
            tx.record(&event.refused(&job, &failure.code, &failure.detail))?;
        }
        Ok(())
    };
    authority.change_as_service("job", mark).await
}
