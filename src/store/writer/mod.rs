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

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::connection::{AnyConnection, roll_back};
use super::error::{OpenError, Remedy, StoreError};
use super::mint;
use super::tx::Tx;
use crate::domain::Actor;
use crate::domain::issuance::MintOrder;
use crate::telemetry::Metrics;
use database::BatchFailure;
use job::{ChangeOf, IssueJob, WriteJob};
use queue::{FairQueue, Pushed};

pub(super) use database::WriterDatabase;
pub use job::Verdict;

/// The queue for writes of the service itself, which belong to no tenant.
const SERVICE_QUEUE: &str = "";

/// The most attempts of a transaction that conflicts with others or loses its connection.
const MAX_ATTEMPTS: u32 = 5;

/// After this time, a transaction starts no further jobs of its batch.
const MAX_RUNTIME: Duration = Duration::from_millis(100);

/// The handle of the writer thread. Dropping it lets the thread finish the jobs that wait.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<FairQueue<WriteJob>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn start(
        database: WriterDatabase,
        connection: AnyConnection,
        queue: usize,
        batch: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(FairQueue::new(queue));
        let mut worker = WriterThread {
            database,
            connection: Some(connection),
            metrics: Arc::clone(&metrics),
        };
        let jobs = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // However the thread ends, even by a panic, no request may keep waiting for it.
                let _closes = CloseOnDrop(&jobs);
                worker.serve(&jobs, batch.max(1));
            })?;
        Ok(Self {
            queue,
            thread: Some(thread),
            metrics,
        })
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
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(writer_ended())),
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
        answer.await.map_err(|_| writer_ended())?
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

struct WriterThread {
    database: WriterDatabase,
    connection: Option<AnyConnection>,
    metrics: Arc<Metrics>,
}

impl WriterThread {
    fn serve(&mut self, jobs: &FairQueue<WriteJob>, batch: usize) {
        while let Some(taken) = jobs.take(batch) {
            let (tenants, taken): (Vec<String>, Vec<WriteJob>) = taken.into_iter().unzip();
            self.metrics.writer_batch_size.observe(size(taken.len()));
            self.metrics.writer_queue_length.sub(count(taken.len()));
            let left = self.commit_batch(taken);
            self.metrics.writer_queue_length.add(count(left.len()));
            let done = tenants.len() - left.len();
            jobs.put_back(tenants.into_iter().skip(done).zip(left).collect());
        }
    }

    /// Runs the jobs in one transaction and answers them; if that is impossible, each in a
    /// transaction of its own. Returns the jobs at the end that did not fit into it.
    fn commit_batch(&mut self, mut jobs: Vec<WriteJob>) -> Vec<WriteJob> {
        let name = match jobs.as_slice() {
            [only] => only.name(),
            [first, rest @ ..] if rest.iter().all(|job| job.name() == first.name()) => first.name(),
            _ => "mixed",
        };
        let mut attempts_left = MAX_ATTEMPTS;
        loop {
            attempts_left -= 1;
            let started = Instant::now();
            let outcome = self.try_commit(&mut jobs);
            let elapsed = started.elapsed().as_secs_f64();
            self.metrics.transaction(name, elapsed);
            let failure = match outcome {
                Ok(done) => {
                    let left = jobs.split_off(done);
                    for job in jobs {
                        job.answer(Ok(()));
                    }
                    return left;
                }
                Err(failure) => failure,
            };
            match failure.remedy {
                Remedy::Repeat | Remedy::Reconnect if attempts_left > 0 => {
                    self.metrics.transaction_retry(name);
                }
                Remedy::GiveUp if jobs.len() > 1 => {
                    for job in jobs {
                        // A single job always fits, so there is nothing to put back.
                        self.commit_batch(vec![job]);
                    }
                    return Vec::new();
                }
                Remedy::Repeat | Remedy::Reconnect | Remedy::GiveUp | Remedy::FailBatch => {
                    log::error!(transaction = name; "a transaction failed: {}", failure.error);
                    for job in jobs {
                        job.answer(Err(failure.error.clone()));
                    }
                    return Vec::new();
                }
            }
        }
    }

    /// Runs one transaction. Returns how many of the jobs are done.
    fn try_commit(&mut self, jobs: &mut [WriteJob]) -> Result<usize, BatchFailure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect()?,
        };
        let outcome = run_batch(&self.database, &mut connection, jobs);
        // A connection that failed is replaced, unless a rollback shows that it still works.
        let usable = match outcome.as_ref().map_err(|failure| failure.remedy) {
            Ok(_) => true,
            Err(Remedy::Reconnect | Remedy::FailBatch) => false,
            Err(Remedy::Repeat | Remedy::GiveUp) => roll_back(&mut connection).is_ok(),
        };
        self.connection = usable.then_some(connection);
        outcome
    }
}

/// Runs the jobs in a transaction and commits it. Returns how many of the jobs are done.
fn run_batch(
    database: &WriterDatabase,
    connection: &mut AnyConnection,
    jobs: &mut [WriteJob],
) -> Result<usize, BatchFailure> {
    let exclusive = jobs.iter().any(WriteJob::is_exclusive);
    database.begin(connection, exclusive)?;

    let (mut tx, mut done, started) = (Tx::new(connection), 0, Instant::now());
    for segment in
        jobs.chunk_by_mut(|a, b| matches!((a, b), (WriteJob::Issue(_), WriteJob::Issue(_))))
    {
        let some = run_segment(&mut tx, segment).map_err(|error| BatchFailure {
            remedy: tx.remedy.unwrap_or(Remedy::GiveUp),
            error,
        })?;
        done += some;
        if some < segment.len() || started.elapsed() > MAX_RUNTIME {
            break;
        }
    }
    database.commit(connection)?;
    Ok(done)
}

/// Runs one change, or adjacent orders as one batch. Returns how many of the jobs are done: at
/// least the first.
fn run_segment(tx: &mut Tx<'_>, segment: &mut [WriteJob]) -> Result<usize, StoreError> {
    if let [WriteJob::Change(change)] = segment {
        change.run(tx);
        return match tx.remedy.take() {
            // If it failed, its savepoint is already rolled back and its answer carries the reason.
            None | Some(Remedy::GiveUp) => Ok(1),
            Some(remedy) => {
                tx.remedy = Some(remedy);
                Err(StoreError::Unavailable("interrupted".to_owned()))
            }
        };
    }
    let orders: Vec<&MintOrder> = segment
        .iter()
        .filter_map(|job| match job {
            WriteJob::Issue(job) => Some(&job.order),
            WriteJob::Change(_) => None,
        })
        .collect();
    let all = mint::decide_and_record(tx, &orders)?;
    let done = all.len();
    for (job, decided) in segment.iter_mut().zip(all) {
        if let WriteJob::Issue(job) = job {
            job.decided = Some(decided);
        }
    }
    Ok(done)
}

fn count(jobs: usize) -> i64 {
    jobs.try_into().unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a batch has few jobs")]
fn size(jobs: usize) -> f64 {
    jobs as f64
}
