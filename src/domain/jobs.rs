//! Jobs: long work that is answered later, such as an import over HTTP.

use serde_json::Value;
use uuid::Uuid;

use super::clock::Time;
use super::numbers::spc::Spc;
use super::words::words;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    Running,
    /// All of it is done, and committed.
    Done,
    /// Nothing of it is kept.
    Failed,
    /// Its process is gone, and nothing of it is kept.
    Lost,
}

words! {
    /// The word of the API and of the database.
    impl FromStr, Serialize for JobState {
        Queued = "queued",
        Running = "running",
        Done = "done",
        Failed = "failed",
        Lost = "lost",
    }
}

/// An import that runs by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: Uuid,
    pub state: JobState,
    /// The word of the table's format.
    pub format: String,
    /// The codes whose lines are the carrier's.
    pub ocns: Vec<String>,
    pub spc: Option<Spc>,
    pub dry_run: bool,
    pub confirm: bool,
    /// What proved who asked.
    pub caller: String,
    pub request_id: Uuid,
    /// The process that does it.
    pub runner: Uuid,
    pub bytes_total: u64,
    pub bytes_read: u64,
    pub lines_read: u64,
    /// What was done, or would be.
    pub result: Option<Value>,
    pub failure: Option<JobFailure>,
    pub created_at: Time,
    pub started_at: Option<Time>,
    /// When its process last said that it is alive.
    pub heartbeat_at: Time,
    pub finished_at: Option<Time>,
}

/// Why nothing of a job is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    pub code: String,
    pub detail: String,
}
