//! The one thread of a process that writes, with group commit.
//!
//! It takes what waits, without delay, and does it in one transaction; answers are released only after COMMIT. A job that
//! fails is undone alone. The queue is bounded: when it is full, the answer is [`StoreError::Busy`].
//!
//! What takes authority away and what mints must not pass each other, on any replica. On PostgreSQL both hold an advisory
//! lock until they commit: minting shares it, changing the inventory has it alone. SQLite has one writer anyway.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use diesel::connection::SimpleConnection as _;
use diesel::result::QueryResult;
use tokio::sync::oneshot;

use super::acting::Acting;
use super::connection::{AnyConnection, DatabaseUrl, begin_writing, commit, roll_back};
use super::error::{OpenError, Remedy, StoreError};
use super::issue::{self, Order, Outcome};
use super::tx::Tx;
use crate::domain::Denial;
use crate::domain::grant::{Grant, Recorded};
use crate::telemetry::Metrics;

/// How often a transaction is tried that others were in the way of.
const ATTEMPTS: u32 = 5;

/// What becomes of an order: a grant that is in the database, or a denial that is.
pub type Verdict = Result<Recorded<Grant>, Denial>;

/// The way to the thread that writes. Dropping it lets the thread finish what waits.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
}

/// Something to be written, and the place for its outcome until COMMIT.
enum Job {
    Issue(Box<IssueJob>),
    Change(Box<dyn Change>),
}

/// Orders of one caller, their outcomes once they are decided, and who waits for them.
struct IssueJob {
    orders: Vec<Order>,
    outcomes: Option<Vec<Outcome>>,
    reply: oneshot::Sender<Result<Vec<Result<Verdict, StoreError>>, StoreError>>,
}

/// A change of what is kept: a closure that may run twice, with its type erased.
trait Change: Send {
    fn name(&self) -> &'static str;
    /// Whether nobody may mint beside it.
    fn alone(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>);
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct ChangeOf<F, T, E> {
    /// Who must still be proven; nobody, for what the service notes for itself.
    acting: Option<Acting>,
    name: &'static str,
    alone: bool,
    work: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Change for ChangeOf<F, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, tx: &mut Tx<'_>) {
        let (acting, work, mut ended) = (&self.acting, &mut self.work, None);
        let mut outcome = tx.savepoint(|tx| {
            if let Some(acting) = acting {
                ended = tx.ended(&[acting])?.pop().flatten();
            }
            match ended {
                None => work(tx),
                Some(_) => Err(StoreError::ProofEnded.into()),
            }
        });
        if let (Some(acting), Some(ended)) = (acting, ended) {
            let refusal = acting.refusal(self.name, ended);
            if let Err(error) = tx.savepoint(|tx| tx.insert_audit_events(&[refusal])) {
                outcome = Err(error.into());
            }
        }
        self.outcome = Some(outcome);
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => {
                Err(StoreError::Unavailable("the change was not run".to_owned()).into())
            }
            (Err(error), _) => Err(error.into()),
        };
        // Whoever asked may have gone away; what was committed stays.
        let _ = self.reply.send(outcome);
    }
}

impl Writer {
    pub(super) fn start(
        url: DatabaseUrl,
        connection: AnyConnection,
        queue: usize,
        batch: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let (sender, receiver) = sync_channel(queue);
        let mut worker = Worker {
            url,
            connection: Some(connection),
            metrics: Arc::clone(&metrics),
        };
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || worker.serve(&receiver, batch.max(1)))?;
        Ok(Self {
            queue: Some(sender),
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

    /// Orders tokens, all in one transaction. The answers come after COMMIT, in the order of the orders.
    pub(super) async fn issue(
        &self,
        orders: Vec<Order>,
    ) -> Result<Vec<Result<Verdict, StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Issue(Box::new(IssueJob {
            orders,
            outcomes: None,
            reply,
        })))?;
        answer.await.map_err(|_| gone())?
    }

    /// Changes the inventory. `work` sees all that was committed before, runs alone, and may run more than once; if it
    /// fails, nothing of it stays. Whoever acts must still be proven.
    pub(super) async fn change<T, E>(
        &self,
        acting: Acting,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run(Some(acting), name, true, work).await
    }

    /// Changes what no decision looks at; others may mint beside it.
    pub(super) async fn note<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(None, name, false, work).await
    }

    async fn run<T, E>(
        &self,
        acting: Option<Acting>,
        name: &'static str,
        alone: bool,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Change(Box::new(ChangeOf {
            acting,
            name,
            alone,
            work,
            outcome: None,
            reply,
        })))?;
        answer.await.map_err(|_| gone())?
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        self.metrics.writer_queue_length.inc();
        queue.try_send(job).map_err(|error| {
            self.metrics.writer_queue_length.dec();
            match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => gone(),
            }
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the thread that writes has ended".to_owned())
}

impl Job {
    fn name(&self) -> &'static str {
        match self {
            Self::Issue(_) => "issue",
            Self::Change(change) => change.name(),
        }
    }

    fn alone(&self) -> bool {
        match self {
            Self::Issue(_) => false,
            Self::Change(change) => change.alone(),
        }
    }

    fn answer(self, committed: Result<(), StoreError>) {
        match self {
            Self::Change(change) => change.answer(committed),
            Self::Issue(job) => {
                let recorded = |outcome: Outcome| match outcome {
                    Ok(decided) => Ok(decided.map(Recorded::after_commit)),
                    Err(repeated) => Err(repeated.into()),
                };
                let verdicts = match (committed, job.outcomes) {
                    (Ok(()), Some(outcomes)) => Ok(outcomes.into_iter().map(recorded).collect()),
                    (Ok(()), None) => Err(StoreError::Unavailable(
                        "the order was not decided".to_owned(),
                    )),
                    (Err(error), _) => Err(error),
                };
                let _ = job.reply.send(verdicts);
            }
        }
    }
}

/// Why a transaction was not committed, and what helps.
struct Failure {
    remedy: Remedy,
    error: StoreError,
    /// COMMIT itself failed without saying how, so the transaction may be there: it must not be run again.
    in_doubt: bool,
}

struct Worker {
    url: DatabaseUrl,
    connection: Option<AnyConnection>,
    metrics: Arc<Metrics>,
}

impl Worker {
    fn serve(&mut self, jobs: &Receiver<Job>, batch: usize) {
        while let Ok(first) = jobs.recv() {
            let mut taken = vec![first];
            taken.extend(jobs.try_iter().take(batch - 1));
            self.metrics
                .writer_queue_length
                .sub(taken.len().try_into().unwrap_or(i64::MAX));
            self.metrics.writer_batch_size.observe(size(taken.len()));
            self.transact(taken);
        }
    }

    /// Does the jobs in one transaction and answers them. If that cannot be, each gets one of its own.
    fn transact(&mut self, mut jobs: Vec<Job>) {
        let name = match jobs.as_slice() {
            [only] => only.name(),
            [first, rest @ ..] if rest.iter().all(|job| job.name() == first.name()) => first.name(),
            _ => "mixed",
        };
        for attempt in 1.. {
            let started = Instant::now();
            let outcome = self.attempt(&mut jobs);
            let elapsed = started.elapsed().as_secs_f64();
            self.metrics.transaction(name, elapsed);
            let failure = match outcome {
                Ok(()) => return jobs.into_iter().for_each(|job| job.answer(Ok(()))),
                Err(failure) => failure,
            };
            match failure.remedy {
                Remedy::Repeat | Remedy::Reconnect if !failure.in_doubt && attempt < ATTEMPTS => {
                    self.metrics.transaction_retry(name);
                }
                Remedy::GiveUp if !failure.in_doubt && jobs.len() > 1 => {
                    return jobs.into_iter().for_each(|job| self.transact(vec![job]));
                }
                Remedy::Repeat | Remedy::Reconnect | Remedy::GiveUp => {
                    log::error!(transaction = name; "a transaction failed: {}", failure.error);
                    return jobs
                        .into_iter()
                        .for_each(|job| job.answer(Err(failure.error.clone())));
                }
            }
        }
    }

    fn attempt(&mut self, jobs: &mut [Job]) -> Result<(), Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.url.connect().map_err(|error| Failure {
                remedy: Remedy::GiveUp,
                error: StoreError::Unavailable(error.to_string()),
                in_doubt: true,
            })?,
        };
        let outcome = transaction(&mut connection, jobs);
        // A connection that failed is replaced, unless it is known to be good again.
        let usable = match &outcome {
            Ok(()) => true,
            Err(failure) if failure.in_doubt || failure.remedy == Remedy::Reconnect => false,
            Err(_) => roll_back(&mut connection).is_ok(),
        };
        self.connection = usable.then_some(connection);
        outcome
    }
}

fn transaction(connection: &mut AnyConnection, jobs: &mut [Job]) -> Result<(), Failure> {
    let failed = |error: diesel::result::Error| Failure {
        remedy: Remedy::for_error(&error),
        error: StoreError::Unavailable(error.to_string()),
        in_doubt: false,
    };
    begin_writing(connection).map_err(failed)?;
    let alone = jobs.iter().any(Job::alone);
    take_turn(connection, alone).map_err(failed)?;

    let mut tx = Tx::new(connection);
    for segment in jobs.chunk_by_mut(|a, b| matches!((a, b), (Job::Issue(_), Job::Issue(_)))) {
        if let Err(error) = run(&mut tx, segment) {
            let remedy = tx.remedy.unwrap_or(Remedy::GiveUp);
            return Err(Failure {
                remedy,
                error,
                in_doubt: false,
            });
        }
    }
    commit(connection).map_err(|error| {
        let remedy = Remedy::for_error(&error);
        Failure {
            // Only of a conflict is it certain that nothing was kept.
            in_doubt: remedy != Remedy::Repeat,
            remedy,
            error: StoreError::Unavailable(error.to_string()),
        }
    })
}

/// Runs one change, or neighbouring orders as one batch.
fn run(tx: &mut Tx<'_>, segment: &mut [Job]) -> Result<(), StoreError> {
    if let [Job::Change(change)] = segment {
        change.run(tx);
        return match tx.remedy.take() {
            // Its savepoint is undone, and its own answer says why.
            None | Some(Remedy::GiveUp) => Ok(()),
            Some(remedy) => {
                tx.remedy = Some(remedy);
                Err(StoreError::Unavailable("interrupted".to_owned()))
            }
        };
    }
    let orders: Vec<&Order> = segment
        .iter()
        .flat_map(|job| match job {
            Job::Issue(job) => job.orders.as_slice(),
            Job::Change(_) => &[],
        })
        .collect();
    let mut outcomes = issue::decide_and_record(tx, &orders)?.into_iter();
    for job in segment {
        if let Job::Issue(job) = job {
            job.outcomes = Some(outcomes.by_ref().take(job.orders.len()).collect());
        }
    }
    Ok(())
}

/// Waits until no replica is doing what must not happen at the same time. The lock ends with the transaction.
fn take_turn(connection: &mut AnyConnection, alone: bool) -> QueryResult<()> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(()),
        AnyConnection::Postgres(c) => c.batch_execute(if alone {
            "SELECT pg_advisory_xact_lock(8468774)"
        } else {
            "SELECT pg_advisory_xact_lock_shared(8468774)"
        }),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has few jobs")]
fn size(jobs: usize) -> f64 {
    jobs as f64
}
