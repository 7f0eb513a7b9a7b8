//! `/v1/allocations`: the numbers that the carrier holds.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::views::{AffectedView, AllocationView, PageView, RestoredView};
use crate::api::Service;
use crate::api::http::authentication::{Provisioner, Reader};
use crate::api::http::body::{Body, NumbersBody, UntilBody, WindowBody};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{Fault, FromMembers, Members};
use crate::api::http::idempotency::change;
use crate::api::http::mistake::MistakeBody;
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, NewAllocation};
use crate::domain::Spc;
use crate::domain::inventory::{Allocation, Basis};

/// Numbers that the carrier holds.
#[derive(Debug, ToSchema)]
#[schema(as = NewAllocation)]
pub(in crate::api) struct NewAllocationBody {
    #[serde(flatten)]
    numbers: NumbersBody,
    #[serde(flatten)]
    window: WindowBody,
    #[serde(flatten)]
    details: AllocationDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
struct AllocationDetails {
    /// One of the carrier's service provider codes.
    #[schema(value_type = String, example = "1234")]
    spc: Spc,
    /// block, code, ported-in or toll-free
    #[schema(value_type = String, example = "block")]
    basis: Basis,
}

impl FromMembers for NewAllocationBody {
    fn known() -> Vec<&'static str> {
        let numbers = NumbersBody::known();
        [numbers, WindowBody::known(), AllocationDetails::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            numbers: FromMembers::take_from(members)?,
            window: FromMembers::take_from(members)?,
            details: FromMembers::take_from(members)?,
        })
    }
}

/// Record numbers that the carrier holds.
#[utoipa::path(post, path = "/v1/allocations", tag = "inventory", security(("bearer" = [])),
    request_body = NewAllocationBody,
    responses(
        (status = 201, body = AllocationView, description = "The allocation is recorded"),
        (status = 409, description = "Another allocation covers some of the numbers at the same time"),
    ))]
pub(in crate::api) async fn create_allocation(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewAllocationBody = body.read().await?;
    let new = NewAllocation {
        numbers: body.numbers.inventory_range()?,
        spc: body.details.spc,
        basis: body.details.basis,
        valid_from: body.window.valid_from(),
        valid_until: body.window.valid_until(),
    };
    let view = |made: Allocation| {
        let location = (header::LOCATION, format!("/v1/allocations/{}", made.row.id));
        HttpResponse::Created()
            .insert_header(location)
            .json(AllocationView::from(made))
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.allocate(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List allocations, oldest first.
#[utoipa::path(get, path = "/v1/allocations", tag = "inventory", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<AllocationView>, description = "A page of allocations")))]
pub(in crate::api) async fn list_allocations(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.allocations(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, AllocationView::from)))
}

/// Show one allocation.
#[utoipa::path(get, path = "/v1/allocations/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    responses((status = 200, body = AllocationView, description = "The newest version of the allocation")))]
pub(in crate::api) async fn get_allocation(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "allocation")?;
    let found = blocking(move || service.authority.allocation(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(AllocationView::from(found)))
}

/// Record that the carrier returned numbers: end an allocation.
#[utoipa::path(post, path = "/v1/allocations/{id}/return", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    request_body = Option<UntilBody>,
    responses((status = 200, body = AffectedView<AllocationView>, description = "The allocation, with its end")))]
pub(in crate::api) async fn return_allocation(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "allocation")?;
    let end = body.read_if_any::<UntilBody>().await?;
    let at = end.and_then(|end| end.at());
    let now = service.authority.now();
    let view =
        move |affected| HttpResponse::Ok().json(AffectedView::<AllocationView>::at(now, affected));
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.return_allocation(by, id, at).await;
    change(&service, &request, &caller, view, verb).await
}

/// Undo the return of an allocation, also a planned one: it was a mistake.
///
/// The allocation is valid as before, and the delegations that ended with it count again. Withdrawn
/// grants stay so, since their subscribers have been notified; a new token takes one request.
#[utoipa::path(post, path = "/v1/allocations/{id}/return/undo", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    request_body = MistakeBody,
    responses(
        (status = 200, body = RestoredView<AllocationView>, description = "The allocation, as before"),
        (status = 409, description = "It was not returned, or the numbers are held or delegated otherwise since"),
    ))]
pub(in crate::api) async fn undo_return(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "allocation")?;
    let mistake = body.read::<MistakeBody>().await?.mistake()?;
    let view = |restored| HttpResponse::Ok().json(RestoredView::<AllocationView>::of(restored));
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.undo_return(by, id, mistake).await;
    change(&service, &request, &caller, view, verb).await
}
