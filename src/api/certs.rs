//! `GET /certs/{sha256}.pem`: the chains behind `x5u` (RFC 7515 §4.1.5), from memory.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::Service;
use super::problem::Problem;
use super::query::name;

/// Show the certificate chain of a signing key, leaf first.
#[utoipa::path(get, path = "/certs/{sha256}.pem", tag = "for everybody",
    params(("sha256" = String, Path, description = "SHA-256 of the file, in lower-case hex")),
    responses((status = 200, content_type = "application/pem-certificate-chain", body = String,
        description = "Certificates in PEM (RFC 8555 §9.1); what a name stands for never changes")))]
pub(super) async fn get_chain(
    service: Data<Service>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let chain = service.authority.published_chain(&name(&request)?);
    let chain = chain.ok_or_else(|| Problem::not_found("certificate chain"))?;
    Ok(HttpResponse::Ok()
        .content_type("application/pem-certificate-chain")
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(chain.to_vec()))
}
