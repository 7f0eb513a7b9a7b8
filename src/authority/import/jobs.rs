//! Imports that run by themselves: a bounded queue, one thread that works it off, and a row for each that any replica
//! shows.
//!
//! The file of a job is on the disk of the process that took it, so nobody else can do it. A process says that it is alive
//! (heartbeat); jobs that have not been heard of for a minute are `lost`. A job is done in the transaction that writes what
//! it imports, so that it is never done in part, and one that was taken for lost writes nothing any more.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

use super::{ImportError, ImportOptions, ImportResult, Imported, RefusedResult};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeRequester};
use crate::domain::clock::Time;
use crate::domain::jobs::{Job, JobFailure, JobState};
use crate::domain::{Caller, new_id};
use crate::store::{StoreError, Tx};
use crate::tables::{Progress, TableError, TableRequest};

/// How often a process says that it is alive, and looks for lost jobs.
const BEAT: Duration = Duration::from_secs(2);
/// How often a job says how far it is.
const PROGRESS: Duration = Duration::from_millis(500);
/// After how many seconds of silence a job is lost. Longer than any import holds the writer.
const SILENCE: i64 = 60;

/// The verb of the trail.
const IMPORT: &str = "import";

/// Jobs of this process. Dropping it stops the work: see [`Jobs::stop`].
#[derive(Debug)]
pub struct Jobs {
    authority: Arc<Authority>,
    runner: Uuid,
    /// How many may wait, the running one included.
    most: usize,
    taken: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    work: Mutex<ImportThread>,
}

#[derive(Debug)]
struct ImportThread {
    queue: Option<Sender<QueuedImport>>,
    /// Until the thread has it.
    waiting: Option<Receiver<QueuedImport>>,
    thread: Option<JoinHandle<()>>,
}

/// A place in the queue. It is free again when this is dropped.
#[derive(Debug)]
pub struct QueueSlot(Arc<AtomicUsize>);

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct QueuedImport {
    job: Job,
    caller: Caller,
    wanted: TableRequest,
    consent: ImportOptions,
    file: File,
    /// Held until the job is finished.
    _place: QueueSlot,
}

impl Jobs {
    /// A queue of at most `most` jobs. They wait until [`Jobs::start`].
    #[must_use]
    pub fn new(authority: Arc<Authority>, most: usize) -> Self {
        let (queue, waiting) = channel();
        Self {
            runner: new_id(authority.now()),
            authority,
            most,
            taken: Arc::default(),
            stopping: Arc::default(),
            work: Mutex::new(ImportThread {
                queue: Some(queue),
                waiting: Some(waiting),
                thread: None,
            }),
        }
    }

    /// Starts the thread that works them off. Once is enough.
    ///
    /// # Errors
    /// What the system says if there can be no thread.
    pub fn start(&self) -> std::io::Result<()> {
        let mut worker = self.work.lock();
        let Some(waiting) = worker.waiting.take() else {
            return Ok(());
        };
        let runner = Runner {
            authority: Arc::clone(&self.authority),
            id: self.runner,
            stopping: Arc::clone(&self.stopping),
        };
        let thread = thread::Builder::new().name("jobs".to_owned());
        worker.thread = Some(thread.spawn(move || runner.work_off(&waiting))?);
        Ok(())
    }

    /// Checks what can be checked before there is a file.
    ///
    /// # Errors
    /// [`ImportError`] if the caller may not import, or the import lacks something.
    pub fn check(&self, caller: &Caller, wanted: &TableRequest) -> Result<(), ImportError> {
        self.authority.require(caller, Action::Provision)?;
        wanted.check()?;
        match &wanted.spc {
            Some(spc) => Ok(self.authority.must_hold(spc)?),
            None => Ok(()),
        }
    }

    /// Takes a place in the queue, before the file is there, so that not more files are kept than jobs.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if there is none, [`StoreError::Unavailable`] if the service is stopping.
    pub fn place(&self) -> Result<QueueSlot, StoreError> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(stopping());
        }
        let one_more = |taken: usize| (taken < self.most).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        match taken {
            Ok(_) => Ok(QueueSlot(Arc::clone(&self.taken))),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Queues an import of a file, which is read from where it stands.
    ///
    /// # Errors
    /// [`ImportError`] if the job cannot be recorded; then it is not done.
    pub async fn submit(
        &self,
        by: impl Into<ChangeRequester<'_, Job>>,
        wanted: TableRequest,
        consent: ImportOptions,
        (file, bytes): (File, u64),
        place: QueueSlot,
    ) -> Result<Job, ImportError> {
        let by = by.into();
        let caller = by.caller();
        self.check(caller, &wanted)?;
        let now = self.authority.now();
        let job = Job {
            id: new_id(now),
            state: JobState::Queued,
            format: wanted.format.as_str().to_owned(),
            ocns: wanted.ocns.iter().cloned().collect(),
            spc: wanted.spc.clone(),
            dry_run: consent.dry_run,
            confirm: consent.confirm,
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
        };
        let row = job.clone();
        let event = event_by(caller, now, "submit-import");
        let submitted = event.clone();
        let queue = move |tx: &mut Tx<'_>| {
            tx.insert_job(&row)?;
            let detail = json!({
                "format": row.format, "spc": row.spc, "ocns": row.ocns, "bytes": row.bytes_total,
                "dry_run": row.dry_run, "confirm": row.confirm,
            });
            tx.record(&submitted.done(&row.id, detail))?;
            Ok(row.clone())
        };
        let job = self.authority.change_by(by, event, job.id, queue).await?;
        let work = QueuedImport {
            job: job.clone(),
            caller: caller.clone(),
            wanted,
            consent,
            file,
            _place: place,
        };
        let worker = self.work.lock();
        let queue = worker.queue.as_ref().ok_or_else(stopping)?;
        queue.send(work).map_err(|_| stopping())?;
        Ok(job)
    }

    /// Takes for lost what has not been heard of.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub async fn look_for_lost(&self) -> Result<(), StoreError> {
        look_for_lost(&self.authority).await
    }

    /// Stops: what is queued fails, with a reason; what is running is stopped, unless it is being written already, which is
    /// waited for. Takes no more jobs.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let mut worker = self.work.lock();
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

/// Ends a job in the transaction that did it.
pub(in crate::authority) fn finish(
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

async fn look_for_lost(authority: &Authority) -> Result<(), StoreError> {
    let now = authority.now();
    let since = now - TimeDelta::seconds(SILENCE);
    // Only writing makes others wait.
    if authority.store.read(|tx| tx.count_silent_jobs(since))? == 0 {
        return Ok(());
    }
    let failure = JobFailure {
        code: "lost".to_owned(),
        detail: "the process that had it is gone; nothing of it is kept; send the table again"
            .to_owned(),
    };
    let caller = Caller::the_service(new_id(now));
    let event = event_by(&caller, now, IMPORT);
    let lose = move |tx: &mut Tx<'_>| {
        for job in tx.mark_silent_jobs_lost(since, &failure, now)? {
            tx.record(&event.refused(&job, &failure.code, &failure.detail))?;
        }
        Ok(())
    };
    authority.change_as_service("job", lose).await
}

/// The thread's side.
struct Runner {
    authority: Arc<Authority>,
    /// Names this process in the rows of its jobs.
    id: Uuid,
    stopping: Arc<AtomicBool>,
}

impl Runner {
    fn work_off(&self, queue: &Receiver<QueuedImport>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return log::error!("no job can be done: {error}"),
        };
        let mut waiting = 0_u32;
        loop {
            match queue.recv_timeout(BEAT) {
                Ok(work) if self.stopping.load(Ordering::SeqCst) => {
                    let code = "stopped".to_owned();
                    let detail = "the service stopped before it began; send the table again";
                    let detail = detail.to_owned();
                    let failure = JobFailure { code, detail };
                    runtime.block_on(self.fail(&work.caller, work.job.id, None, failure));
                }
                Ok(work) => {
                    let (id, caller) = (work.job.id, work.caller.clone());
                    if let Err(error) = self.run(&runtime, work) {
                        log::warn!(job:% = id; "a job failed: {error}");
                        let code = error.code().to_owned();
                        let detail = error.to_string();
                        let failure = JobFailure { code, detail };
                        runtime.block_on(self.fail(&caller, id, error.result(), failure));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = runtime.block_on(look_for_lost(&self.authority)) {
                        // Once is enough for a database that is away for long.
                        if waiting == 0 {
                            log::warn!("cannot look for lost jobs: {error}");
                        }
                        waiting += 1;
                    } else {
                        waiting = 0;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn run(
        &self,
        runtime: &tokio::runtime::Runtime,
        work: QueuedImport,
    ) -> Result<(), ImportError> {
        let (id, authority) = (work.job.id, &self.authority);
        let now = self.authority.now();
        let start = move |tx: &mut Tx<'_>| tx.start_job(id, now);
        if !runtime.block_on(authority.change_as_service("job", start))? {
            // Somebody took it for lost.
            return Ok(());
        }
        let (mut told, mut unheard) = (Instant::now(), None);
        let mut report = |progress: Progress| {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                // Reading goes on when this cannot be written now; a database that stays away is met at the end.
                unheard = runtime.block_on(self.is_at(id, progress)).err();
            }
            !self.stopping.load(Ordering::SeqCst)
        };
        let file = BufReader::new(work.file);
        let draft = crate::tables::read(file, &work.wanted, now, &mut report)?;
        if let Some(error) = unheard {
            log::warn!(job:% = id; "the progress of a job cannot be written: {error}");
        }
        let at = Progress {
            bytes: draft.told.bytes,
            lines: draft.told.lines,
        };
        runtime.block_on(self.is_at(id, at))?;
        if self.stopping.load(Ordering::SeqCst) {
            return Err(TableError::Stopped.into());
        }
        let consent = work.consent;
        let import = self
            .authority
            .import(&work.caller, draft, consent, Some(id));
        let imported = runtime.block_on(import)?;
        if consent.dry_run {
            // Nothing was written, so this is a transaction of its own.
            let now = self.authority.now();
            let event = event_by(&work.caller, now, IMPORT);
            let done = move |tx: &mut Tx<'_>| {
                finish(tx, id, &imported, now)?;
                Ok::<_, ImportError>(tx.record(&event.done(&id, json!({ "dry_run": true })))?)
            };
            runtime.block_on(self.authority.change_as_service("job", done))?;
        }
        Ok(())
    }

    async fn is_at(&self, id: Uuid, progress: Progress) -> Result<(), StoreError> {
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
        let event = event_by(caller, now, IMPORT);
        let write = move |tx: &mut Tx<'_>| {
            if tx.finish_job(id, JobState::Failed, result.as_ref(), Some(&failure), now)? {
                tx.record(&event.refused(&id, &failure.code, &failure.detail))?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = self.authority.change_as_service("job", write).await {
            log::error!(job:% = id; "the failure of a job cannot be written, so it will be lost: {error}");
        }
    }
}
