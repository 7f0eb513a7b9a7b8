//! The one thread of a process that writes, with group commit.
//!
//! It takes what waits, without delay, and does it in one transaction; answers are released only after COMMIT. A job that
//! fails is undone alone. The queue has a lane for each tenant and is bounded: when it is full, the answer is
//! [`StoreError::Busy`].
//!
//! A transaction does a bounded amount of work: what is left of a batch when it has done enough is put back, and is the
//! first of the next one. So a heavy batch does not keep those waiting who come after it.
//!
//! What takes authority away and what mints must not pass each other, on any replica. On PostgreSQL both hold an advisory
//! lock until they commit: minting shares it, changing the inventory has it alone. SQLite has one writer anyway.

mod job;
pub(super) mod queue;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::result::QueryResult;
use tokio::sync::oneshot;

use super::connection::{AnyConnection, DatabaseUrl, begin_writing, commit, roll_back};
use super::error::{OpenError, Remedy, StoreError};
use super::locks::AUTHORITY_LOCK;
use super::mint;
use super::tx::Tx;
use crate::domain::Actor;
use crate::domain::issuance::MintOrder;
use crate::telemetry::Metrics;
use job::{ChangeOf, IssueJob, WriteJob};
use queue::{FairQueue, Pushed};

pub use job::Verdict;

/// The lane of what the service notes for itself.
const OWN_LANE: &str = "";

/// How often a transaction is tried that others were in the way of.
const ATTEMPTS: u32 = 5;

/// After this time a transaction begins with nothing more of its batch.
const LONG_ENOUGH: Duration = Duration::from_millis(100);

/// The way to the thread that writes. Dropping it lets the thread finish what waits.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<FairQueue<WriteJob>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn start(
        url: DatabaseUrl,
        connection: AnyConnection,
        queue: usize,
        batch: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let queue = Arc::new(FairQueue::new(queue));
        let mut worker = WriterThread {
            url,
            connection: Some(connection),
            metrics: Arc::clone(&metrics),
        };
        let jobs = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // Whatever ends the thread, nobody may go on to wait for it.
                let _closes = CloseOnDrop(&jobs);
                worker.serve(&jobs, batch.max(1));
            })?;
        Ok(Self {
            queue,
            thread: Some(thread),
            metrics,
        })
    }

    /// Whether the thread is there to take anything.
    pub(super) fn is_alive(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Orders tokens, each for itself, in the lane of a tenant. The answers come after COMMIT, in the order of the orders.
    pub(super) async fn issue(
        &self,
        lane: &str,
        orders: Vec<MintOrder>,
    ) -> Vec<Result<Verdict, StoreError>> {
        let ask = |order| {
            let (reply, answer) = oneshot::channel();
            let job = WriteJob::Issue(Box::new(IssueJob {
                order,
                decided: None,
                reply,
            }));
            self.send(lane, job).map(|()| answer)
        };
        let asked: Vec<_> = orders.into_iter().map(ask).collect();
        let mut verdicts = Vec::with_capacity(asked.len());
        for answer in asked {
            verdicts.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
                Err(error) => Err(error),
            });
        }
        verdicts
    }

    /// Changes the inventory, in the lane of whoever acts, who must still be proven. `work` sees all that was committed
    /// before, runs alone, and may run more than once; if it fails, nothing of it stays.
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

    /// Changes what no decision looks at; others may mint beside it.
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
        alone: bool,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let lane = actor.as_ref().map_or(OWN_LANE.to_owned(), Actor::lane);
        let (reply, answer) = oneshot::channel();
        let job = WriteJob::Change(Box::new(ChangeOf {
            actor,
            name,
            alone,
            work,
            outcome: None,
            reply,
        }));
        self.send(&lane, job)?;
        answer.await.map_err(|_| gone())?
    }

    fn send(&self, lane: &str, job: WriteJob) -> Result<(), StoreError> {
        self.metrics.writer_queue_length.inc();
        let (sent, unsent) = match self.queue.push(lane, job) {
            Pushed::Taken => return Ok(()),
            Pushed::Evicted(other) => {
                // It was not begun, so it can come again.
                other.answer(Err(StoreError::Busy));
                self.metrics.writer_displaced.inc();
                (Ok(()), None)
            }
            Pushed::Full(job) => (Err(StoreError::Busy), Some(job)),
            Pushed::Closed(job) => (Err(gone()), Some(job)),
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

/// Closes the queue and lets go of what waits in it.
struct CloseOnDrop<'a>(&'a FairQueue<WriteJob>);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.take(usize::MAX).is_some() {}
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the thread that writes has ended".to_owned())
}

/// Why a transaction was not committed, and what helps.
struct BatchFailure {
    remedy: Remedy,
    error: StoreError,
}

struct WriterThread {
    url: DatabaseUrl,
    connection: Option<AnyConnection>,
    metrics: Arc<Metrics>,
}

impl WriterThread {
    fn serve(&mut self, jobs: &FairQueue<WriteJob>, batch: usize) {
        while let Some(taken) = jobs.take(batch) {
            let (lanes, taken): (Vec<String>, Vec<WriteJob>) = taken.into_iter().unzip();
            self.metrics.writer_batch_size.observe(size(taken.len()));
            self.metrics.writer_queue_length.sub(count(taken.len()));
            let left = self.commit_batch(taken);
            self.metrics.writer_queue_length.add(count(left.len()));
            let done = lanes.len() - left.len();
            jobs.put_back(lanes.into_iter().skip(done).zip(left).collect());
        }
    }

    /// Does the jobs in one transaction and answers them. If that cannot be, each gets one of its own. Returns those at the
    /// end that were too much for one transaction.
    fn commit_batch(&mut self, mut jobs: Vec<WriteJob>) -> Vec<WriteJob> {
        let name = match jobs.as_slice() {
            [only] => only.name(),
            [first, rest @ ..] if rest.iter().all(|job| job.name() == first.name()) => first.name(),
            _ => "mixed",
        };
        let mut tries_left = ATTEMPTS;
        loop {
            tries_left -= 1;
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
                Remedy::Repeat | Remedy::Reconnect if tries_left > 0 => {
                    self.metrics.transaction_retry(name);
                }
                Remedy::GiveUp if jobs.len() > 1 => {
                    for job in jobs {
                        // One job is never too much.
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

    /// Runs one transaction. Says how many of the jobs it did.
    fn try_commit(&mut self, jobs: &mut [WriteJob]) -> Result<usize, BatchFailure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            // Without a database, trying each job alone would make all of them wait in vain.
            None => self.url.connect().map_err(|error| BatchFailure {
                remedy: Remedy::FailBatch,
                error: StoreError::Unavailable(error.to_string()),
            })?,
        };
        let outcome = run_batch(&mut connection, jobs);
        // A connection that failed is replaced, unless it is known to be good again.
        let usable = match outcome.as_ref().map_err(|failure| failure.remedy) {
            Ok(_) => true,
            Err(Remedy::Reconnect | Remedy::FailBatch) => false,
            Err(Remedy::Repeat | Remedy::GiveUp) => roll_back(&mut connection).is_ok(),
        };
        self.connection = usable.then_some(connection);
        outcome
    }
}

/// Runs the jobs in a transaction and commits it. Says how many of the jobs are done.
fn run_batch(connection: &mut AnyConnection, jobs: &mut [WriteJob]) -> Result<usize, BatchFailure> {
    let failed = |error: diesel::result::Error| BatchFailure {
        remedy: Remedy::for_error(&error),
        error: StoreError::Unavailable(error.to_string()),
    };
    begin_writing(connection).map_err(failed)?;
    let alone = jobs.iter().any(WriteJob::alone);
    take_turn(connection, alone).map_err(failed)?;

    let (mut tx, mut done, started) = (Tx::new(connection), 0, Instant::now());
    for segment in
        jobs.chunk_by_mut(|a, b| matches!((a, b), (WriteJob::Issue(_), WriteJob::Issue(_))))
    {
        let some = run_segment(&mut tx, segment).map_err(|error| BatchFailure {
            remedy: tx.remedy.unwrap_or(Remedy::GiveUp),
            error,
        })?;
        done += some;
        if some < segment.len() || started.elapsed() > LONG_ENOUGH {
            break;
        }
    }
    commit(connection).map_err(|error| BatchFailure {
        remedy: match Remedy::for_error(&error) {
            Remedy::Repeat => Remedy::Repeat,
            // Only of a conflict is it certain that nothing was kept. Otherwise the transaction may be there: it must not
            // be run again.
            Remedy::Reconnect | Remedy::GiveUp | Remedy::FailBatch => Remedy::FailBatch,
        },
        error: StoreError::Unavailable(error.to_string()),
    })?;
    Ok(done)
}

/// Runs one change, or neighbouring orders as one batch. Says how many of the jobs are done: at least the first.
fn run_segment(tx: &mut Tx<'_>, segment: &mut [WriteJob]) -> Result<usize, StoreError> {
    if let [WriteJob::Change(change)] = segment {
        change.run(tx);
        return match tx.remedy.take() {
            // Its savepoint is undone, and its own answer says why.
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

/// Waits until no replica is doing what must not happen at the same time. The lock ends with the transaction.
fn take_turn(connection: &mut AnyConnection, alone: bool) -> QueryResult<()> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(c) => {
            let lock = if alone {
                "pg_advisory_xact_lock"
            } else {
                "pg_advisory_xact_lock_shared"
            };
            c.batch_execute(&format!("SELECT {lock}({AUTHORITY_LOCK})"))
        }
    }
}

fn count(jobs: usize) -> i64 {
    jobs.try_into().unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a batch has few jobs")]
fn size(jobs: usize) -> f64 {
    jobs as f64
}
