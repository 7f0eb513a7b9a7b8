//! `/v1/webhooks`: who is told of what happens, and what became of it.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Data, Path};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::Proven;
use crate::api::http::body::{Body, wrong};
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, NewWebhook};
use crate::domain::AccountId;
use crate::domain::webhook::{Delivery, DeliveryState, EventKind, TargetUrl, Webhook};
use crate::webhooks::Sender;

/// Where to tell what.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
pub(in crate::api) struct NewWebhookBody {
    /// https, a full name or a public address, port 443 or 1024 and above.
    #[schema(value_type = String, example = "https://hooks.example.com/tn-authority")]
    url: TargetUrl,
    /// grants.withdrawn, which is also meant when nothing is said
    #[schema(value_type = Option<Vec<String>>, example = json!(["grants.withdrawn"]))]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    kinds: Option<Vec<EventKind>>,
    /// It is told of this account and its customers; of all that the caller speaks for, if it is not said.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
}

/// From where on to send again.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Replay)]
pub(in crate::api) struct ReplayBody {
    /// A place of the feed: what stands behind it is sent again.
    #[schema(minimum = 0)]
    after: i64,
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(in crate::api) struct WebhookView {
    id: Uuid,
    /// Null: it is told of everybody, for the carrier.
    account: Option<String>,
    #[schema(example = "https://hooks.example.com/tn-authority")]
    url: String,
    #[schema(example = json!(["grants.withdrawn"]))]
    kinds: Vec<&'static str>,
    /// The place of the feed that it has come to.
    position: i64,
    created_at: Instant,
    /// Until when the secret before the newest one signs too; null if there is none.
    previous_secret_until: Option<Instant>,
    /// When it was given up; null as long as it is in use.
    ended_at: Option<Instant>,
}

/// A subscription with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(in crate::api) struct ShownWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What signatures are checked with (Standard Webhooks).
    #[schema(example = "whsec_..")]
    secret: String,
}

/// One message, however often it was sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(in crate::api) struct DeliveryView {
    /// The `webhook-id` of each attempt.
    id: Uuid,
    #[schema(value_type = String, example = "grants.withdrawn")]
    kind: &'static str,
    /// pending, delivered or dead
    #[schema(value_type = String, example = "delivered")]
    state: DeliveryState,
    /// The part of the feed that it tells of.
    first_sequence: i64,
    last_sequence: i64,
    items: i32,
    attempts: i32,
    last_attempt_at: Option<Instant>,
    /// The HTTP status of the last answer; null if there was none.
    last_status: Option<i32>,
    /// Why the last attempt failed: status, redirect, refused-address, no-address, timeout, connection, tls or protocol
    last_failure: Option<String>,
    /// The delivery that it repeats.
    replay_of: Option<Uuid>,
    created_at: Instant,
    /// It is not sent after this.
    give_up_at: Instant,
    finished_at: Option<Instant>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            account: webhook.account.map(|account| account.to_string()),
            url: webhook.url.as_str().to_owned(),
            kinds: webhook.kinds.iter().map(|kind| kind.as_str()).collect(),
            position: webhook.position,
            created_at: webhook.created_at.into(),
            previous_secret_until: webhook.previous_until.map(Instant),
            ended_at: webhook.ended_at.map(Instant),
        }
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            kind: delivery.kind.as_str(),
            state: delivery.state,
            first_sequence: delivery.first,
            last_sequence: delivery.last,
            items: delivery.items,
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at.map(Instant),
            last_status: delivery.last_status,
            last_failure: delivery.last_failure,
            replay_of: delivery.replay_of,
            created_at: delivery.created_at.into(),
            give_up_at: delivery.give_up_at.into(),
            finished_at: delivery.finished_at.map(Instant),
        }
    }
}

/// List the webhooks in use, oldest first.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<WebhookView>, description = "A page of webhooks")))]
pub(in crate::api) async fn list_webhooks(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = web::block(move || service.authority.webhooks(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, WebhookView::from)))
}

/// Subscribe: from now on a target is told of what happens. The secret is shown this once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", security(("bearer" = [])),
    request_body = NewWebhookBody,
    responses(
        (status = 201, body = ShownWebhookView, description = "It is recorded"),
        (status = 404, description = "There is no such account"),
        (status = 409, description = "There are as many webhooks as there may be"),
    ))]
pub(in crate::api) async fn create_webhook(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewWebhookBody = body.read().await?;
    if !service.webhooks.guard().may_be_target(body.url.host()) {
        return Err(wrong("url", "has an address that is not public"));
    }
    let kinds = body.kinds.unwrap_or_else(|| EventKind::ALL.to_vec());
    if kinds.is_empty() || kinds.len() > EventKind::ALL.len() {
        return Err(wrong(
            "kinds",
            "names each kind of event once, and at least one",
        ));
    }
    let new = NewWebhook {
        account: body.account,
        url: body.url,
        kinds,
    };
    let sender = Arc::clone(&service.webhooks);
    let view = move |made: Webhook| {
        let location = (header::LOCATION, format!("/v1/webhooks/{}", made.id));
        let mut response = HttpResponse::Created();
        response.insert_header(location);
        shown(&sender, response, made)
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.subscribe(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// Show one webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")),
    responses((status = 200, body = WebhookView, description = "How it stands")))]
pub(in crate::api) async fn get_webhook(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let found = web::block(move || service.authority.webhook(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(WebhookView::from(found)))
}

/// Give a webhook up: nothing is sent to it any more.
#[utoipa::path(post, path = "/v1/webhooks/{id}/end", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = Option<()>,
    responses((status = 200, body = WebhookView, description = "It is given up")))]
pub(in crate::api) async fn end_webhook(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    body.read_nothing().await?;
    let verb = async |by: ChangeRequester<'_, _>| service.authority.end_webhook(by, id).await;
    change(&service, &request, &caller, plain, verb).await
}

/// Make a new secret, which is shown this once. For a day the one before it signs too.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = Option<()>,
    responses(
        (status = 200, body = ShownWebhookView, description = "It signs with the new one"),
        (status = 409, description = "The webhook has ended"),
    ))]
pub(in crate::api) async fn rotate_webhook(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    body.read_nothing().await?;
    let sender = Arc::clone(&service.webhooks);
    let view = move |rotated: Webhook| shown(&sender, HttpResponse::Ok(), rotated);
    let verb = async |by: ChangeRequester<'_, _>| service.authority.rotate_webhook(by, id).await;
    change(&service, &request, &caller, view, verb).await
}

/// Send again what stands in the feed behind a place.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = ReplayBody,
    responses(
        (status = 200, body = WebhookView, description = "It starts there"),
        (status = 409, description = "It has ended, or has not come to this place yet"),
    ))]
pub(in crate::api) async fn replay_webhook(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let ReplayBody { after } = body.read().await?;
    if after < 0 {
        return Err(wrong("after", "is not negative"));
    }
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.replay_from(by, id, after).await;
    change(&service, &request, &caller, plain, verb).await
}

/// List what was sent to a webhook, oldest first.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook"), PageQuery),
    responses((status = 200, body = PageView<DeliveryView>, description = "A page of deliveries")))]
pub(in crate::api) async fn list_deliveries(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = web::block(move || service.authority.deliveries(&caller, id, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, DeliveryView::from)))
}

/// Send one delivery again, as a new one.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The webhook"),
        ("delivery" = Uuid, Path, description = "The delivery"),
    ),
    request_body = Option<()>,
    responses(
        (status = 201, body = DeliveryView, description = "It is to be sent"),
        (status = 409, description = "The webhook has ended, or 100 deliveries wait for it"),
    ))]
pub(in crate::api) async fn replay_delivery(
    service: Data<Service>,
    Proven(caller): Proven,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let ids = Path::<(Uuid, Uuid)>::extract(&request).into_inner();
    let (id, delivery) = ids
        .map_err(|_| Problem::not_found("delivery"))?
        .into_inner();
    body.read_nothing().await?;
    let view = |again: Delivery| HttpResponse::Created().json(DeliveryView::from(again));
    let verb = async |by: ChangeRequester<'_, _>| {
        service.authority.replay_delivery(by, id, delivery).await
    };
    change(&service, &request, &caller, view, verb).await
}

fn plain(webhook: Webhook) -> HttpResponse {
    HttpResponse::Ok().json(WebhookView::from(webhook))
}

/// The webhook with its secret, which can be made again as long as it is the newest one. If it cannot, the answer is a
/// failure, with which nothing of the change stays if the request has a key.
fn shown(sender: &Sender, mut response: HttpResponseBuilder, webhook: Webhook) -> HttpResponse {
    match sender.secrets().shown(webhook.id, webhook.generation) {
        Ok(secret) => response.json(ShownWebhookView {
            webhook: webhook.into(),
            secret,
        }),
        Err(error) => {
            log::error!("the secret of a webhook cannot be shown: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}
