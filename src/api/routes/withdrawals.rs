//! `/v1/withdrawals`: the feed of grants that were taken back; and how one grant stands, for the CA that holds its token.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::views::RangeView;
use crate::api::Service;
use crate::api::http::authentication::{AnyCaller, count_failed_authentication};
use crate::api::http::query::{PageLimit, name, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeError, Feed, GrantStatus};
use crate::domain::inventory::withdrawal::{EndingRow, Withdrawn};
use crate::domain::tokens::grant::{GrantState, Jti};

/// Seconds that an answer about a grant may be kept.
const STATUS_MAX_AGE: &str = "private, max-age=10";

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct FeedQuery {
    /// The `next_after` of the page before; 0, or nothing, is the start.
    #[param(minimum = 0, default = 0)]
    after: Option<i64>,
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
}

/// A page of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawals)]
pub(in crate::api) struct FeedView {
    items: Vec<WithdrawnView>,
    /// `after` of the next page, also when nothing is there yet.
    #[schema(example = 1_767_225_600_000_001_i64)]
    next_after: i64,
    /// Whether something is there already.
    more: bool,
}

/// A grant that was taken back. One that is taken back earlier than was said before comes again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawn)]
pub(in crate::api) struct WithdrawnView {
    /// Its place in the feed; grows.
    #[schema(example = 1_767_225_600_000_001_i64)]
    sequence: i64,
    /// The id of the token.
    jti: String,
    #[schema(example = "acme")]
    account: String,
    /// The numbers of the token.
    numbers: Vec<RangeView>,
    /// A word of the service, such as ported-out, delegation-ended or account-suspended, or the words of a person.
    #[schema(example = "ported-out")]
    reason: String,
    /// The row by which authority ended; null where it is not the caller's to know, or a person took back this grant.
    cause: Option<CauseView>,
    /// From when on; may lie ahead.
    at: Instant,
    /// When the token expires, until which it still verifies.
    expires: Instant,
    recorded_at: Instant,
}

/// A row by which authority ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cause)]
pub(in crate::api) struct CauseView {
    /// exclusion, delegation, allocation or suspension
    #[schema(value_type = String, example = "exclusion")]
    kind: &'static str,
    id: Uuid,
}

/// How a grant stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GrantStatus)]
pub(in crate::api) struct StatusView {
    jti: String,
    /// active, expired or withdrawn
    #[schema(value_type = String, example = "active")]
    state: GrantState,
    /// From when on it is taken back, which may lie ahead; null if it is not.
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

/// Follow what is taken back, in an order that nothing is put into later: those of the caller's own accounts, or, for the
/// carrier, all.
#[utoipa::path(get, path = "/v1/withdrawals", tag = "ledger", security(("bearer" = [])), params(FeedQuery),
    responses((status = 200, body = FeedView, description = "A page of the feed")))]
pub(in crate::api) async fn follow_withdrawals(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query: FeedQuery = query(&request)?;
    let (after, limit) = (query.after.unwrap_or(0), query.limit.unwrap_or_default());
    if after < 0 {
        return Err(Problem::malformed(
            "malformed-query",
            "`after`: is not negative",
        ));
    }
    let limit = limit.get();
    let feed = web::block(move || service.authority.withdrawals(&caller, after, limit)).await??;
    Ok(HttpResponse::Ok().json(FeedView::from(feed)))
}

/// Ask how a grant stands, as the CA that holds its token: the id in the token is the proof, no other is needed.
///
/// An id of no token counts as a request without valid credentials.
#[utoipa::path(get, path = "/v1/grants/{jti}/status", tag = "for everybody",
    params(("jti" = String, Path, description = "The id of the token")),
    responses((status = 200, body = StatusView, description = "How it stands")))]
pub(in crate::api) async fn get_grant_status(
    service: Data<Service>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let found = match Jti::parse(&name(&request)?) {
        None => Err(ChangeError::NotFound("grant")),
        Some(jti) => {
            let data = service.clone();
            web::block(move || data.authority.grant_status(&jti)).await?
        }
    };
    let status = match found {
        Ok(status) => status,
        // Whoever has no token guesses, and has proven nothing.
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
