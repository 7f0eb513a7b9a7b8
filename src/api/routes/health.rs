//! `/healthz`, `/readyz`, and for operators alone `/metrics`.

use actix_web::HttpResponse;
use actix_web::web::{self, Data};

use crate::api::Service;
use crate::api::problem::Problem;

/// Whether the process serves at all.
#[utoipa::path(get, path = "/healthz", tag = "for everybody",
    responses((status = 200, content_type = "text/plain", body = String, description = "It does", example = "alive")))]
pub(in crate::api) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("alive\n")
}

/// Whether a token could be issued now.
#[utoipa::path(get, path = "/readyz", tag = "for everybody",
    responses((status = 200, content_type = "text/plain", body = String, description = "It could", example = "ready")))]
pub(in crate::api) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    // Whatever is missing may come back; what it is stands in the log.
    web::block(move || service.authority.ready())
        .await?
        .map_err(|e| Problem::unavailable(&e))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ready\n"))
}

/// All metrics, for Prometheus.
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
