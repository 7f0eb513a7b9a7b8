//! Jobs: long-running work, such as an import over HTTP, whose result is fetched later.

use serde_json::Value;
use uuid::Uuid;

use super::clock::Time;
use super::numbers::spc::Spc;
use super::text::words::words;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Waiting to be started.
    Queued,
    Running,
    /// Finished and committed.
    Done,
    /// Failed; nothing was committed.
    Failed,
    /// Its process died; nothing was committed.
    Lost,
}

words! {
    /// The name in the API and the database.
    impl FromStr, Serialize for JobState {
        Queued = "queued",
        Running = "running",
        Done = "done",
        Failed = "failed",
        Lost = "lost",
    }
}

/// An import that runs in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: Uuid,
    pub state: JobState,
    /// The name of the table format.
    pub format: String,
    /// The carrier's OCNs: lines with these codes are its own.
    pub ocns: Vec<String>,
    pub spc: Option<Spc>,
    pub dry_run: bool,
    pub confirm: bool,
    /// The credential that requested it, such as the id of an API key.
    pub caller: String,
    pub request_id: Uuid,
    /// The process that runs it.
    pub runner: Uuid,
    pub bytes_total: u64,
    pub bytes_read: u64,
    pub lines_read: u64,
    /// What the import changed, or would change in a dry run.
    pub result: Option<Value>,
    pub failure: Option<JobFailure>,
    pub created_at: Time,
    pub started_at: Option<Time>,
    /// The last heartbeat of its process.
    pub heartbeat_at: Time,
    pub finished_at: Option<Time>,
    /// How many rows of the inventory it changed; `None` if that is not known, because it has not
    /// finished, or was imported before imports could be undone.
    pub changed_rows: Option<u64>,
    pub undone: Option<UndoneJob>,
}

/// That the changes of an import were undone, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneJob {
    pub at: Time,
    /// The credential that undid it, such as the id of an API key.
    pub by: String,
    pub reason: String,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    pub code: String,
    pub detail: String,
}
