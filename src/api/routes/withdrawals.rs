//! `/v1/withdrawals`, the feed of withdrawn grants; and the status of one grant, for the CA that
//! has its token.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::views::RangeView;
use crate::api::Service;
use crate::api::http::authentication::{AnyCaller, count_failed_authentication};
use crate::api::http::database_wait::blocking;
use crate::api::http::query::{PageLimit, name, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeError, Feed, GrantStatus};
use crate::domain::inventory::withdrawal::{EndingRow, Withdrawn};
use crate::domain::tokens::grant::{GrantState, Jti};

/// How long a client may cache the status of a grant. Short, so that a CA learns of a withdrawal
/// soon.
const STATUS_MAX_AGE: &str = "private, max-age=10";

/// Where the page starts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct FeedQuery {
    /// The `next_after` of the previous page. If 0 or left out, the page starts with the oldest
    /// entry.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
    /// The maximum number of items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
}

impl FeedQuery {
    /// Where the page starts, and how many items it has at most.
    pub(super) fn checked(self) -> Result<(i64, u16), Problem> {
        let (after, limit) = (self.after.unwrap_or(0), self.limit.unwrap_or_default());
        if after < 0 {
            return Err(Problem::malformed(
                "malformed-query",
                "`after`: must not be negative",
            ));
        }
        Ok((after, limit.get()))
    }
}

/// A page of the feed of withdrawals.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawals)]
pub(in crate::api) struct FeedView {
    items: Vec<WithdrawnView>,
    /// The `after` of the next page; also given if there are no further entries yet.
    #[schema(example = 1_767_225_600_000_001_i64)]
    next_after: i64,
    /// Whether further entries exist already.
    more: bool,
}

/// A withdrawn grant. If its withdrawal is moved to an earlier time, the grant appears in the feed
/// again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawn)]
pub(in crate::api) struct WithdrawnView {
    /// The sequence number of the entry in the feed, in ascending order.
    #[schema(example = 1_767_225_600_000_001_i64)]
    sequence: i64,
    /// The id of the token.
    jti: String,
    #[schema(example = "acme")]
    account: String,
    /// The numbers of the token.
    numbers: Vec<RangeView>,
    /// A reason code, such as ported-out, account-suspended or key-distrusted; or free text, if a
    /// person withdrew the grant.
    #[schema(example = "ported-out")]
    reason: String,
    /// The row that ended authority; null if the caller has no access to it, or if a person
    /// withdrew the grant.
    cause: Option<CauseView>,
    /// When the withdrawal takes effect; can lie in the future.
    at: Instant,
    /// When the token expires. Until then, its signature still verifies.
    expires: Instant,
    recorded_at: Instant,
}

/// A row that ended authority.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cause)]
pub(in crate::api) struct CauseView {
    /// exclusion, delegation, allocation, suspension or distrust
    #[schema(value_type = String, example = "exclusion")]
    kind: &'static str,
    id: Uuid,
}

/// The status of a grant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantStatus)]
pub(in crate::api) struct StatusView {
    jti: String,
    /// active, expired or withdrawn
    #[schema(value_type = String, example = "active")]
    state: GrantState,
    /// When its withdrawal takes effect, which can lie in the future; null if it is not withdrawn.
    at: Option<Instant>,
    expires: Instant,
}

impl From<Feed> for FeedView {
    fn from(feed: Feed) -> Self {
        Self {
            items: feed.items.into_iter().map(WithdrawnView::from).collect(),
            next_after: feed.next_after,
            more: feed.more,
        }
    }
}

impl From<Withdrawn> for WithdrawnView {
    fn from(item: Withdrawn) -> Self {
        Self {
            sequence: item.sequence,
            jti: item.jti.to_string(),
            account: item.account.to_string(),
            numbers: item.numbers.into_iter().map(RangeView::from).collect(),
            reason: item.ended.reason,
            cause: item.ended.cause.map(CauseView::from),
            at: item.ended.at.into(),
            expires: item.expires_at.into(),
            recorded_at: item.recorded_at.into(),
        }
    }
}

impl From<EndingRow> for CauseView {
    fn from(cause: EndingRow) -> Self {
        Self {
            kind: cause.kind(),
            id: cause.id(),
        }
    }
}

impl From<GrantStatus> for StatusView {
    fn from(status: GrantStatus) -> Self {
        Self {
            jti: status.jti.to_string(),
            state: status.state,
            at: status.at.map(Instant),
            expires: status.expires.into(),
        }
    }
}

/// Follow the feed of withdrawn grants.
///
/// It contains the grants of the caller's own accounts; for the carrier, those of all accounts. New
/// entries are only ever added after those that were already read.
#[utoipa::path(get, path = "/v1/withdrawals", tag = "ledger", security(("bearer" = [])), params(FeedQuery),
    responses((status = 200, body = FeedView, description = "A page of the feed")))]
pub(in crate::api) async fn follow_withdrawals(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (after, limit) = query::<FeedQuery>(&request)?.checked()?;
    let feed = blocking(move || service.authority.withdrawals(&caller, after, limit)).await??;
    Ok(HttpResponse::Ok().json(FeedView::from(feed)))
}

/// Show the status of a grant, for the CA that has its token.
///
/// The id of the token serves as the credential; no other is needed. A request with an unknown id
/// counts as one with invalid credentials.
#[utoipa::path(get, path = "/v1/grants/{jti}/status", tag = "for everybody",
    params(("jti" = String, Path, description = "The id of the token")),
    responses((status = 200, body = StatusView, description = "The status of the grant")))]
pub(in crate::api) async fn get_grant_status(
    service: Data<Service>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let found = match Jti::parse(&name(&request)?) {
        None => Err(ChangeError::NotFound("grant")),
        Some(jti) => {
            let data = service.clone();
            blocking(move || data.authority.grant_status(&jti)).await?
        }
    };
    // A malformed id is counted in the same way as an unknown one.
    let status = match found {
        Ok(status) => status,
        // Count it as a failed authentication, so that ids cannot be guessed by brute force.
        Err(ChangeError::NotFound(_)) => {
            count_failed_authentication(&service, &request)?;
            return Err(Problem::not_found("grant"));
        }
        Err(other) => return Err(other.into()),
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, STATUS_MAX_AGE))
        .json(StatusView::from(status)))
}
