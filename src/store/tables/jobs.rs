//! Jobs: work whose result comes later. A row follows the progress of its job; it is not part of
//! the history of the inventory.

use diesel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use super::columns;
use crate::domain::clock::{Time, from_unix};
use crate::domain::jobs::{Job, JobFailure, JobState, UndoneJob};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::jobs;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = jobs)]
struct Row {
    id: String,
    state: String,
    format: String,
    ocns: String,
    spc: Option<String>,
    dry_run: bool,
    confirm: bool,
    caller: String,
    request_id: String,
    runner: String,
    bytes_total: i64,
    bytes_read: i64,
    lines_read: i64,
    result: Option<String>,
    failure_code: Option<String>,
    failure: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    heartbeat_at: i64,
    finished_at: Option<i64>,
    changed_rows: Option<i64>,
    undone_at: Option<i64>,
    undone_by: Option<String>,
    undo_reason: Option<String>,
}

impl From<&Job> for Row {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id.to_string(),
            state: job.state.as_str().to_owned(),
            format: job.format.clone(),
            ocns: job.ocns.join(","),
            spc: job.spc.as_ref().map(ToString::to_string),
            dry_run: job.dry_run,
            confirm: job.confirm,
            caller: job.caller.clone(),
            request_id: job.request_id.to_string(),
            runner: job.runner.to_string(),
            bytes_total: amount(job.bytes_total),
            bytes_read: amount(job.bytes_read),
            lines_read: amount(job.lines_read),
            result: job.result.as_ref().map(ToString::to_string),
            failure_code: job.failure.as_ref().map(|failure| failure.code.clone()),
            failure: job.failure.as_ref().map(|failure| failure.detail.clone()),
            created_at: job.created_at.timestamp(),
            started_at: columns::seconds(job.started_at),
            heartbeat_at: job.heartbeat_at.timestamp(),
            finished_at: columns::seconds(job.finished_at),
            changed_rows: job.changed_rows.map(amount),
            undone_at: job.undone.as_ref().map(|undone| undone.at.timestamp()),
            undone_by: job.undone.as_ref().map(|undone| undone.by.clone()),
            undo_reason: job.undone.as_ref().map(|undone| undone.reason.clone()),
        }
    }
}

impl TryFrom<Row> for Job {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let uuid = |text: &str| Uuid::parse_str(text).map_err(StoreError::corrupt);
        let amount = |value: i64| u64::try_from(value).map_err(StoreError::corrupt);
        let ocns = row.ocns.split(',').filter(|ocn| !ocn.is_empty());
        let spc = row.spc.as_deref().map(str::parse);
        let result = row.result.as_deref().map(serde_json::from_str);
        let failure = row.failure_code.map(|code| JobFailure {
            code,
            detail: row.failure.unwrap_or_default(),
        });
        Ok(Self {
            id: uuid(&row.id)?,
            state: row.state.parse().map_err(StoreError::corrupt)?,
            format: row.format,
            ocns: ocns.map(str::to_owned).collect(),
            spc: spc.transpose().map_err(StoreError::corrupt)?,
            dry_run: row.dry_run,
            confirm: row.confirm,
            caller: row.caller,
            request_id: uuid(&row.request_id)?,
            runner: uuid(&row.runner)?,
            bytes_total: amount(row.bytes_total)?,
            bytes_read: amount(row.bytes_read)?,
            lines_read: amount(row.lines_read)?,
            result: result.transpose().map_err(StoreError::corrupt)?,
            failure,
            created_at: from_unix(row.created_at),
            started_at: row.started_at.map(from_unix),
            heartbeat_at: from_unix(row.heartbeat_at),
            finished_at: row.finished_at.map(from_unix),
            changed_rows: row.changed_rows.map(amount).transpose()?,
            undone: row.undone_at.map(|at| UndoneJob {
                at: from_unix(at),
                by: row.undone_by.unwrap_or_default(),
                reason: row.undo_reason.unwrap_or_default(),
            }),
        })
    }
}

impl Tx<'_> {
    pub fn insert_job(&mut self, job: &Job) -> Result<(), StoreError> {
        let row = Row::from(job);
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(jobs::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    pub fn job(&mut self, id: Uuid) -> Result<Option<Job>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => jobs::table.find(id.to_string()).first::<Row>(c).optional())
        })?;
        row.map(TryInto::try_into).transpose()
    }

    /// A page of the jobs, in the order in which they were requested.
    pub fn list_jobs(&mut self, page: &Page) -> Result<PageOf<Job>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => jobs::table
                .filter(jobs::id.gt(page.after()))
                .order(jobs::id)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        page.of(rows, |row| row.id.clone())
    }

    /// Starts a queued job. Returns whether it was still queued.
    pub fn start_job(&mut self, id: Uuid, now: Time) -> Result<bool, StoreError> {
        let started = self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table
                .find(id.to_string())
                // A job that was marked as lost must not start.
                .filter(jobs::state.eq(JobState::Queued.as_str())))
                .set((
                    jobs::state.eq(JobState::Running.as_str()),
                    jobs::started_at.eq(now.timestamp()),
                    jobs::heartbeat_at.eq(now.timestamp()),
                ))
                .execute(c))
        })?;
        Ok(started == 1)
    }

    /// Updates the progress of a job.
    pub fn update_job_progress(
        &mut self,
        id: Uuid,
        bytes: u64,
        lines: u64,
    ) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table.find(id.to_string()))
                .set((jobs::bytes_read.eq(amount(bytes)), jobs::lines_read.eq(amount(lines))))
                .execute(c))
        })?;
        Ok(())
    }

    /// Records a heartbeat for all unfinished jobs of a process.
    pub fn record_job_heartbeats(&mut self, runner: Uuid, now: Time) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table
                .filter(jobs::finished_at.is_null())
                .filter(jobs::runner.eq(runner.to_string())))
                .set(jobs::heartbeat_at.eq(now.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }

    /// Ends a job. Returns whether it was unfinished; a job that was marked as lost stays lost.
    pub fn finish_job(
        &mut self,
        id: Uuid,
        state: JobState,
        result: Option<&impl Serialize>,
        failure: Option<&JobFailure>,
        now: Time,
    ) -> Result<bool, StoreError> {
        let result = result.map(serde_json::to_string).transpose();
        let result = result.map_err(StoreError::corrupt)?;
        let finished = self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table
                .find(id.to_string())
                .filter(jobs::finished_at.is_null()))
                .set((
                    jobs::state.eq(state.as_str()),
                    jobs::result.eq(&result),
                    jobs::failure_code.eq(failure.map(|failure| failure.code.as_str())),
                    jobs::failure.eq(failure.map(|failure| failure.detail.as_str())),
                    jobs::finished_at.eq(now.timestamp()),
                ))
                .execute(c))
        })?;
        Ok(finished == 1)
    }

    /// Records how many rows of the inventory a job changed.
    pub fn set_job_changes(&mut self, id: Uuid, rows: u64) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table.find(id.to_string()))
                .set(jobs::changed_rows.eq(amount(rows)))
                .execute(c))
        })?;
        Ok(())
    }

    /// Records that the changes of a job were undone. Returns whether they were not before.
    pub fn set_job_undone(&mut self, id: Uuid, undone: &UndoneJob) -> Result<bool, StoreError> {
        let changed = self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table
                .find(id.to_string())
                .filter(jobs::undone_at.is_null()))
                .set((
                    jobs::undone_at.eq(undone.at.timestamp()),
                    jobs::undone_by.eq(&undone.by),
                    jobs::undo_reason.eq(&undone.reason),
                ))
                .execute(c))
        })?;
        Ok(changed == 1)
    }

    /// Counts the unfinished jobs without a heartbeat since an instant.
    pub fn count_silent_jobs(&mut self, since: Time) -> Result<u64, StoreError> {
        let count: i64 = self.run(|connection| {
            on_either!(connection, c => jobs::table
                .filter(jobs::finished_at.is_null())
                .filter(jobs::heartbeat_at.lt(since.timestamp()))
                .count()
                .get_result(c))
        })?;
        u64::try_from(count).map_err(StoreError::corrupt)
    }

    /// Marks the unfinished jobs without a heartbeat since an instant as lost, and returns their
    /// ids.
    pub fn mark_silent_jobs_lost(
        &mut self,
        since: Time,
        failure: &JobFailure,
        now: Time,
    ) -> Result<Vec<Uuid>, StoreError> {
        let silent: Vec<String> = self.run(|connection| {
            on_either!(connection, c => jobs::table
                .filter(jobs::finished_at.is_null())
                .filter(jobs::heartbeat_at.lt(since.timestamp()))
                .select(jobs::id)
                .load(c))
        })?;
        self.run(|connection| {
            on_either!(connection, c => diesel::update(jobs::table
                .filter(jobs::id.eq_any(&silent)))
                .set((
                    jobs::state.eq(JobState::Lost.as_str()),
                    jobs::failure_code.eq(&failure.code),
                    jobs::failure.eq(&failure.detail),
                    jobs::finished_at.eq(now.timestamp()),
                ))
                .execute(c))
        })?;
        let ids = silent.iter().map(|id| Uuid::parse_str(id));
        ids.collect::<Result<_, _>>().map_err(StoreError::corrupt)
    }
}

/// A count, as its column stores it.
fn amount(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
