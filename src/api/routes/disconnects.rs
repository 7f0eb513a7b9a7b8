//! `/v1/disconnects`: numbers are given up, and age before anybody else gets them.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::{AffectedView, AllocationView, DelegationView, ExclusionView};
use crate::api::Service;
use crate::api::http::authentication::Provisioner;
use crate::api::http::body::{Body, NumbersBody};
use crate::api::http::deserialize::{Fault, FromMembers, Members};
use crate::api::http::idempotency::change;
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, Disconnected, NewDisconnect, Withdrawing};

/// Numbers that are no longer in service.
#[derive(Debug, ToSchema)]
#[schema(as = NewDisconnect)]
pub(in crate::api) struct NewDisconnectBody {
    #[schema(inline)]
    #[serde(flatten)]
    numbers: NumbersBody,
    #[schema(inline)]
    #[serde(flatten)]
    details: DisconnectDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
struct DisconnectDetails {
    /// One of the configured classes of aging.
    #[schema(example = "residential")]
    class: String,
    /// Now, if it is not said.
    at: Option<Instant>,
}

impl FromMembers for NewDisconnectBody {
    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            numbers: FromMembers::take_from(members)?,
            details: FromMembers::take_from(members)?,
        })
    }
}

/// What a disconnect did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Disconnect)]
pub(in crate::api) struct DisconnectView {
    /// Until when the numbers age.
    aging: ExclusionView,
    /// Loans of these numbers alone, which end; with what hung below them.
    ended_delegations: Vec<DelegationView>,
    /// Loans of more numbers, which go on: whoever holds such a block assigns the numbers in it.
    kept_delegations: Vec<DelegationView>,
    /// Ported-in numbers, which go back to the holder of their block when they have aged.
    returned_allocations: Vec<AllocationView>,
}

/// Take numbers out of service. They age, for as long as is configured for the class, and nobody gets tokens for them.
#[utoipa::path(post, path = "/v1/disconnects", tag = "inventory", security(("bearer" = [])),
    request_body = NewDisconnectBody,
    responses(
        (status = 201, body = AffectedView<DisconnectView>, description = "It is recorded"),
        (status = 409, description = "The carrier does not hold the numbers then"),
    ))]
pub(in crate::api) async fn create_disconnect(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewDisconnectBody = body.read().await?;
    let new = NewDisconnect {
        numbers: body.numbers.range()?,
        class: body.details.class,
        at: body.details.at.map(|at| at.0),
    };
    let now = service.authority.now();
    let view = move |affected: Withdrawing<Disconnected>| {
        let aging = affected.row.aging.row.id;
        let location = (header::LOCATION, format!("/v1/exclusions/{aging}"));
        HttpResponse::Created()
            .insert_header(location)
            .json(AffectedView::<DisconnectView>::at(now, affected))
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.disconnect(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

impl From<Disconnected> for DisconnectView {
    fn from(done: Disconnected) -> Self {
        let loans = |rows: Vec<_>| rows.into_iter().map(DelegationView::from).collect();
        Self {
            aging: done.aging.into(),
            ended_delegations: loans(done.ended_delegations),
            kept_delegations: loans(done.kept_delegations),
            returned_allocations: done
                .returned_allocations
                .into_iter()
                .map(AllocationView::from)
                .collect(),
        }
    }
}
