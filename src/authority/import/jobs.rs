//! Imports that run in the background: a bounded queue, and a row for each job, so that every
//! replica can show its state. `runner` is the thread that works through the queue.
//!
//! The uploaded file is on the disk of the process that accepted the job, so no other process can
//! run it. Each process writes a heartbeat; a job without one for a minute is marked `lost`. A job
//! is marked `done` in the transaction that imports its table, so an import is never partial, and a
//! job that was marked `lost` can no longer write anything.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

use super::runner::{Runner, mark_lost_jobs};
use super::{ImportError, ImportOptions};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeRequester};
use crate::domain::jobs::{Job, JobState};
use crate::domain::{AuditAction, Caller, new_id};
use crate::store::{StoreError, Tx};
use crate::tables::TableRequest;

/// The import jobs of this process. Dropping it stops them, like [`Jobs::stop`].
#[derive(Debug)]
pub struct Jobs {
    authority: Arc<Authority>,
    runner: Uuid,
    /// How many jobs may be queued, including the running one.
    max_queued: usize,
    slots_used: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    worker: Mutex<ImportThread>,
}

#[derive(Debug)]
struct ImportThread {
    queue: Option<Sender<QueuedImport>>,
    /// The other end of `queue`, until the thread takes it.
    receiver: Option<Receiver<QueuedImport>>,
    thread: Option<JoinHandle<()>>,
}

/// A reserved slot in the queue. Dropping it frees the slot.
#[derive(Debug)]
pub struct QueueSlot(Arc<AtomicUsize>);

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A queued job, with everything that it needs to run.
#[derive(Debug)]
pub(super) struct QueuedImport {
    pub(super) job: Job,
    pub(super) caller: Caller,
    pub(super) request: TableRequest,
    pub(super) options: ImportOptions,
    pub(super) file: File,
    /// Keeps the slot until the job has finished.
    _slot: QueueSlot,
}

impl Jobs {
    /// A queue of at most `max_queued` jobs. None runs before [`Jobs::start`].
    #[must_use]
    pub fn new(authority: Arc<Authority>, max_queued: usize) -> Self {
        let (queue, receiver) = channel();
        Self {
            runner: new_id(authority.now()),
            authority,
            max_queued,
            slots_used: Arc::default(),
            stopping: Arc::default(),
            worker: Mutex::new(ImportThread {
                queue: Some(queue),
                receiver: Some(receiver),
                thread: None,
            }),
        }
    }

    /// Starts the thread that runs the jobs. Further calls do nothing.
    ///
    /// # Errors
    /// The operating system's error if it cannot start a thread.
    pub fn start(&self) -> std::io::Result<()> {
        let mut worker = self.worker.lock();
        let Some(receiver) = worker.receiver.take() else {
            return Ok(());
        };
        let runner = Runner {
            authority: Arc::clone(&self.authority),
            id: self.runner,
            stopping: Arc::clone(&self.stopping),
        };
        let thread = thread::Builder::new().name("jobs".to_owned());
        let task = self.authority.metrics().background.start("jobs");
        worker.thread = Some(thread.spawn(move || runner.run_queue(task, &receiver))?);
        Ok(())
    }

    /// Checks everything that does not need the file, so that a request can be refused before the
    /// upload.
    ///
    /// # Errors
    /// [`ImportError`] if the caller may not import, or the request is incomplete.
    pub fn check(&self, caller: &Caller, request: &TableRequest) -> Result<(), ImportError> {
        self.authority.require(caller, Action::Provision)?;
        request.check()?;
        match &request.spc {
            Some(spc) => Ok(self.authority.must_hold(spc)?),
            None => Ok(()),
        }
    }

    /// Reserves a slot in the queue. Done before the upload, so that there are never more files on
    /// the disk than jobs.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if the queue is full, [`StoreError::Unavailable`] if the service is
    /// stopping.
    pub fn place(&self) -> Result<QueueSlot, StoreError> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(stopping());
        }
        let one_more = |used: usize| (used < self.max_queued).then_some(used + 1);
        let reserved = self
            .slots_used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        match reserved {
            Ok(_) => Ok(QueueSlot(Arc::clone(&self.slots_used))),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Queues the import of a file, which is read from its current position.
    ///
    /// # Errors
    /// [`ImportError`] if the job cannot be recorded; then it does not run.
    pub async fn submit(
        &self,
        by: impl Into<ChangeRequester<'_, Job>>,
        request: TableRequest,
        options: ImportOptions,
        (file, bytes): (File, u64),
        slot: QueueSlot,
    ) -> Result<Job, ImportError> {
        let by = by.into();
        let caller = by.caller();
        self.check(caller, &request)?;
        let now = self.authority.now();
        let job = Job {
            id: new_id(now),
            state: JobState::Queued,
            format: request.format.as_str().to_owned(),
            ocns: request.ocns.iter().cloned().collect(),
            spc: request.spc.clone(),
            dry_run: options.dry_run,
            confirm: options.confirm,
            caller: caller.id.clone(),
            request_id: caller.request_id,
            runner: self.runner,
            bytes_total: bytes,
            bytes_read: 0,
            lines_read: 0,
            result: None,
            failure: None,
            created_at: now,
            started_at: None,
            heartbeat_at: now,
            finished_at: None,
            changed_rows: None,
            undone: None,
        };
        let row = job.clone();
        let event = event_by(caller, now, AuditAction::SubmitImport);
        let submitted = event.clone();
        let record = move |tx: &mut Tx<'_>| {
            tx.insert_job(&row)?;
            let detail = json!({
                "format": row.format, "spc": row.spc, "ocns": row.ocns, "bytes": row.bytes_total,
                "dry_run": row.dry_run, "confirm": row.confirm, "force": options.force,
            });
            tx.record(&submitted.done(&row.id, detail))?;
            Ok(row.clone())
        };
        let job = self.authority.change_by(by, event, job.id, record).await?;
        let work = QueuedImport {
            job: job.clone(),
            caller: caller.clone(),
            request,
            options,
            file,
            _slot: slot,
        };
        let worker = self.worker.lock();
        let queue = worker.queue.as_ref().ok_or_else(stopping)?;
        queue.send(work).map_err(|_| stopping())?;
        Ok(job)
    }

    /// Marks jobs without a heartbeat as lost, of all replicas.
    pub async fn mark_lost(&self) -> Result<(), StoreError> {
        mark_lost_jobs(&self.authority).await
    }

    /// Accepts no more jobs, and waits for the thread. Queued jobs fail with `stopped`. The running
    /// one is stopped too, unless it is already writing; then it completes.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let mut worker = self.worker.lock();
        drop(worker.queue.take());
        if let Some(thread) = worker.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.stop();
    }
}

fn stopping() -> StoreError {
    StoreError::Unavailable("the service is stopping".to_owned())
}
