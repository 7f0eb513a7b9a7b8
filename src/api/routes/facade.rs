//! A facade with the API of an STI-PA (ATIS-1000080), for clients that support no other: a login,
//! and a token endpoint for the access token that it returns.
//!
//! It adds no rules of its own: requests are decided as at the token endpoint. While it is off,
//! which is the default, its routes do not exist.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::token::{AtcTokenBody, issue, token_request};
use crate::api::Service;
use crate::api::http::authentication::{authenticate_with, rate_limited};
use crate::api::http::body::Body;
use crate::api::problem::Problem;
use crate::authority::Issued;
use crate::callers::Callers;

/// The settings of the facade.
#[derive(Debug)]
pub struct Facade {
    /// The CRL of the signing certificates, which clients download.
    crl_url: String,
    /// The lifetime of an access token, in seconds.
    access_lifetime: u32,
}

impl Facade {
    /// A facade that gives its clients this CRL, and access tokens with this lifetime in seconds.
    #[must_use]
    pub const fn new(crl_url: String, access_lifetime: u32) -> Self {
        Self {
            crl_url,
            access_lifetime,
        }
    }
}

/// The credentials of a login.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FacadeLogin)]
pub(in crate::api) struct LoginBody {
    /// The id of an API key, which is its middle part.
    #[serde(rename = "userId")]
    #[schema(example = "5f2b1c2e7a7e4a0e")]
    user_id: String,
    /// The secret of the key, which is its last part; or the whole key.
    password: String,
}

/// The response to a login.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeAccess)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AccessView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// To be sent in `Authorization` as it is, without a scheme.
    access_token: String,
}

/// An authority token, in the format of an STI-PA.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeToken)]
pub(in crate::api) struct SpcTokenView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// The JWT, in compact serialization.
    token: String,
    /// The URL of the CRL for the certificates that sign such tokens.
    #[schema(format = "uri")]
    crl: String,
}

/// Log in with an API key, as at an STI-PA.
///
/// The facade is off by default; then the answer is 404.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "facade", request_body = LoginBody,
    responses(
        (status = 200, body = AccessView, description = "An access token"),
        (status = 403, description = "The credentials are not valid; the response does not say why"),
        (status = 404, description = "The facade is off"),
    ),
)]
pub(in crate::api) async fn log_in(
    service: Data<Service>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let seconds = facade(&service)?.access_lifetime;
    let LoginBody { user_id, password } = body.read().await?;
    let log_in = move |callers: &Callers, credentials: &_, id| {
        callers.log_in(credentials, (&user_id, &password), seconds, id)
    };
    let (caller, access) = authenticate_with(&request, log_in).await?;
    rate_limited(&service, caller)?;
    Ok(HttpResponse::Ok().json(AccessView {
        status: "success",
        message: "logged in",
        access_token: access.token,
    }))
}

/// Issue an authority token, as at an STI-PA.
///
/// `Authorization` is the access token without a scheme, and the request is in the member `atc`. It
/// is decided as at the token endpoint. The facade is off by default; then the answer is 404.
#[utoipa::path(
    post, path = "/api/v1/account/{id}/token", tag = "facade", security(("facade" = [])),
    params(("id" = String, Path, description = "The account", example = "carrier")),
    request_body = AtcTokenBody,
    responses(
        (status = 200, body = SpcTokenView, description = "The token, which is recorded in the ledger"),
        (status = 404, description = "The facade is off"),
    ),
)]
pub(in crate::api) async fn issue_spc_token(
    service: Data<Service>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let facade = facade(&service)?;
    let caller = rate_limited(
        &service,
        authenticate_with(&request, Callers::authenticate_access_token).await?,
    )?;
    let AtcTokenBody { atc } = body.read().await?;
    let order = token_request(&service.authority, atc)?;
    let crl = facade.crl_url.clone();
    let view = |issued: Issued| {
        HttpResponse::Ok().json(SpcTokenView {
            status: "success",
            message: "the token was issued",
            token: issued.token,
            crl,
        })
    };
    issue(&service, &request, caller, order, view).await
}

/// Its settings, or 404 as for any unknown route while it is off.
fn facade(service: &Service) -> Result<&Facade, Problem> {
    service.facade.as_ref().ok_or_else(Problem::no_such_route)
}
