//! `/v1/disconnects`: numbers go out of service, and age before they can be assigned again.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::{AffectedView, AllocationView, DelegationView, ExclusionView, RangeView};
use crate::api::Service;
use crate::api::http::authentication::Provisioner;
use crate::api::http::body::{Body, NumbersBody};
use crate::api::http::deserialize::{Fault, FromMembers, Members};
use crate::api::http::idempotency::change;
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, Disconnected, NewDisconnect, Withdrawing};

/// Numbers to take out of service.
#[derive(Debug, ToSchema)]
#[schema(as = NewDisconnect)]
pub(in crate::api) struct NewDisconnectBody {
    #[serde(flatten)]
    numbers: NumbersBody,
    #[serde(flatten)]
    details: DisconnectDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
struct DisconnectDetails {
    /// One of the configured aging classes.
    #[schema(example = "residential")]
    class: String,
    /// When they go out of service; if left out, now.
    at: Option<Instant>,
}

impl FromMembers for NewDisconnectBody {
    fn known() -> Vec<&'static str> {
        [NumbersBody::known(), DisconnectDetails::known()].concat()
    }

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
    /// The exclusion that blocks tokens for the numbers while they age.
    aging: ExclusionView,
    /// Delegations of these numbers alone, which end.
    ended_delegations: Vec<DelegationView>,
    /// Delegations that continue: of larger ranges, without these numbers (see `delegation_ends`),
    /// and of the holder of a block (`lend_on`), who assigns the numbers in it.
    kept_delegations: Vec<DelegationView>,
    /// Allocations of ported-in numbers, which return to the holder of their block after aging.
    returned_allocations: Vec<AllocationView>,
    /// Numbers that the carrier does not hold then, but has once held. They age all the same, in
    /// case a mistake has taken them that is undone later. Left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_held: Vec<RangeView>,
}

/// Take numbers out of service.
///
/// They age for the period that is configured for the class. Meanwhile, no tokens are issued for
/// them.
#[utoipa::path(post, path = "/v1/disconnects", tag = "inventory", security(("bearer" = [])),
    request_body = NewDisconnectBody,
    responses(
        (status = 201, body = AffectedView<DisconnectView>, description = "The disconnect is recorded"),
        (status = 409, description = "The carrier does not hold the numbers at that time, and never has"),
    ))]
pub(in crate::api) async fn create_disconnect(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewDisconnectBody = body.read().await?;
    let new = NewDisconnect {
        numbers: body.numbers.inventory_range()?,
        class: body.details.class,
        at: body.details.at.map(|at| at.0),
    };
    let now = service.authority.now();
    let view = move |affected: Withdrawing<Disconnected>| {
        // A disconnect has no row of its own; the exclusion is where its effect can be followed.
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
        let delegations = |rows: Vec<_>| rows.into_iter().map(DelegationView::from).collect();
        Self {
            aging: done.aging.into(),
            ended_delegations: delegations(done.ended_delegations),
            kept_delegations: delegations(done.kept_delegations),
            returned_allocations: done
                .returned_allocations
                .into_iter()
                .map(AllocationView::from)
                .collect(),
            not_held: done.not_held.into_iter().map(RangeView::from).collect(),
        }
    }
}
