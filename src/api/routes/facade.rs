//! A facade in the shape of an STI-PA (ATIS-1000080), for clients that speak nothing else: a login, and a token for it.
//!
//! It decides nothing by itself: what is asked here is issued as at the token endpoint. Off by default; then none of it is
//! there.

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

/// How the facade is set up.
#[derive(Debug)]
pub struct Facade {
    /// Where the certificates of the tokens are revoked; clients download it.
    crl_url: String,
    /// Seconds that an access token lives.
    access_lifetime: u32,
}

impl Facade {
    /// A facade whose clients learn of this CRL, and whose access tokens live for so many seconds.
    #[must_use]
    pub const fn new(crl_url: String, access_lifetime: u32) -> Self {
        Self {
            crl_url,
            access_lifetime,
        }
    }
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FacadeLogin)]
pub(in crate::api) struct LoginBody {
    /// The id of an API key: its middle part.
    #[serde(rename = "userId")]
    #[schema(example = "5f2b1c2e7a7e4a0e")]
    user_id: String,
    /// The secret of the key, its last part; or the whole key.
    password: String,
}

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeAccess)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct AccessView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// Stands in `Authorization` as it is, without a scheme.
    access_token: String,
}

/// A token in the shape of an STI-PA.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeToken)]
pub(in crate::api) struct SpcTokenView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// The JWT, in compact serialization.
    token: String,
    /// Where the certificates of such tokens are revoked.
    #[schema(format = "uri")]
    crl: String,
}

/// Log in with an API key, as at an STI-PA. Off by default; then it is answered 404.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "facade", request_body = LoginBody,
    responses(
        (status = 200, body = AccessView, description = "An access token"),
        (status = 403, description = "The credentials prove nobody; who logs in is not told why"),
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
    let log_in = move |callers: &Callers, offered: &_, id| {
        callers.log_in(offered, (&user_id, &password), seconds, id)
    };
    let (caller, access) = authenticate_with(&request, log_in).await?;
    rate_limited(&service, caller)?;
    Ok(HttpResponse::Ok().json(AccessView {
        status: "success",
        message: "logged in",
        access_token: access.token,
    }))
}

/// Issue an authority token, as at an STI-PA: the raw access token in `Authorization`, the request under `atc`. Decided as
/// at the token endpoint. Off by default; then it is answered 404.
#[utoipa::path(
    post, path = "/api/v1/account/{id}/token", tag = "facade", security(("facade" = [])),
    params(("id" = String, Path, description = "The account", example = "carrier")),
    request_body = AtcTokenBody,
    responses(
        (status = 200, body = SpcTokenView, description = "The token, which is in the ledger"),
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
    let wanted = token_request(&service.authority, atc)?;
    let crl = facade.crl_url.clone();
    let view = |issued: Issued| {
        HttpResponse::Ok().json(SpcTokenView {
            status: "success",
            message: "the token was issued",
            token: issued.token,
            crl,
        })
    };
    issue(&service, &request, caller, wanted, view).await
}

fn facade(service: &Service) -> Result<&Facade, Problem> {
    service.facade.as_ref().ok_or_else(Problem::no_such_route)
}
