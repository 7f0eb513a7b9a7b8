//! `/v1/allocations`: the numbers that the carrier holds.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::ToSchema;

use super::views::{AffectedView, AllocationView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Provisioner, Reader};
use crate::api::http::body::{Body, NumbersBody, UntilBody, WindowBody};
use crate::api::http::idempotency::change;
use crate::api::http::query::{Key, PageQuery, id, query};
use crate::api::problem::Problem;
use crate::authority::{By, NewAllocation};
use crate::domain::inventory::Allocation;

/// Numbers that the carrier says it holds.
#[derive(Debug, ToSchema)]
#[schema(as = NewAllocation)]
#[expect(dead_code, reason = "describes the body; the handler reads it")]
pub(in crate::api) struct NewAllocationBody {
    /// One of the carrier's service provider codes.
    #[schema(example = "1234")]
    spc: String,
    #[schema(inline)]
    #[serde(flatten)]
    numbers: NumbersBody,
    /// block, code, ported-in or toll-free
    #[schema(example = "block")]
    basis: String,
    #[serde(flatten)]
    window: WindowBody,
}

/// Record that the carrier holds numbers.
#[utoipa::path(post, path = "/v1/allocations", tag = "inventory", security(("bearer" = [])),
    request_body = NewAllocationBody,
    responses(
        (status = 201, body = AllocationView, description = "It is recorded"),
        (status = 409, description = "Another allocation holds some of the numbers at the same time"),
    ))]
pub(in crate::api) async fn create_allocation(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let mut body = body.read().await?;
    let new = NewAllocation {
        spc: body.need("spc")?,
        numbers: body.range()?,
        basis: body.need("basis")?,
        valid_from: body.time("valid_from")?,
        valid_until: body.time("valid_until")?,
    };
    body.done()?;
    let view = |made: Allocation| {
        let location = (header::LOCATION, format!("/v1/allocations/{}", made.row.id));
        HttpResponse::Created()
            .insert_header(location)
            .json(AllocationView::from(made))
    };
    let verb = async |by: By<'_, _>| service.authority.allocate(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List the allocations, oldest first.
#[utoipa::path(get, path = "/v1/allocations", tag = "inventory", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<AllocationView>, description = "A page of allocations")))]
pub(in crate::api) async fn list_allocations(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(Key::Uuid)?;
    let found = web::block(move || service.authority.allocations(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, AllocationView::from)))
}

/// Show one allocation.
#[utoipa::path(get, path = "/v1/allocations/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    responses((status = 200, body = AllocationView, description = "Its newest version")))]
pub(in crate::api) async fn get_allocation(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "allocation")?;
    let found = web::block(move || service.authority.allocation(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(AllocationView::from(found)))
}

/// Record that the carrier gave numbers back.
#[utoipa::path(post, path = "/v1/allocations/{id}/return", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    request_body = Option<UntilBody>,
    responses((status = 200, body = AffectedView<AllocationView>, description = "It ends")))]
pub(in crate::api) async fn return_allocation(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "allocation")?;
    let mut body = body.read_if_any().await?;
    let at = body.time("at")?;
    body.done()?;
    let now = service.authority.clock.now();
    let view =
        move |affected| HttpResponse::Ok().json(AffectedView::<AllocationView>::at(now, affected));
    let verb = async |by: By<'_, _>| service.authority.return_allocation(by, id, at).await;
    change(&service, &request, &caller, view, verb).await
}
