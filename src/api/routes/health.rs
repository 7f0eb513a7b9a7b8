//! `/healthz` and `/readyz`; and `/metrics`, on the operations listener only.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};

use crate::api::Service;
use crate::api::problem::Problem;

/// Report whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "for everybody",
    responses((status = 200, content_type = "text/plain", body = String, description = "The process is alive", example = "alive")))]
pub(in crate::api) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("alive\n")
}

/// Report whether tokens can be issued now.
#[utoipa::path(get, path = "/readyz", tag = "for everybody",
    responses((status = 200, content_type = "text/plain", body = String, description = "Tokens can be issued", example = "ready")))]
pub(in crate::api) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    // The answer does not name the cause to everybody; the log does.
    ready_to_issue(service).await
}

/// As [`ready`], for operators: names the background tasks that have ended.
pub(in crate::api) async fn ready_for_operators(
    service: Data<Service>,
) -> Result<HttpResponse, Problem> {
    let ended = service.authority.ended_tasks().join(", ");
    ready_to_issue(service).await.map_err(|problem| {
        if ended.is_empty() {
            problem
        } else {
            problem.with_detail(format_args!(
                "background tasks have ended: {ended}; restart the service"
            ))
        }
    })
}

/// Whether tokens can be issued, on current policies and certificates. 503 if not, since the cause
/// can be temporary.
async fn ready_to_issue(service: Data<Service>) -> Result<HttpResponse, Problem> {
    let ended = service.authority.ended_tasks();
    if !ended.is_empty() {
        let cause = format_args!("background tasks have ended: {}", ended.join(", "));
        return Err(Problem::unavailable(&cause));
    }
    web::block(move || service.authority.ready())
        .await?
        .map_err(|e| Problem::unavailable(&e))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ready\n"))
}

/// All metrics, in the format of Prometheus.
pub(in crate::api) async fn metrics(service: Data<Service>) -> Result<HttpResponse, Problem> {
    let text = service
        .authority
        .metrics()
        .render()
        .map_err(|e| Problem::internal(&e))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}
