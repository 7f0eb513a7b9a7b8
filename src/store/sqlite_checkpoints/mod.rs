//! Copies the log of an SQLite database into its file while the writer continues. SQLite itself
//! would do it in a COMMIT, for which all requests of that batch wait.
//!
//! A copy without locks is not complete while the writer adds to the log, and the log begins anew
//! only after a complete one. So what is left, which is little, is copied in a turn of the
//! writer's. If this thread fails, the writer does it after all (`wal_autocheckpoint`).

mod log_copier;
mod written_jobs;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connector::DatabaseConnector;
use super::error::OpenError;
use super::sqlite_file::SqliteFile;
use super::sqlite_locks::WriteTurns;
use crate::telemetry::Metrics;
use log_copier::LogCopier;
pub(super) use written_jobs::WrittenJobs;

/// How long a stop waits for a copy to end.
const MAX_STOP_TIME: Duration = Duration::from_secs(10);

/// The thread that copies the log.
#[derive(Debug)]
pub(super) struct Checkpoints {
    written: Arc<WrittenJobs>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, which opens a connection once there is something to copy.
    pub(super) fn start(
        connector: DatabaseConnector,
        file: Arc<SqliteFile>,
        turns: WriteTurns,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let written = Arc::new(WrittenJobs::default());
        let mut log = LogCopier::new(connector, file, turns, Arc::clone(metrics));
        let task = metrics.background.start("checkpoints");
        let shared = Arc::clone(&written);
        let thread = thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                let mut earliest = Instant::now();
                while shared.wait(earliest) {
                    let pause = log.run(&task);
                    earliest = Instant::now() + pause;
                }
                task.stop();
            })?;
        Ok(Self {
            written,
            thread: Some(thread),
        })
    }

    pub(super) fn written(&self) -> Arc<WrittenJobs> {
        Arc::clone(&self.written)
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.written.stop();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let started = Instant::now();
        while !thread.is_finished() && started.elapsed() < MAX_STOP_TIME {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}
