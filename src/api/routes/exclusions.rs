//! `/v1/exclusions`: numbers for which no tokens are issued, although the carrier holds them.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::{AffectedView, ExclusionView, PageView, RangeView, RestoredView};
use crate::api::Service;
use crate::api::http::authentication::{Provisioner, Reader};
use crate::api::http::body::{Body, NumbersBody, WindowBody};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{self, Fault, FromMembers, Members};
use crate::api::http::idempotency::change;
use crate::api::http::mistake::{EndExclusionBody, ExclusionEnd};
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, Excluded, NewExclusion, Withdrawing};
use crate::domain::inventory::Reason;

/// Numbers for which no tokens are to be issued.
#[derive(Debug, ToSchema)]
#[schema(as = NewExclusion)]
pub(in crate::api) struct NewExclusionBody {
    #[serde(flatten)]
    numbers: NumbersBody,
    #[serde(flatten)]
    window: WindowBody,
    #[serde(flatten)]
    details: ExclusionDetails,
}

#[derive(Debug, Deserialize, ToSchema)]
struct ExclusionDetails {
    /// ported-out, contaminated, aging, suspended or reserved
    #[schema(value_type = String, example = "ported-out")]
    reason: Reason,
    /// Exclude the numbers although the carrier holds none of them, now or later. Contaminated
    /// numbers need no `force`: their list may come before their block.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    force: Option<bool>,
}

/// An exclusion, and the numbers of it that the carrier holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewlyExcluded)]
pub(in crate::api) struct ExcludedView {
    #[serde(flatten)]
    exclusion: ExclusionView,
    /// The excluded numbers that the carrier holds, at any time at which they are excluded. The
    /// other numbers are excluded too, but nobody could get a token for them.
    met: Vec<RangeView>,
    /// True if there are more than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    met_more: bool,
}

impl From<Excluded> for ExcludedView {
    fn from(excluded: Excluded) -> Self {
        Self {
            exclusion: excluded.exclusion.into(),
            met: excluded
                .met
                .ranges
                .into_iter()
                .map(RangeView::from)
                .collect(),
            met_more: excluded.met.more,
        }
    }
}

impl FromMembers for NewExclusionBody {
    fn known() -> Vec<&'static str> {
        let numbers = NumbersBody::known();
        [numbers, WindowBody::known(), ExclusionDetails::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            numbers: FromMembers::take_from(members)?,
            window: FromMembers::take_from(members)?,
            details: FromMembers::take_from(members)?,
        })
    }
}

/// Exclude numbers, for example because they were ported out.
///
/// While the exclusion is valid, no tokens are issued for them. `met` says which of them the
/// carrier holds. If it holds none, the exclusion is refused (`meets-nothing`): most likely, a
/// digit is wrong.
#[utoipa::path(post, path = "/v1/exclusions", tag = "inventory", security(("bearer" = [])),
    request_body = NewExclusionBody,
    responses(
        (status = 201, body = AffectedView<ExcludedView>, description = "The exclusion is recorded"),
        (status = 409, description = "The carrier holds none of the numbers, now or later, and there is no `force`"),
    ))]
pub(in crate::api) async fn create_exclusion(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewExclusionBody = body.read().await?;
    let new = NewExclusion {
        numbers: body.numbers.inventory_range()?,
        reason: body.details.reason,
        valid_from: body.window.valid_from(),
        valid_until: body.window.valid_until(),
        force: body.details.force.unwrap_or(false),
    };
    let now = service.authority.now();
    let view = move |affected: Withdrawing<Excluded>| {
        let id = affected.row.exclusion.row.id;
        let location = (header::LOCATION, format!("/v1/exclusions/{id}"));
        HttpResponse::Created()
            .insert_header(location)
            .json(AffectedView::<ExcludedView>::at(now, affected))
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.exclude(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List exclusions, oldest first.
#[utoipa::path(get, path = "/v1/exclusions", tag = "inventory", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<ExclusionView>, description = "A page of exclusions")))]
pub(in crate::api) async fn list_exclusions(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.exclusions(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, ExclusionView::from)))
}

/// Show one exclusion.
#[utoipa::path(get, path = "/v1/exclusions/{id}", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The exclusion")),
    responses((status = 200, body = ExclusionView, description = "The newest version of the exclusion")))]
pub(in crate::api) async fn get_exclusion(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "exclusion")?;
    let found = blocking(move || service.authority.exclusion(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(ExclusionView::from(found)))
}

/// End an exclusion: tokens for the numbers can be issued again.
///
/// Delegations that the exclusion ended stay ended, unless it was a `mistake`: then they count
/// again exactly as before, and so does everything that a disconnect ended. Withdrawn grants stay
/// withdrawn, since their subscribers have been notified; a new token takes one request.
/// `still_excluded` lists the other exclusions of the numbers, which still block them.
#[utoipa::path(post, path = "/v1/exclusions/{id}/end", tag = "inventory", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path, description = "The exclusion")),
    request_body = Option<EndExclusionBody>,
    responses(
        (status = 200, body = RestoredView<ExclusionView>, description = "The exclusion, with its end"),
        (status = 409, description = "It was undone already, or a restored delegation would overlap one that was made since"),
    ))]
pub(in crate::api) async fn end_exclusion(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "exclusion")?;
    let end = body.read_if_any::<EndExclusionBody>().await?;
    let authority = &service.authority;
    match end.map_or(Ok(ExclusionEnd::Ended(None)), EndExclusionBody::end)? {
        ExclusionEnd::Ended(at) => {
            let view = |ended| HttpResponse::Ok().json(RestoredView::<ExclusionView>::of(ended));
            let verb = async |by: ChangeRequester<'_, _>| authority.end_exclusion(by, id, at).await;
            change(&service, &request, &caller, view, verb).await
        }
        ExclusionEnd::Undone(mistake) => {
            let view =
                |restored| HttpResponse::Ok().json(RestoredView::<ExclusionView>::of(restored));
            let verb =
                async |by: ChangeRequester<'_, _>| authority.undo_exclusion(by, id, mistake).await;
            change(&service, &request, &caller, view, verb).await
        }
    }
}
