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

mod database;
mod job;
pub(super) mod queue;
mod thread;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::connection::AnyConnection;
use super::error::{OpenError, StoreError};
use super::mint::MintMemory;
use super::tx::Tx;
use super::writer_health::{WriterHealth, WriterProgress};
use crate::domain::Actor;
use crate::domain::issuance::{MintOrder, RefusalSums};
use crate::telemetry::Metrics;
use job::{ChangeOf, IssueJob, WriteJob};
use queue::{FairQueue, Pushed};
use thread::WriterThread;

pub(super) use database::WriterDatabase;
pub use job::Verdict;

/// The queue for writes of the service itself, which belong to no tenant.
const SERVICE_QUEUE: &str = "";

/// The handle of the writer thread. Dropping it lets the thread finish the jobs that wait.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<FairQueue<WriteJob>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
    progress: Arc<WriterProgress>,
}

impl Writer {
    pub(super) fn start(
        database: WriterDatabase,
        connection: AnyConnection,
        (queue, batch): (usize, usize),
        refusals: Arc<Mutex<RefusalSums>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(FairQueue::new(queue));
        let progress = Arc::new(WriterProgress::starting(Instant::now(), true));
        let mut worker = WriterThread {
            database,
            connection: Some(connection),
            memory: MintMemory::new(refusals),
            metrics: Arc::clone(&metrics),
            progress: Arc::clone(&progress),
        };
        let jobs = Arc::clone(&queue);
        let task = metrics.background.start("writer");
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // However the thread ends, even by a panic, no request may keep waiting for it.
                let _closes = CloseOnDrop(&jobs);
                worker.serve(&jobs, batch.max(1), &task);
                task.stop();
            })?;
        Ok(Self {
            queue,
            thread: Some(thread),
            metrics,
            progress,
        })
    }

    pub(super) fn health(&self) -> WriterHealth {
        self.progress.health()
    }

    /// Whether the writer thread is running.
    pub(super) fn is_alive(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Queues these orders for a tenant, each as a job of its own. Returns after COMMIT, with the
    /// verdicts in the order of the orders.
    pub(super) async fn issue(
        &self,
        tenant: &str,
        orders: Vec<MintOrder>,
    ) -> Vec<Result<Verdict, StoreError>> {
        let enqueue = |order| {
            let (reply, answer) = oneshot::channel();
            let job = WriteJob::Issue(Box::new(IssueJob {
                order,
                decided: None,
                reply,
            }));
            self.send(tenant, job).map(|()| answer)
        };
        let pending: Vec<_> = orders.into_iter().map(enqueue).collect();
        let mut verdicts = Vec::with_capacity(pending.len());
        for answer in pending {
            verdicts.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(unanswered())),
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
        let (reply, answer) = oneshot::channel();
        let job = WriteJob::Change(Box::new(ChangeOf {
            actor,
            name,
            exclusive,
            work,
            outcome: None,
            reply,
        }));
        self.send(&tenant, job)?;
        answer.await.map_err(|_| unanswered())?
    }

    fn send(&self, tenant: &str, job: WriteJob) -> Result<(), StoreError> {
        // Counted before the push, since the thread can take the job immediately.
        self.metrics.writer_queue_length.inc();
        let (sent, unsent) = match self.queue.push(tenant, job) {
            Pushed::Taken => return Ok(()),
            Pushed::Evicted(other) => {
                // It was not started, so the caller can retry it.
                other.answer(Err(StoreError::Busy));
                self.metrics.writer_displaced.inc();
                (Ok(()), None)
            }
            Pushed::Full(job) => (Err(StoreError::Busy), Some(job)),
            Pushed::Closed(job) => (Err(writer_ended()), Some(job)),
        };
        drop(unsent);
        self.metrics.writer_queue_length.dec();
        sent
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Closes the queue and drops the jobs that wait.
struct CloseOnDrop<'a>(&'a FairQueue<WriteJob>);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.take(usize::MAX).is_some() {}
    }
}

fn writer_ended() -> StoreError {
    StoreError::Unavailable("the writer thread has ended".to_owned())
}

/// The job was dropped: the writer panicked in its transaction, or has ended.
fn unanswered() -> StoreError {
    StoreError::Unavailable("the writer did not answer".to_owned())
}
