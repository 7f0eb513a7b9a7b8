//! The writer thread: takes the jobs that wait, runs them in one transaction, and answers them
//! after COMMIT.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::connection::{AnyConnection, roll_back};
use super::super::error::{Remedy, StoreError};
use super::super::locks::Hold;
use super::super::mint::{MintMemory, StagedMemory};
use super::super::timeouts::TransactionKind;
use super::super::writer_health::WriterProgress;
use super::batch::{self, BatchOutcome};
use super::database::{BatchFailure, WriterDatabase};
use super::job::QueuedJob;
use super::pace::Pace;
use super::queue::FairQueue;
use super::reconnecting::{NextAttempt, Reconnecting};
use super::watch::WriterWatch;
use crate::telemetry::{Metrics, RunningTask};

/// The most attempts of a transaction that conflicts with others or loses its connection.
const MAX_ATTEMPTS: u32 = 5;

pub(super) struct WriterThread {
    /// Among the threads that were started one after the other, because the last one hung.
    pub(super) number: u64,
    pub(super) database: WriterDatabase,
    pub(super) connection: Option<AnyConnection>,
    pub(super) reconnecting: Reconnecting,
    /// Since when another process has had the lock alone, as far as is known.
    pub(super) refused_since: Option<Instant>,
    pub(super) memory: MintMemory,
    pub(super) metrics: Arc<Metrics>,
    pub(super) progress: Arc<WriterProgress>,
    pub(super) watch: Arc<WriterWatch>,
    pub(super) pace: Arc<Pace>,
    /// How long the transactions of a batch took once they had the lock.
    pub(super) worked: Duration,
}

/// A job, and the tenant in whose queue it waited.
type Dequeued = (String, QueuedJob);

/// How a batch may still be repeated.
#[derive(Clone, Copy)]
struct Allowance {
    attempts: u32,
    /// Whether a failure for an unknown reason may be repeated.
    unknown: bool,
    until: Instant,
}

impl WriterThread {
    /// Serves jobs until the queue is closed, or this thread was given up. A panic fails the jobs
    /// of its transaction only: its connection is dropped, which rolls it back.
    pub(super) fn serve(&mut self, jobs: &FairQueue<QueuedJob>, batch: usize, task: &RunningTask) {
        while self.is_current()
            && let Some(mut taken) = jobs.take(batch)
        {
            self.metrics.writer_batch_size.observe(size(taken.len()));
            self.metrics.writer_queue_length.sub(count(taken.len()));
            let allowance = Allowance {
                attempts: MAX_ATTEMPTS,
                unknown: true,
                until: Instant::now() + self.database.connector.timeouts.request,
            };
            let is_full = taken.len() == batch;
            if is_full {
                self.drop_abandoned(&mut taken);
            }
            let queued = taken.len();
            self.worked = Duration::ZERO;
            let left = task
                .attempt(|| self.commit_batch(taken, allowance))
                .unwrap_or_default();
            // Changes that wait for the lock say nothing about how fast the others are done.
            let more_waited = is_full || left.iter().any(|(_, queued)| !queued.job.is_exclusive());
            if !self.worked.is_zero() {
                self.pace
                    .observe(queued - left.len(), self.worked, more_waited);
            }
            if self.is_current() {
                self.progress.idle();
                self.watch.idle(self.number);
            }
            self.metrics.writer_queue_length.add(count(left.len()));
            jobs.put_back(left);
        }
        self.watch.ended(self.number);
    }

    /// Runs the jobs in one transaction and answers them; if that is impossible, each in a
    /// transaction of its own. Returns the jobs that did not fit into it.
    fn commit_batch(&mut self, mut jobs: Vec<Dequeued>, mut allowed: Allowance) -> Vec<Dequeued> {
        let started = Instant::now();
        loop {
            jobs.retain(|(_, queued)| !queued.job.is_answered());
            if jobs.is_empty() {
                return jobs;
            }
            let name = name_of(&jobs);
            let attempt_started = Instant::now();
            let outcome = self.try_commit(&mut jobs, allowed.unknown);
            let elapsed = attempt_started.elapsed().as_secs_f64();
            self.metrics.transaction(name, elapsed);
            let failure = match outcome {
                Ok(BatchOutcome::Committed { done, took }) => {
                    self.worked += took;
                    let left = jobs.split_off(done);
                    for (_, queued) in jobs {
                        queued.job.answer(Ok(()));
                    }
                    return left;
                }
                Ok(BatchOutcome::Locked(hold)) => {
                    return self.after_lock_refused(jobs, hold, started, allowed);
                }
                Err(failure) => failure,
            };
            allowed.attempts -= u32::from(failure.begun);
            let in_time = Instant::now() < allowed.until;
            match failure.remedy {
                Remedy::Repeat | Remedy::Reconnect if allowed.attempts > 0 && in_time => {
                    self.metrics.transaction_retry(name);
                }
                Remedy::RepeatOnce if allowed.unknown && in_time => {
                    self.metrics.transaction_retry(name);
                    allowed.unknown = false;
                }
                // Not after a failure of the connection, which all of them would meet.
                Remedy::RepeatOnce | Remedy::GiveUp if jobs.len() > 1 && in_time => {
                    allowed.attempts = MAX_ATTEMPTS;
                    return jobs
                        .into_iter()
                        .flat_map(|job| self.commit_batch(vec![job], allowed))
                        .collect();
                }
                Remedy::Repeat
                | Remedy::RepeatOnce
                | Remedy::Reconnect
                | Remedy::GiveUp
                | Remedy::FailBatch => {
                    log::error!(transaction = name; "a transaction failed: {}", failure.error);
                    for (_, queued) in jobs {
                        queued.job.answer(Err(failure.error.clone()));
                    }
                    return Vec::new();
                }
            }
        }
    }

    /// Answers the orders whose clients have left, so that no grant is recorded in vain while
    /// others wait. Otherwise they are done: a client that has closed only its side still gets its
    /// answer.
    fn drop_abandoned(&self, jobs: &mut Vec<Dequeued>) {
        for (_, queued) in jobs.extract_if(.., |(_, queued)| queued.job.is_abandoned()) {
            self.metrics.abandoned_orders.inc();
            queued.job.answer(Err(StoreError::Busy));
        }
    }

    /// Another process has the lock. Those that need it alone are repeated, until they have
    /// waited for it long enough; the others do not wait for them.
    fn after_lock_refused(
        &mut self,
        jobs: Vec<Dequeued>,
        hold: Hold,
        started: Instant,
        allowed: Allowance,
    ) -> Vec<Dequeued> {
        let patience = self.database.connector.timeouts.lock;
        let (exclusive, shared): (Vec<Dequeued>, Vec<Dequeued>) = match hold {
            Hold::Exclusive => jobs.into_iter().partition(|(_, q)| q.job.is_exclusive()),
            Hold::Shared => (Vec::new(), jobs),
        };
        let mut left = match hold {
            Hold::Shared => {
                self.refused_since.get_or_insert(started);
                answer_busy(shared);
                Vec::new()
            }
            Hold::Exclusive => self.commit_batch(shared, allowed),
        };
        let (mut late, mut waiting) = (Vec::new(), Vec::new());
        for (tenant, mut queued) in exclusive {
            let since = *queued.refused_since.get_or_insert(started);
            if since.elapsed() >= patience {
                late.push((tenant, queued));
            } else {
                waiting.push((tenant, queued));
            }
        }
        answer_busy(late);
        left.extend(waiting);
        left
    }

    /// Runs one transaction.
    fn try_commit(
        &mut self,
        jobs: &mut [Dequeued],
        repeats_unknown: bool,
    ) -> Result<BatchOutcome, BatchFailure> {
        let (mut connection, is_new) = match self.connection.take() {
            Some(connection) => (connection, false),
            None => (self.reconnect()?, true),
        };
        let kind = batch::kind_of(jobs);
        self.step(kind);
        let mut staged = StagedMemory::default();
        let outcome = batch::run(self, &mut connection, jobs, &mut staged, repeats_unknown);
        if let Ok(BatchOutcome::Committed { done, .. }) = outcome {
            self.database.committed(done, kind);
            self.refused_since = None;
            if self.is_current() {
                self.progress.committed(Instant::now());
            }
            self.memory.commit(staged);
        }
        match &outcome {
            // A server that accepts connections and no transactions is as good as none.
            Err(failure) if is_new && !failure.begun => self.note_failure(),
            Err(failure) if !failure.begun => {}
            Ok(_) | Err(_) => self.reconnecting.connected(),
        }
        // A connection that failed is replaced, unless a rollback shows that it still works.
        let usable = match outcome.as_ref().map_err(|failure| failure.remedy) {
            Ok(BatchOutcome::Committed { .. }) => true,
            Err(Remedy::Reconnect | Remedy::FailBatch) => false,
            Ok(BatchOutcome::Locked(_))
            | Err(Remedy::Repeat | Remedy::RepeatOnce | Remedy::GiveUp) => {
                roll_back(&mut connection).is_ok()
            }
        };
        if !usable && self.is_current() {
            self.progress.set_connected(false);
        }
        self.connection = usable.then_some(connection);
        outcome
    }

    /// Opens a connection, after the last one was lost. Nothing was begun, so the jobs wait.
    fn reconnect(&mut self) -> Result<AnyConnection, BatchFailure> {
        self.database.check_file()?;
        let patience = self.database.connector.timeouts.reconnect;
        loop {
            match self.reconnecting.next(Instant::now(), patience) {
                NextAttempt::Now => {}
                NextAttempt::At(at) => {
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                }
                NextAttempt::TooLate => return Err(BatchFailure::of_all(StoreError::Busy)),
            }
            self.step(TransactionKind::Request);
            self.waits();
            match self.database.connect() {
                Ok(connection) => {
                    if self.is_current() {
                        self.progress.set_connected(true);
                    }
                    return Ok(connection);
                }
                Err(error) => {
                    log::warn!("the writer cannot connect to the database: {error}");
                    self.note_failure();
                }
            }
        }
    }

    fn note_failure(&mut self) {
        let mut jitter = [0];
        // Without it, the replicas just try at the same time.
        let _ = getrandom::fill(&mut jitter);
        self.reconnecting.failed(Instant::now(), jitter[0]);
    }

    fn step(&self, kind: TransactionKind) {
        let now = Instant::now();
        let timeouts = &self.database.connector.timeouts;
        // Only a server can be frozen; SQLite has one writer, which a second thread would wait for.
        if self.database.file.is_none() {
            self.watch.step(self.number, now, timeouts, kind);
        }
        if self.is_current() {
            self.progress.step(now);
        }
    }

    /// Whether this thread is the one that writes: it was not given up.
    pub(super) fn is_current(&self) -> bool {
        self.watch.is_current(self.number)
    }

    /// The writer waits for the database.
    pub(super) fn waits(&self) {
        if self.is_current() {
            self.progress.blocked(Instant::now());
        }
    }

    /// The database has answered.
    pub(super) fn has_answer(&self) {
        if self.is_current() {
            self.progress.unblocked();
        }
    }
}

fn answer_busy(jobs: Vec<Dequeued>) {
    if jobs.is_empty() {
        return;
    }
    log::warn!("another process has held the lock of the database for too long");
    for (_, queued) in jobs {
        queued.job.answer(Err(StoreError::Busy));
    }
}

fn name_of(jobs: &[Dequeued]) -> &'static str {
    let mut names = jobs.iter().map(|(_, queued)| queued.job.name());
    match names.next() {
        Some(first) if names.all(|name| name == first) => first,
        Some(_) | None => "mixed",
    }
}

fn count(jobs: usize) -> i64 {
    jobs.try_into().unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a batch has few jobs")]
fn size(jobs: usize) -> f64 {
    jobs as f64
}
