//! One transaction of the writer: what is done in it, and in which order.

use std::time::{Duration, Instant};

use super::super::connection::AnyConnection;
use super::super::error::{Remedy, StoreError};
use super::super::locks::Hold;
use super::super::mint::{self, MintMemory, StagedMemory};
use super::super::timeouts::TransactionKind;
use super::super::tx::Tx;
use super::database::BatchFailure;
use super::job::{QueuedJob, WriteJob};
use super::thread::WriterThread;
use crate::domain::issuance::MintOrder;

/// After this time, a transaction starts no further jobs of its batch.
const MAX_RUNTIME: Duration = Duration::from_millis(100);

/// What became of a transaction.
pub(super) enum BatchOutcome {
    /// It was committed, with so many of its jobs; `took` is without the wait for the lock.
    Committed { done: usize, took: Duration },
    /// Nothing was done, since the lock was not obtained in time.
    Locked(Hold),
}

/// How long the transaction of these jobs may take.
pub(super) fn kind_of(jobs: &[(String, QueuedJob)]) -> TransactionKind {
    let mut kinds = jobs.iter().map(|(_, queued)| queued.job.kind());
    if kinds.clone().any(|kind| kind == TransactionKind::Long) {
        TransactionKind::Long
    } else if kinds.all(|kind| kind == TransactionKind::Mint) {
        TransactionKind::Mint
    } else {
        TransactionKind::Request
    }
}

/// Runs the jobs in a transaction and commits it.
pub(super) fn run(
    writer: &WriterThread,
    connection: &mut AnyConnection,
    jobs: &mut [(String, QueuedJob)],
    staged: &mut StagedMemory,
    repeats_unknown: bool,
) -> Result<BatchOutcome, BatchFailure> {
    let exclusive = jobs.iter().any(|(_, queued)| queued.job.is_exclusive());
    let hold = if exclusive {
        Hold::Exclusive
    } else {
        Hold::Shared
    };
    writer.waits();
    let (begun, has_lock) = writer.database.begin(connection, kind_of(jobs), hold)?;
    if !has_lock
        && !writer
            .database
            .wait_for_lock(connection, hold, writer.refused_since)?
    {
        return Ok(BatchOutcome::Locked(hold));
    }
    writer.has_answer();

    let (mut tx, mut done, started) = (Tx::new(connection), 0, Instant::now());
    let both_issue = |a: &(String, QueuedJob), b: &(String, QueuedJob)| {
        matches!(
            (&a.1.job, &b.1.job),
            (WriteJob::Issue(_), WriteJob::Issue(_))
        )
    };
    for segment in jobs.chunk_by_mut(both_issue) {
        let some = run_segment(&mut tx, segment, &writer.memory, staged, repeats_unknown);
        let some = some.map_err(|error| BatchFailure {
            remedy: tx.remedy.unwrap_or(Remedy::GiveUp),
            error,
            begun: true,
        })?;
        done += some;
        if some < segment.len() || started.elapsed() > MAX_RUNTIME {
            break;
        }
    }
    must_still_be_wanted(writer, &jobs[..done])?;
    writer.waits();
    writer.database.commit(connection, begun)?;
    let took = started.elapsed();
    Ok(BatchOutcome::Committed { done, took })
}

/// What was answered with 503 meanwhile must not be done afterwards. A grant is harmless without
/// its token, though, and is kept with those of others.
fn must_still_be_wanted(
    writer: &WriterThread,
    done: &[(String, QueuedJob)],
) -> Result<(), BatchFailure> {
    if !writer.is_current() {
        return Err(BatchFailure::of_all(StoreError::Busy));
    }
    let mut changes = done.iter().filter(|(_, queued)| match &queued.job {
        WriteJob::Issue(_) => false,
        WriteJob::Change(_) => true,
    });
    if changes.any(|(_, queued)| queued.job.is_answered()) {
        return Err(BatchFailure {
            remedy: Remedy::Repeat,
            error: StoreError::Busy,
            begun: true,
        });
    }
    Ok(())
}

/// Runs one change, or adjacent orders as one batch. Returns how many of the jobs are done: at
/// least the first.
fn run_segment(
    tx: &mut Tx<'_>,
    segment: &mut [(String, QueuedJob)],
    memory: &MintMemory,
    staged: &mut StagedMemory,
    repeats_unknown: bool,
) -> Result<usize, StoreError> {
    if let [
        (
            _,
            QueuedJob {
                job: WriteJob::Change(change),
                ..
            },
        ),
    ] = segment
    {
        change.run(tx);
        return match tx.remedy.take() {
            // If it failed, its savepoint is already rolled back and its answer carries the reason.
            None | Some(Remedy::GiveUp) => Ok(1),
            Some(Remedy::RepeatOnce) if !repeats_unknown => Ok(1),
            Some(remedy) => {
                tx.remedy = Some(remedy);
                Err(StoreError::Unavailable("interrupted".to_owned()))
            }
        };
    }
    let orders: Vec<&MintOrder> = segment
        .iter()
        .filter_map(|(_, queued)| match &queued.job {
            WriteJob::Issue(job) => Some(&job.order),
            WriteJob::Change(_) => None,
        })
        .collect();
    let all = mint::decide_and_record(tx, &orders, memory, staged)?;
    let done = all.len();
    for ((_, queued), decided) in segment.iter_mut().zip(all) {
        if let WriteJob::Issue(job) = &mut queued.job {
            job.decided = Some(decided);
        }
    }
    Ok(done)
}
