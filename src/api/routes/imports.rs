//! `/v1/imports`: a table is taken onto disk, and becomes a job.

use std::fs::File;
use std::future::poll_fn;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::pin::Pin;

use actix_web::http::header::{self, HeaderMap};
use actix_web::rt::time::timeout;
use actix_web::web::{self, BytesMut, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::jobs::JobView;
use crate::api::Service;
use crate::api::http::authentication::Provisioner;
use crate::api::http::idempotency::{Digesting, change};
use crate::api::http::query::query;
use crate::api::problem::Problem;
use crate::authority::ChangeRequester;
use crate::authority::import::ImportOptions;
use crate::domain::jobs::Job;
use crate::tables::TableRequest;

/// How much is gathered before it goes to the disk.
const PIECE: usize = 1 << 20;
const MEDIA_TYPES: [&str; 4] = [
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/octet-stream",
];

/// What to import, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ImportQuery {
    /// nanp-blocks, nanpa-thousands, nanpa-codes, arcep-majnum, allocations, delegations or exclusions
    #[param(example = "nanp-blocks")]
    format: String,
    /// The codes whose lines are the carrier's, with commas; of formats that list all carriers.
    #[param(example = "073H")]
    ocn: Option<String>,
    /// The service provider code that holds the numbers.
    #[param(example = "073H")]
    spc: Option<String>,
    /// Only say what would be done.
    #[param(default = false)]
    dry_run: Option<bool>,
    /// The difference is right, also if much ends.
    #[param(default = false)]
    confirm: Option<bool>,
}

/// Import a table.
///
/// The answer is a job: what becomes of it stands there. All of the table is imported, or nothing of it.
#[utoipa::path(post, path = "/v1/imports", tag = "inventory", security(("bearer" = [])), params(ImportQuery),
    request_body(
        content((String = "text/csv"), (String = "text/plain"), (String = "text/tab-separated-values"),
            (Vec<u8> = "application/octet-stream")),
        description = "The table, as it is",
    ),
    responses(
        (status = 202, body = JobView, description = "It is queued; `Location` names the job",
            headers(("Location" = String, description = "`/v1/jobs/{id}`"))),
        (status = 413, description = "The table is longer than this service takes"),
        (status = 415, description = "The table is neither text nor bytes, or it is compressed"),
    ))]
pub(in crate::api) async fn start_import(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let asked: ImportQuery = query(&request)?;
    let wanted = asked.wanted()?;
    service.jobs.check(&caller, &wanted)?;
    must_be_a_table(request.headers())?;
    let uploads = &service.uploads;
    must_not_announce_more(request.headers(), uploads.max_bytes)?;
    let place = service.jobs.place()?;
    let file = take(body, &request, &service).await?;
    let consent = ImportOptions {
        dry_run: asked.dry_run.unwrap_or_default(),
        confirm: asked.confirm.unwrap_or_default(),
        max_ended_ppm: uploads.max_ended_ppm,
    };
    let view = |job: Job| {
        let location = (header::LOCATION, format!("/v1/jobs/{}", job.id));
        HttpResponse::Accepted()
            .insert_header(location)
            .json(JobView::from(job))
    };
    let verb = async |by: ChangeRequester<'_, _>| {
        service.jobs.submit(by, wanted, consent, file, place).await
    };
    change(&service, &request, &caller, view, verb).await
}

impl ImportQuery {
    fn wanted(&self) -> Result<TableRequest, Problem> {
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
            "a table is text/csv, text/plain, text/tab-separated-values or application/octet-stream, and its Content-Type \
             says so",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::media_type("a table is not compressed"));
    }
    Ok(())
}

fn must_not_announce_more(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > limit => Err(Problem::too_large(limit)),
        _ => Ok(()),
    }
}

/// Takes the body onto disk, in a file without a name: it is gone with the process, whatever happens.
async fn take(
    mut body: web::Payload,
    request: &HttpRequest,
    service: &Data<Service>,
) -> Result<(File, u64), Problem> {
    let (dir, limit) = (service.uploads.dir.clone(), service.uploads.max_bytes);
    let mut digesting = Digesting::of(request);
    let failed = |error: std::io::Error| {
        Problem::unavailable(&format_args!("the table cannot be kept on disk: {error}"))
    };
    let mut file = web::block(move || tempfile::tempfile_in(dir))
        .await?
        .map_err(failed)?;
    let (mut taken, mut piece) = (0_u64, BytesMut::new());
    loop {
        let next = poll_fn(|context| {
            let body = Pin::new(&mut body);
            futures_core::Stream::poll_next(body, context)
        });
        let next = timeout(service.request_timeout, next).await;
        let next = next
            .map_err(|_| Problem::too_slow())?
            .transpose()
            .map_err(|_| {
                Problem::malformed(
                    "malformed-body",
                    "the table broke off, or is not in the transfer coding that it announces",
                )
            })?;
        let over = next.is_none();
        if let Some(bytes) = next {
            taken += bytes.len() as u64;
            if taken > limit {
                return Err(Problem::too_large(limit));
            }
            digesting.take(&bytes);
            piece.extend_from_slice(&bytes);
        }
        if over || piece.len() >= PIECE {
            let full = piece.split();
            let written = web::block(move || {
                file.write_all(&full)?;
                if over {
                    file.seek(SeekFrom::Start(0))?;
                }
                Ok(file)
            });
            file = written.await?.map_err(failed)?;
        }
        if over {
            digesting.done(request);
            return Ok((file, taken));
        }
    }
}
