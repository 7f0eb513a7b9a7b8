//! `/v1/imports`: stores an uploaded table on disk, and queues a job that imports it.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, BytesMut, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::jobs::JobView;
use crate::api::Service;
use crate::api::http::authentication::Provisioner;
use crate::api::http::body::BinaryBody;
use crate::api::http::idempotency::{Digesting, change};
use crate::api::http::query::query;
use crate::api::http::upload::UploadPace;
use crate::api::problem::Problem;
use crate::authority::ChangeRequester;
use crate::authority::import::{ImportError, ImportOptions};
use crate::domain::jobs::Job;
use crate::tables::TableRequest;

/// How many bytes are buffered before they are written to disk.
const CHUNK_BYTES: usize = 1 << 20;
const MEDIA_TYPES: [&str; 4] = [
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/octet-stream",
];

/// Which table to import, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ImportQuery {
    /// The table's format: nanp-blocks, nanpa-thousands, nanpa-codes, arcep-majnum, allocations,
    /// delegations or exclusions
    #[param(example = "nanp-blocks")]
    format: String,
    /// The carrier's codes in the table, such as OCNs, separated by commas. Required by formats
    /// that list all carriers: only lines with one of these codes are imported.
    #[param(example = "073H")]
    ocn: Option<String>,
    /// The service provider code that holds the imported numbers.
    #[param(example = "073H")]
    spc: Option<String>,
    /// Only report what the import would change.
    #[param(default = false)]
    dry_run: Option<bool>,
    /// Apply the changes even if more numbers end than the service allows without confirmation.
    #[param(default = false)]
    confirm: Option<bool>,
    /// Exclude numbers although the carrier holds none of those of a line, now or later: for
    /// `exclusions`.
    #[param(default = false)]
    force: Option<bool>,
}

/// Import a table.
///
/// The answer is a job, which runs in the background; poll it for the result. The table is imported
/// in full or not at all.
#[utoipa::path(post, path = "/v1/imports", tag = "inventory", security(("bearer" = [])), params(ImportQuery),
    request_body(
        content((inline(BinaryBody) = "application/octet-stream"), (inline(BinaryBody) = "text/csv"),
            (inline(BinaryBody) = "text/plain"), (inline(BinaryBody) = "text/tab-separated-values")),
        description = "The table, unchanged",
    ),
    responses(
        (status = 202, body = JobView, description = "The import is queued; `Location` names the job",
            headers(("Location" = String, description = "`/v1/jobs/{id}`"))),
        (status = 408, description = "The table arrives too slowly"),
        (status = 413, description = "The table is larger than this service accepts"),
        (status = 415, description = "The table has an unsupported media type, or is compressed"),
    ))]
pub(in crate::api) async fn start_import(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let params: ImportQuery = query(&request)?;
    let table = params.table_request()?;
    service.jobs.check(&caller, &table)?;
    let uploads = &service.uploads;
    let options = ImportOptions {
        dry_run: params.dry_run.unwrap_or_default(),
        confirm: params.confirm.unwrap_or_default(),
        force: params.force.unwrap_or_default(),
        max_ended_ppm: uploads.max_ended_ppm,
    };
    options.check(table.format).map_err(ImportError::from)?;
    must_be_a_table(request.headers())?;
    // Refuse a table that is too large before its upload, if its length is known.
    must_not_declare_more(request.headers(), uploads.max_bytes)?;
    // Reserve a slot before the upload, so that the disk never holds more tables than jobs can run.
    let share = uploads.shares.take(&caller.id).ok_or_else(|| {
        Problem::unavailable(
            &"the caller uploads as many tables as one caller may at the same time",
        )
    })?;
    let slot = service.jobs.place()?;
    let file = receive(body, &request, &service).await?;
    drop(share);
    let view = |job: Job| {
        let location = (header::LOCATION, format!("/v1/jobs/{}", job.id));
        HttpResponse::Accepted()
            .insert_header(location)
            .json(JobView::from(job))
    };
    let verb = async |by: ChangeRequester<'_, _>| {
        service.jobs.submit(by, table, options, file, slot).await
    };
    change(&service, &request, &caller, view, verb).await
}

impl ImportQuery {
    fn table_request(&self) -> Result<TableRequest, Problem> {
        let wrong = |name: &str, error: &dyn std::fmt::Display| {
            Problem::malformed("malformed-query", format_args!("`{name}`: {error}"))
        };
        let ocns = self.ocn.iter().flat_map(|ocns| ocns.split(','));
        let spc = self.spc.as_deref().map(str::parse).transpose();
        Ok(TableRequest {
            format: self.format.parse().map_err(|e| wrong("format", &e))?,
            ocns: ocns.map(str::to_owned).collect(),
            spc: spc.map_err(|e| wrong("spc", &e))?,
        })
    }
}

fn must_be_a_table(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE);
    let essence = match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().unwrap_or_default(),
        _ => "",
    };
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if !MEDIA_TYPES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
    {
        return Err(Problem::media_type(
            "the `Content-Type` of a table must be text/csv, text/plain, text/tab-separated-values or \
             application/octet-stream",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::media_type(
            "a table must be uncompressed; send it without `Content-Encoding`",
        ));
    }
    Ok(())
}

fn must_not_declare_more(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > limit => Err(Problem::too_large(limit)),
        _ => Ok(()),
    }
}

/// Writes the body to an unnamed temporary file, which the system deletes when the process exits,
/// even after a crash. Returns the file and its length.
async fn receive(
    mut body: web::Payload,
    request: &HttpRequest,
    service: &Data<Service>,
) -> Result<(File, u64), Problem> {
    let (dir, limit) = (service.uploads.dir.clone(), service.uploads.max_bytes);
    let mut digesting = Digesting::of(request);
    let failed = |error: std::io::Error| {
        Problem::unavailable(&format_args!(
            "the table cannot be written to disk: {error}"
        ))
    };
    let mut file = web::block(move || tempfile::tempfile_in(dir))
        .await?
        .map_err(failed)?;
    let mut pace = UploadPace::new(service.request_timeout, service.uploads.min_rate);
    let (mut received, mut chunk) = (0_u64, BytesMut::new());
    loop {
        let next = pace.next(&mut body, received).await?;
        let is_last = next.is_none();
        if let Some(bytes) = next {
            received += bytes.len() as u64;
            if received > limit {
                return Err(Problem::too_large(limit));
            }
            digesting.take(&bytes);
            chunk.extend_from_slice(&bytes);
        }
        if is_last || chunk.len() >= CHUNK_BYTES {
            let full = chunk.split();
            // File I/O blocks, so it must not run on the thread that serves connections.
            let written = web::block(move || {
                file.write_all(&full)?;
                if is_last {
                    file.seek(SeekFrom::Start(0))?;
                }
                Ok(file)
            });
            file = written.await?.map_err(failed)?;
        }
        if is_last {
            digesting.done(request);
            return Ok((file, received));
        }
    }
}
