//! `/v1/jobs`: the state and the results of imports, which run in the background, and how to undo
//! one.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::{Provisioner, Reader};
use crate::api::http::body::Body;
use crate::api::http::database_wait::blocking;
use crate::api::http::idempotency::change;
use crate::api::http::mistake::JobMistakeBody;
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::import::ImportResult;
use crate::authority::{ChangeRequester, UndoResult};
use crate::domain::jobs::{Job, JobFailure, JobState};

/// An import. Over HTTP it runs in the background.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(in crate::api) struct JobView {
    id: Uuid,
    /// queued, running, done, failed, or lost if its process died
    #[schema(value_type = String, example = "done")]
    state: JobState,
    #[schema(example = "nanp-blocks")]
    format: String,
    /// The carrier's codes in the table; only lines with one of them are imported.
    ocns: Vec<String>,
    spc: Option<String>,
    dry_run: bool,
    confirm: bool,
    progress: ProgressView,
    /// What the import changed, or would change in a dry run; null until the job has finished. If
    /// the job failed, the refused lines.
    #[schema(value_type = Option<ImportResult>)]
    result: Option<Value>,
    /// Why the job failed; null otherwise. A failed job changes nothing.
    failure: Option<FailureView>,
    /// The id of the credential that started the job.
    caller: String,
    request_id: Uuid,
    created_at: Instant,
    started_at: Option<Instant>,
    finished_at: Option<Instant>,
    /// When its changes were undone; null if they were not.
    undone_at: Option<Instant>,
    /// The id of the credential that undid them.
    undone_by: Option<String>,
    undo_reason: Option<String>,
}

/// How far the job has read the table.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressView {
    bytes_read: u64,
    bytes_total: u64,
    lines_read: u64,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobFailure)]
struct FailureView {
    /// A stable code for programs; `detail` is text for people.
    #[schema(example = "refused-lines")]
    code: String,
    detail: String,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let (undone_at, undone) = match job.undone {
            Some(undone) => (Some(Instant(undone.at)), Some((undone.by, undone.reason))),
            None => (None, None),
        };
        let (undone_by, undo_reason) = undone.unzip();
        Self {
            id: job.id,
            state: job.state,
            format: job.format,
            ocns: job.ocns,
            spc: job.spc.map(|spc| spc.to_string()),
            dry_run: job.dry_run,
            confirm: job.confirm,
            progress: ProgressView {
                bytes_read: job.bytes_read,
                bytes_total: job.bytes_total,
                lines_read: job.lines_read,
            },
            result: job.result,
            failure: job.failure.map(FailureView::from),
            caller: job.caller,
            request_id: job.request_id,
            created_at: job.created_at.into(),
            started_at: job.started_at.map(Instant),
            finished_at: job.finished_at.map(Instant),
            undone_at,
            undone_by,
            undo_reason,
        }
    }
}

impl From<JobFailure> for FailureView {
    fn from(failure: JobFailure) -> Self {
        Self {
            code: failure.code,
            detail: failure.detail,
        }
    }
}

/// List jobs, oldest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "inventory", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<JobView>, description = "A page of jobs")))]
pub(in crate::api) async fn list_jobs(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.jobs(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, JobView::from)))
}

/// Show one job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The job")),
    responses((status = 200, body = JobView, description = "The job, with its current state")))]
pub(in crate::api) async fn get_job(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "job")?;
    let found = blocking(move || service.authority.job(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(JobView::from(found)))
}

/// Undo an import as a whole: the table was wrong.
///
/// Every row that the import changed is as before, or nothing changes. Grants for what it had added
/// are withdrawn; those that it withdrew stay so, since their subscribers have been notified.
#[utoipa::path(post, path = "/v1/jobs/{id}/undo", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The job")),
    request_body = JobMistakeBody,
    responses(
        (status = 200, body = UndoResult, description = "What was undone, or would be"),
        (status = 409, description = "It changed nothing, was undone already, or something that happened since conflicts with it"),
    ))]
pub(in crate::api) async fn undo_job(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "job")?;
    let (mistake, dry_run) = body.read::<JobMistakeBody>().await?.mistake()?;
    if dry_run {
        // Changes nothing, so it can be repeated without a key.
        let would = blocking(move || service.authority.try_undo_import(&caller, id)).await??;
        return Ok(HttpResponse::Ok().json(UndoResult::from(&would)));
    }
    let view = |undone| HttpResponse::Ok().json(UndoResult::from(&undone));
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.undo_import(by, id, mistake).await;
    change(&service, &request, &caller, view, verb).await
}
