//! `/v1/control-failures`: the feed of proofs of control that the service started for renewal
//! rights, and that failed.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::control_proofs::shown;
use super::views::ControlProofView;
use super::withdrawals::FeedQuery;
use crate::api::Service;
use crate::api::http::authentication::AnyCaller;
use crate::api::http::database_wait::blocking;
use crate::api::http::query::query;
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::FailureFeed;
use crate::domain::control::failure::{ControlFailure, FailedControl};
use crate::domain::control::proof::ControlProof;

/// A page of the feed of failures.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ControlFailures)]
pub(in crate::api) struct ControlFailuresView {
    items: Vec<ControlFailureView>,
    /// The `after` of the next page; also given if there are no further entries yet.
    #[schema(example = 1_767_225_600_000_001_i64)]
    next_after: i64,
    /// Whether further entries exist already.
    more: bool,
}

/// A proof of control that failed. The service starts another one, until the code comes back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ControlFailure)]
pub(in crate::api) struct ControlFailureView {
    /// The sequence number of the entry in the feed, in ascending order.
    #[schema(example = 1_767_225_600_000_001_i64)]
    sequence: i64,
    /// expired: the code did not come back in time. not-sent: no gateway accepted it. wrong-codes:
    /// too many wrong codes came back. cancelled: a caller cancelled it. limited: the limits did
    /// not allow to ask the number before its last proof was too old.
    #[schema(value_type = String, example = "expired")]
    reason: ControlFailure,
    failed_at: Instant,
    proof: ControlProofView,
}

fn view(
    feed: FailureFeed,
    shown: impl Fn(ControlProof) -> ControlProofView,
) -> ControlFailuresView {
    let item = |failed: FailedControl| ControlFailureView {
        sequence: failed.sequence,
        reason: failed.failure,
        failed_at: failed.at.into(),
        proof: shown(failed.proof),
    };
    ControlFailuresView {
        items: feed.items.into_iter().map(item).collect(),
        next_after: feed.next_after,
        more: feed.more,
    }
}

/// Follow the feed of proofs of control that the service started by itself, and that failed.
///
/// It contains those of the caller's own accounts; for the carrier, those of all accounts. New
/// entries are only ever added after those that were already read.
#[utoipa::path(get, path = "/v1/control-failures", operation_id = "follow_control_failures", tag = "control", security(("bearer" = [])), params(FeedQuery),
    responses((status = 200, body = ControlFailuresView, description = "A page of the feed")))]
pub(in crate::api) async fn follow(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (after, limit) = query::<FeedQuery>(&request)?.checked()?;
    let shown = shown(&service);
    let feed = blocking(move || service.authority.control_failures(&caller, after, limit));
    Ok(HttpResponse::Ok().json(view(feed.await??, shown)))
}
