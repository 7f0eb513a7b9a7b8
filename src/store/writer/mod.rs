//! The writer: the only writing thread of the process, with group commit.
//!
//! It takes the jobs that wait, without an artificial delay, and runs them in one transaction;
//! answers are released only after COMMIT. A job that fails is rolled back alone. The queue is fair
//! among tenants, and bounded: when it is full, the answer is [`StoreError::Busy`].
//!
//! A transaction does a bounded amount of work. Jobs that it does not reach go back to the head of
//! the queue, so a heavy batch is split, and other tenants get turns between its parts.
//!
//! Minting and changes of the inventory are serialized against each other, on all replicas. On
//! PostgreSQL both hold an advisory lock until COMMIT: minting shares it, a change of the inventory
//! holds it exclusively. SQLite has one writer anyway.

mod batch;
mod database;
mod job;
mod pace;
pub(super) mod queue;
mod reconnecting;
mod reply;
mod thread;
mod watch;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connection::AnyConnection;
use super::error::{OpenError, StoreError};
use super::mint::MintMemory;
use super::timeouts::TransactionKind;
use super::tx::Tx;
use super::wait_budget::WaitBudget;
use super::writer_health::{WriterHealth, WriterProgress};
use crate::domain::Actor;
use crate::domain::issuance::{MintOrder, RefusalSums};
use crate::telemetry::Metrics;
use job::{ChangeOf, IssueJob, QueuedJob, WriteJob};
use pace::Pace;
use queue::{FairQueue, Pushed};
use reconnecting::Reconnecting;
use reply::Reply;
use thread::WriterThread;
use watch::WriterWatch;

pub(super) use database::WriterDatabase;
pub use job::Verdict;

/// The queue for writes of the service itself, which belong to no tenant.
const SERVICE_QUEUE: &str = "";

/// The handle of the writer thread. Dropping it lets the thread finish the jobs that wait.
#[derive(Debug)]
pub(super) struct Writer {
    parts: Arc<WriterParts>,
    watcher: Option<JoinHandle<()>>,
    /// For everything that one request does.
    timeout: Duration,
}

/// What the writer thread, its watch, and those who queue jobs share.
#[derive(Debug)]
struct WriterParts {
    queue: FairQueue<QueuedJob>,
    batch: usize,
    database: WriterDatabase,
    refusals: Arc<Mutex<RefusalSums>>,
    metrics: Arc<Metrics>,
    progress: Arc<WriterProgress>,
    watch: Arc<WriterWatch>,
    pace: Arc<Pace>,
    /// The thread that writes.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        database: WriterDatabase,
        connection: AnyConnection,
        (queue, batch): (usize, usize),
        refusals: Arc<Mutex<RefusalSums>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let timeout = database.connector.timeouts.request;
        let parts = Arc::new(WriterParts {
            queue: FairQueue::new(queue),
            batch: batch.max(1),
            database,
            refusals,
            metrics,
            progress: Arc::new(WriterProgress::starting(Instant::now(), true)),
            watch: Arc::default(),
            pace: Arc::default(),
            thread: Mutex::default(),
        });
        parts.start_thread(0, Some(connection))?;
        let shared = Arc::clone(&parts);
        let watcher = std::thread::Builder::new()
            .name("writer-watch".to_owned())
            .spawn(move || shared.watch())?;
        Ok(Self {
            parts,
            watcher: Some(watcher),
            timeout,
        })
    }

    pub(super) fn health(&self) -> WriterHealth {
        self.parts.progress.health()
    }

    /// Whether the writer thread is running.
    pub(super) fn is_alive(&self) -> bool {
        let thread = self.parts.thread.lock();
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// How long a job waits for its transaction that is taken after this number of others.
    pub(super) fn expected_wait(&self, ahead: usize) -> Duration {
        self.parts.pace.wait_for(ahead)
    }

    /// Queues these orders for a tenant, each as a job of its own. Returns after COMMIT, with the
    /// verdicts in the order of the orders.
    pub(super) async fn issue(
        &self,
        tenant: &str,
        orders: Vec<MintOrder>,
    ) -> Vec<Result<Verdict, StoreError>> {
        let client = WaitBudget::client();
        let enqueue = |order| {
            let (reply, answer) = Reply::new();
            let job = WriteJob::Issue(Box::new(IssueJob {
                order,
                decided: None,
                client: client.clone(),
                reply,
            }));
            self.send(tenant, job).map(|()| answer)
        };
        let pending: Vec<_> = orders.into_iter().map(enqueue).collect();
        let mut verdicts = Vec::with_capacity(pending.len());
        for answer in pending {
            verdicts.push(match answer {
                Ok(answer) => WaitBudget::spend(answer)
                    .await
                    .unwrap_or_else(|_| Err(unanswered())),
                Err(error) => Err(error),
            });
        }
        verdicts
    }

    /// Changes the inventory on behalf of `actor`, whose credential must still be valid. `work`
    /// sees everything that was committed before, excludes minting and other changes, and can run
    /// more than once; if it fails, it is rolled back.
    pub(super) async fn change<T, E>(
        &self,
        actor: Actor,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run(Some(actor), name, true, work).await
    }

    /// Runs a write that no decision depends on; it does not block minting.
    pub(super) async fn write_alongside<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(None, name, false, work).await
    }

    async fn run<T, E>(
        &self,
        actor: Option<Actor>,
        name: &'static str,
        exclusive: bool,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let tenant = actor.as_ref().map_or(SERVICE_QUEUE.to_owned(), Actor::lane);
        let (reply, answer) = Reply::new();
        let job = WriteJob::Change(Box::new(ChangeOf {
            actor,
            name,
            exclusive,
            work,
            outcome: None,
            reply,
        }));
        self.send(&tenant, job)?;
        let answer = WaitBudget::spend(answer).await;
        answer.map_err(|_| unanswered())?
    }

    fn send(&self, tenant: &str, job: WriteJob) -> Result<(), StoreError> {
        let metrics = &self.parts.metrics;
        match job.kind() {
            TransactionKind::Mint | TransactionKind::Request => {
                let left = WaitBudget::left().map_or(self.timeout, |left| left.0.min(self.timeout));
                let deadline = Instant::now() + left;
                self.parts.watch.deadlines.add(deadline, job.overdue());
            }
            TransactionKind::Long | TransactionKind::Migration => {}
        }
        // Counted before the push, since the thread can take the job immediately.
        metrics.writer_queue_length.inc();
        let (sent, unsent) = match self.parts.queue.push(tenant, job.into()) {
            Pushed::Taken => return Ok(()),
            Pushed::Evicted(other) => {
                // It was not started, so the caller can retry it.
                other.job.answer(Err(StoreError::Busy));
                metrics.writer_displaced.inc();
                (Ok(()), None)
            }
            Pushed::Full(job) => (Err(StoreError::Busy), Some(job)),
            Pushed::Closed(job) => (Err(writer_ended()), Some(job)),
        };
        drop(unsent);
        metrics.writer_queue_length.dec();
        sent
    }
}

impl WriterParts {
    fn start_thread(
        self: &Arc<Self>,
        number: u64,
        connection: Option<AnyConnection>,
    ) -> Result<(), OpenError> {
        let mut worker = WriterThread {
            number,
            database: self.database.clone(),
            connection,
            reconnecting: Reconnecting::default(),
            refused_since: None,
            memory: MintMemory::new(Arc::clone(&self.refusals)),
            metrics: Arc::clone(&self.metrics),
            progress: Arc::clone(&self.progress),
            watch: Arc::clone(&self.watch),
            pace: Arc::clone(&self.pace),
            worked: Duration::ZERO,
        };
        let parts = Arc::clone(self);
        let task = self.metrics.background.start("writer");
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // However the thread ends, even by a panic, no request may keep waiting for it.
                let _closes = CloseOnDrop(&parts, number);
                worker.serve(&parts.queue, parts.batch, &task);
                task.stop();
            })?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Answers requests that wait for too long, and replaces a thread that hangs.
    fn watch(self: &Arc<Self>) {
        self.watch.run(|watch, now| {
            let Some(number) = watch.replace_hanging(now) else {
                return;
            };
            log::error!(
                "the database has not answered the writer for too long, so another thread with a new connection takes over"
            );
            if let Err(error) = self.start_thread(number, None) {
                log::error!("{error}; restart the service");
                self.queue.close();
            }
        });
    }

    /// Whether the thread that writes has ended, or does so soon enough to be waited for.
    fn ends_within(&self, patience: Duration) -> bool {
        let started = Instant::now();
        loop {
            let thread = self.thread.lock();
            if thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return true;
            }
            drop(thread);
            if started.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.parts.queue.close();
        // A thread that hangs in a wait for the database ends with the process.
        if self.parts.ends_within(self.timeout * 3) {
            let thread = self.parts.thread.lock().take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
        self.parts.watch.stop();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Closes the queue and drops the jobs that wait, unless another thread has taken over.
struct CloseOnDrop<'a>(&'a WriterParts, u64);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        if self.0.watch.is_current(self.1) {
            self.0.queue.close();
            while self.0.queue.take(usize::MAX).is_some() {}
        }
    }
}

fn writer_ended() -> StoreError {
    StoreError::Unavailable("the writer thread has ended".to_owned())
}

/// The job was dropped: the writer panicked in its transaction, or has ended.
fn unanswered() -> StoreError {
    StoreError::Unavailable("the writer did not answer".to_owned())
}
