//! `/v1/delegations`: numbers delegated to an account.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::accounts::account_id;
use super::views::{AffectedView, DelegationView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Manager, Reader};
use crate::api::http::body::{Body, NumbersBody, UntilBody, WindowBody};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{self, Fault, FromMembers, Id, Members};
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, NewDelegation};
use crate::domain::inventory::Delegation;

/// Numbers that the carrier delegates to an account, or a reseller to its customer.
#[derive(Debug, ToSchema)]
#[schema(as = NewDelegation)]
pub(in crate::api) struct NewDelegationBody {
    #[serde(flatten)]
    numbers: NumbersBody,
    #[serde(flatten)]
    window: WindowBody,
    #[serde(flatten)]
    details: DelegationDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
struct DelegationDetails {
    /// Whether tokens for CA certificates are allowed.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    ca: Option<bool>,
    /// The reseller's delegation that the numbers are cut from. Can be left out: for a reseller it
    /// is then found by the numbers, for the carrier it means that the carrier itself delegates.
    #[schema(value_type = Option<uuid::Uuid>)]
    parent: Option<Id>,
    /// Whether the account may delegate the numbers to its own customers.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    lend_on: Option<bool>,
    /// Whether the delegating reseller can still get tokens for the numbers itself.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    lender_keeps: Option<bool>,
    /// The carrier's reference for the order or contract.
    #[schema(example = "order 4711")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reference: Option<String>,
}

impl FromMembers for NewDelegationBody {
    fn known() -> Vec<&'static str> {
        let numbers = NumbersBody::known();
        [numbers, WindowBody::known(), DelegationDetails::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            numbers: FromMembers::take_from(members)?,
            window: FromMembers::take_from(members)?,
            details: FromMembers::take_from(members)?,
        })
    }
}

/// Delegate numbers to an account.
#[utoipa::path(post, path = "/v1/accounts/{id}/delegations", tag = "inventory", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = NewDelegationBody,
    responses(
        (status = 201, body = DelegationView, description = "The delegation is recorded"),
        (status = 409, description = "The carrier or reseller cannot delegate these numbers, or some are already delegated"),
    ))]
pub(in crate::api) async fn create_delegation(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let account = account_id(&request)?;
    let body: NewDelegationBody = body.read().await?;
    let details = body.details;
    let new = NewDelegation {
        account,
        numbers: body.numbers.inventory_range()?,
        ca: details.ca.unwrap_or(false),
        parent: details.parent.map(|id| id.0),
        lend_on: details.lend_on.unwrap_or(false),
        lender_keeps: details.lender_keeps.unwrap_or(false),
        valid_from: body.window.valid_from(),
        valid_until: body.window.valid_until(),
        reference: details.reference,
    };
    let view = |made: Delegation| {
        let location = (header::LOCATION, format!("/v1/delegations/{}", made.row.id));
        HttpResponse::Created()
            .insert_header(location)
            .json(DelegationView::from(made))
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.delegate(by, new).await;
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
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found =
        blocking(move || service.authority.delegations_of(&caller, &account, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, DelegationView::from)))
}

/// Show one delegation.
#[utoipa::path(get, path = "/v1/delegations/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The delegation")),
    responses((status = 200, body = DelegationView, description = "The newest version of the delegation")))]
pub(in crate::api) async fn get_delegation(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "delegation")?;
    let found = blocking(move || service.authority.delegation(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(DelegationView::from(found)))
}

/// End a delegation, and all delegations cut from it.
#[utoipa::path(post, path = "/v1/delegations/{id}/end", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The delegation")),
    request_body = Option<UntilBody>,
    responses((status = 200, body = AffectedView<DelegationView>, description = "The delegation, with its end")))]
pub(in crate::api) async fn end_delegation(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "delegation")?;
    let end = body.read_if_any::<UntilBody>().await?;
    let at = end.and_then(|end| end.at());
    let now = service.authority.now();
    let view =
        move |affected| HttpResponse::Ok().json(AffectedView::<DelegationView>::at(now, affected));
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.end_delegation(by, id, at).await;
    change(&service, &request, &caller, view, verb).await
}
