//! The heartbeats of jobs while one of them is imported in many transactions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{ImportError, RunningJob};
use crate::authority::Authority;
use crate::store::Tx;
use crate::tables::TableError;

/// How often the jobs of a process get one.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the jobs of a process from being marked as lost while one of them runs, and ends that one
/// when the service stops.
pub(super) struct JobHeartbeats<'a> {
    authority: &'a Authority,
    job: Option<&'a RunningJob>,
    last: Instant,
}

impl<'a> JobHeartbeats<'a> {
    pub(super) fn of(authority: &'a Authority, job: Option<&'a RunningJob>) -> Self {
        let last = Instant::now();
        Self {
            authority,
            job,
            last,
        }
    }

    /// Writes a heartbeat if one is due.
    ///
    /// # Errors
    /// [`TableError::Stopped`] if the service stops.
    pub(super) async fn beat(&mut self) -> Result<(), ImportError> {
        let Some(job) = self.job else {
            return Ok(());
        };
        if job.stopping.load(Ordering::SeqCst) {
            return Err(TableError::Stopped.into());
        }
        if self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            let (runner, now) = (job.runner, self.authority.now());
            let beat = move |tx: &mut Tx<'_>| tx.record_job_heartbeats(runner, now);
            self.authority.store().write_alongside("job", beat).await?;
        }
        Ok(())
    }
}
