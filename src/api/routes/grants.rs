//! `/v1/grants`: the ledger of issued tokens.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::views::{GrantView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Manager, Reader};
use crate::api::http::body::{Body, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageLimit, name, page, query};
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, GrantFilter};
use crate::domain::tokens::grant::{GrantState, Jti};
use crate::domain::{AccountId, NumberRange, Time, Tn};

/// Which grants to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct GrantsQuery {
    /// Only grants of this account.
    #[param(value_type = Option<String>)]
    account: Option<AccountId>,
    /// Only grants whose TNAuthList contains this number.
    #[param(value_type = Option<String>, example = "+12125551001")]
    tn: Option<Tn>,
    /// Only grants in this state: active, expired or withdrawn.
    state: Option<String>,
    /// The maximum number of items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Why a grant is withdrawn.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WithdrawalReason)]
pub(in crate::api) struct ReasonBody {
    #[schema(value_type = String, required = true, example = "the number was ported out")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
}

/// List grants, ordered by the second in which they were issued.
#[utoipa::path(get, path = "/v1/grants", tag = "ledger", security(("bearer" = [])), params(GrantsQuery),
    responses((status = 200, body = PageView<GrantView>, description = "A page of grants")))]
pub(in crate::api) async fn list_grants(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query: GrantsQuery = query(&request)?;
    let now = service.authority.now();
    let filter = GrantFilter {
        state: query
            .state
            .as_deref()
            .map(|name| state(name, now))
            .transpose()?,
        account: query.account,
        numbers: query.tn.map(NumberRange::from),
        ..GrantFilter::default()
    };
    let page = page(query.limit, query.cursor, CursorKey::Jti)?;
    let found = blocking(move || service.authority.grants(&caller, filter, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, |grant| GrantView::at(now, &grant))))
}

/// Show one grant.
#[utoipa::path(get, path = "/v1/grants/{jti}", tag = "ledger", security(("bearer" = [])),
    params(("jti" = String, Path, description = "The id of the token")),
    responses((status = 200, body = GrantView, description = "The grant")))]
pub(in crate::api) async fn get_grant(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let jti = jti(&request)?;
    let now = service.authority.now();
    let grant = blocking(move || service.authority.grant(&caller, &jti)).await??;
    Ok(HttpResponse::Ok().json(GrantView::at(now, &grant)))
}

/// Mark a grant as withdrawn.
///
/// The signature of its token still verifies until the token expires.
#[utoipa::path(post, path = "/v1/grants/{jti}/withdraw", tag = "ledger", security(("bearer" = [])),
    params(("jti" = String, Path, description = "The id of the token")),
    request_body = ReasonBody,
    responses((status = 200, body = GrantView, description = "The grant, now withdrawn")))]
pub(in crate::api) async fn withdraw_grant(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let jti = jti(&request)?;
    let ReasonBody { reason } = body.read().await?;
    let reason = reason.filter(|reason| !reason.is_empty());
    let reason = reason.ok_or_else(|| wrong("reason", "must say why the grant is withdrawn"))?;
    let now = service.authority.now();
    let view = move |grant| HttpResponse::Ok().json(GrantView::at(now, &grant));
    let verb = async |by: ChangeRequester<'_, _>| service.authority.withdraw(by, jti, reason).await;
    change(&service, &request, &caller, view, verb).await
}

/// The id of the grant in the path. A malformed id cannot name a grant, so it is answered like an
/// unknown one.
fn jti(request: &HttpRequest) -> Result<Jti, Problem> {
    let text = name(request)?;
    let is_id = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id
        .then(|| Jti::from_text(&text))
        .ok_or_else(|| Problem::not_found("grant"))
}

fn state(name: &str, now: Time) -> Result<(GrantState, Time), Problem> {
    let known = GrantState::ALL
        .into_iter()
        .find(|state| state.as_str() == name);
    let unknown = || {
        Problem::malformed(
            "malformed-query",
            "`state` must be active, expired or withdrawn",
        )
    };
    known.map(|state| (state, now)).ok_or_else(unknown)
}
