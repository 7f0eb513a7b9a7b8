//! The writer thread: takes the jobs that wait, runs them in one transaction, and answers them
//! after COMMIT.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::connection::{AnyConnection, roll_back};
use super::super::error::{Remedy, StoreError};
use super::super::mint::{self, MintMemory, StagedMemory};
use super::super::tx::Tx;
use super::super::writer_health::WriterProgress;
use super::database::{BatchFailure, WriterDatabase};
use super::job::WriteJob;
use super::queue::FairQueue;
use crate::domain::issuance::MintOrder;
use crate::telemetry::{Metrics, RunningTask};

/// The most attempts of a transaction that conflicts with others or loses its connection.
const MAX_ATTEMPTS: u32 = 5;

/// After this time, a transaction starts no further jobs of its batch.
const MAX_RUNTIME: Duration = Duration::from_millis(100);

pub(super) struct WriterThread {
    pub(super) database: WriterDatabase,
    pub(super) connection: Option<AnyConnection>,
    pub(super) memory: MintMemory,
    pub(super) metrics: Arc<Metrics>,
    pub(super) progress: Arc<WriterProgress>,
}

impl WriterThread {
    /// Serves jobs until the queue is closed. A panic fails the jobs of its transaction only: its
    /// connection is dropped, which rolls it back.
    pub(super) fn serve(&mut self, jobs: &FairQueue<WriteJob>, batch: usize, task: &RunningTask) {
        while let Some(taken) = jobs.take(batch) {
            let (tenants, taken): (Vec<String>, Vec<WriteJob>) = taken.into_iter().unzip();
            self.metrics.writer_batch_size.observe(size(taken.len()));
            self.metrics.writer_queue_length.sub(count(taken.len()));
            let left = task
                .attempt(|| self.commit_batch(taken))
                .unwrap_or_default();
            self.progress.idle();
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
        self.progress.step(Instant::now());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect()?,
        };
        let mut staged = StagedMemory::default();
        let outcome = run_batch(
            &self.database,
            &mut connection,
            jobs,
            &self.memory,
            &mut staged,
        );
        if outcome.is_ok() {
            self.progress.committed(Instant::now());
            self.memory.commit(staged);
        }
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
    memory: &MintMemory,
    staged: &mut StagedMemory,
) -> Result<usize, BatchFailure> {
    let exclusive = jobs.iter().any(WriteJob::is_exclusive);
    database.begin(connection, exclusive)?;

    let (mut tx, mut done, started) = (Tx::new(connection), 0, Instant::now());
    for segment in
        jobs.chunk_by_mut(|a, b| matches!((a, b), (WriteJob::Issue(_), WriteJob::Issue(_))))
    {
        let some = run_segment(&mut tx, segment, memory, staged).map_err(|error| BatchFailure {
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
fn run_segment(
    tx: &mut Tx<'_>,
    segment: &mut [WriteJob],
    memory: &MintMemory,
    staged: &mut StagedMemory,
) -> Result<usize, StoreError> {
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
    let all = mint::decide_and_record(tx, &orders, memory, staged)?;
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
