//! Delegations: numbers lent to an account.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::ToSchema;

use super::accounts::account_id;
use super::views::{AffectedView, DelegationView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Manager, Reader};
use crate::api::http::body::{Body, NumbersBody, UntilBody, WindowBody};
use crate::api::http::idempotency::change;
use crate::api::http::query::{Key, PageQuery, id, query};
use crate::api::problem::Problem;
use crate::authority::{By, NewDelegation};
use crate::domain::inventory::Delegation;

/// Numbers that the carrier lends, or that a reseller lends on.
#[derive(Debug, ToSchema)]
#[schema(as = NewDelegation)]
#[expect(dead_code, reason = "describes the body; the handler reads it")]
pub(in crate::api) struct NewDelegationBody {
    #[schema(inline)]
    #[serde(flatten)]
    numbers: NumbersBody,
    /// Whether tokens for CA certificates are allowed.
    #[schema(default = false)]
    ca: Option<bool>,
    /// The delegation of a reseller that the numbers are cut from. A reseller need not name it. Without one, the carrier
    /// lends.
    parent: Option<uuid::Uuid>,
    /// Whether the account may lend the numbers on to customers of its own.
    #[schema(default = false)]
    lend_on: Option<bool>,
    /// Whether the reseller who lends may still get tokens for the numbers itself.
    #[schema(default = false)]
    lender_keeps: Option<bool>,
    #[serde(flatten)]
    window: WindowBody,
    /// The carrier's own order or contract.
    #[schema(example = "order 4711")]
    reference: Option<String>,
}

/// Lend numbers to an account.
#[utoipa::path(post, path = "/v1/accounts/{id}/delegations", tag = "inventory", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = NewDelegationBody,
    responses(
        (status = 201, body = DelegationView, description = "It is recorded"),
        (status = 409, description = "The numbers are not the carrier's or the reseller's to lend, or some are lent already"),
    ))]
pub(in crate::api) async fn create_delegation(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let account = account_id(&request)?;
    let mut body = body.read().await?;
    let new = NewDelegation {
        account,
        numbers: body.range()?,
        ca: body.take("ca")?.unwrap_or(false),
        parent: body.id("parent")?,
        lend_on: body.take("lend_on")?.unwrap_or(false),
        lender_keeps: body.take("lender_keeps")?.unwrap_or(false),
        valid_from: body.time("valid_from")?,
        valid_until: body.time("valid_until")?,
        reference: body.text("reference")?,
    };
    body.done()?;
    let view = |made: Delegation| {
        let location = (header::LOCATION, format!("/v1/delegations/{}", made.row.id));
        HttpResponse::Created()
            .insert_header(location)
            .json(DelegationView::from(made))
    };
    let verb = async |by: By<'_, _>| service.authority.delegate(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List the delegations of an account, oldest first.
#[utoipa::path(get, path = "/v1/accounts/{id}/delegations", tag = "inventory", security(("bearer" = [])), 
    params(("id" = String, Path, description = "The account", example = "acme"), PageQuery),
    responses((status = 200, body = PageView<DelegationView>, description = "A page of delegations")))]
pub(in crate::api) async fn list_delegations(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let account = account_id(&request)?;
    let page = query::<PageQuery>(&request)?.page(Key::Uuid)?;
    let found =
        web::block(move || service.authority.delegations_of(&caller, &account, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, DelegationView::from)))
}

/// Show one delegation.
#[utoipa::path(get, path = "/v1/delegations/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The delegation")),
    responses((status = 200, body = DelegationView, description = "Its newest version")))]
pub(in crate::api) async fn get_delegation(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "delegation")?;
    let found = web::block(move || service.authority.delegation(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(DelegationView::from(found)))
}

/// Take lent numbers back, with all that was lent on of them.
#[utoipa::path(post, path = "/v1/delegations/{id}/end", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The delegation")),
    request_body = Option<UntilBody>,
    responses((status = 200, body = AffectedView<DelegationView>, description = "It ends")))]
pub(in crate::api) async fn end_delegation(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "delegation")?;
    let mut body = body.read_if_any().await?;
    let at = body.time("at")?;
    body.done()?;
    let now = service.authority.clock.now();
    let view =
        move |affected| HttpResponse::Ok().json(AffectedView::<DelegationView>::at(now, affected));
    let verb = async |by: By<'_, _>| service.authority.end_delegation(by, id, at).await;
    change(&service, &request, &caller, view, verb).await
}
