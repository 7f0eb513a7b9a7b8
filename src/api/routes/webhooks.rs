//! `/v1/webhooks`: subscriptions to events, and their deliveries.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::AnyCaller;
use crate::api::http::body::{Body, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, NewWebhook};
use crate::domain::AccountId;
use crate::domain::webhook::{Delivery, DeliveryState, EventKind, TargetUrl, Webhook};
use crate::webhooks::Sender;

/// A webhook to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
pub(in crate::api) struct NewWebhookBody {
    /// An `https` URL. The host is a fully qualified name or a public address; the port is 443, or
    /// 1024 and above.
    #[schema(value_type = String, example = "https://hooks.example.com/tn-authority")]
    url: TargetUrl,
    /// The kinds of events to send: grants.withdrawn, which is also the default; control.failed
    #[schema(value_type = Vec<String>, example = json!(["grants.withdrawn"]))]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    kinds: Option<Vec<EventKind>>,
    /// The account whose events are sent. For a reseller that includes its customers. If left out,
    /// the account of the caller, or all accounts if the caller is the carrier.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
}

/// Where a replay starts.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Replay)]
pub(in crate::api) struct ReplayBody {
    /// A sequence number of the feed. All entries after it are sent again.
    #[schema(minimum = 0)]
    after: i64,
}

/// A webhook: a subscription to events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(in crate::api) struct WebhookView {
    id: Uuid,
    /// The account whose events are sent; null for a webhook of the carrier, which gets the events
    /// of all accounts.
    account: Option<String>,
    #[schema(example = "https://hooks.example.com/tn-authority")]
    url: String,
    #[schema(example = json!(["grants.withdrawn"]))]
    kinds: Vec<&'static str>,
    /// The sequence number up to which the feeds were queued for delivery. They share one sequence.
    position: i64,
    created_at: Instant,
    /// Until when messages are signed with the previous secret too; null if there is none.
    previous_secret_until: Option<Instant>,
    /// When the webhook ended; null while it is active.
    ended_at: Option<Instant>,
}

/// A webhook with its secret, which is only shown in this response.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(in crate::api) struct ShownWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// The key to verify signatures with (Standard Webhooks).
    #[schema(example = "whsec_..")]
    secret: String,
}

/// One message to a webhook, with all attempts to send it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(in crate::api) struct DeliveryView {
    /// The `webhook-id` of each attempt.
    id: Uuid,
    #[schema(value_type = String, example = "grants.withdrawn")]
    kind: &'static str,
    /// pending, delivered, or dead if the service has given up
    #[schema(value_type = String, example = "delivered")]
    state: DeliveryState,
    /// The sequence number of the first feed entry in the message.
    first_sequence: i64,
    /// The sequence number of the last feed entry in the message.
    last_sequence: i64,
    /// How many feed entries the message contains.
    items: i32,
    /// How many times it was sent.
    attempts: i32,
    last_attempt_at: Option<Instant>,
    /// The HTTP status of the last response; null if there was none.
    last_status: Option<i32>,
    /// Why the last attempt failed: status, redirect, refused-address, no-address, timeout,
    /// connection, tls or protocol
    last_failure: Option<String>,
    /// The delivery that this one repeats; null if it is not a replay.
    replay_of: Option<Uuid>,
    created_at: Instant,
    /// No attempt is made after this.
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

/// List active webhooks, oldest first.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<WebhookView>, description = "A page of webhooks")))]
pub(in crate::api) async fn list_webhooks(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.webhooks(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, WebhookView::from)))
}

/// Create a webhook: future events are sent to its URL.
///
/// The secret is only shown in this response.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", security(("bearer" = [])),
    request_body = NewWebhookBody,
    responses(
        (status = 201, body = ShownWebhookView, description = "The webhook with its secret"),
        (status = 404, description = "The account does not exist"),
        (status = 409, description = "The account has reached its limit of webhooks (end one first)"),
    ))]
pub(in crate::api) async fn create_webhook(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewWebhookBody = body.read().await?;
    // Only an address can be refused here. A name is resolved and checked at each attempt, because
    // what it resolves to can change.
    if !service.webhooks.guard().may_be_target(body.url.host()) {
        return Err(wrong(
            "url",
            "must not contain a private or other non-public address",
        ));
    }
    let kinds = body
        .kinds
        .unwrap_or_else(|| vec![EventKind::GrantsWithdrawn]);
    if kinds.is_empty() || kinds.len() > EventKind::ALL.len() {
        return Err(wrong(
            "kinds",
            "must name at least one kind of event, and each only once",
        ));
    }
    let new = NewWebhook {
        account: body.account,
        url: body.url,
        kinds,
        derived_by: service.webhooks.secrets().name().to_owned(),
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
    responses((status = 200, body = WebhookView, description = "The webhook")))]
pub(in crate::api) async fn get_webhook(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let found = blocking(move || service.authority.webhook(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(WebhookView::from(found)))
}

/// End a webhook: nothing more is sent to it.
#[utoipa::path(post, path = "/v1/webhooks/{id}/end", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = Option<()>,
    responses((status = 200, body = WebhookView, description = "The webhook has ended")))]
pub(in crate::api) async fn end_webhook(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    body.read_nothing().await?;
    let verb = async |by: ChangeRequester<'_, _>| service.authority.end_webhook(by, id).await;
    change(&service, &request, &caller, plain, verb).await
}

/// Replace the secret of a webhook.
///
/// The new secret is only shown in this response. For 24 hours, messages are signed with the
/// previous one as well.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = Option<()>,
    responses(
        (status = 200, body = ShownWebhookView, description = "The webhook with its new secret"),
        (status = 409, description = "The webhook has ended"),
    ))]
pub(in crate::api) async fn rotate_webhook(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    body.read_nothing().await?;
    let sender = Arc::clone(&service.webhooks);
    let view = move |rotated: Webhook| shown(&sender, HttpResponse::Ok(), rotated);
    let derived_by = service.webhooks.secrets().name().to_owned();
    let verb = async |by: ChangeRequester<'_, _>| {
        let rotated = service.authority.rotate_webhook(by, id, &derived_by);
        rotated.await
    };
    change(&service, &request, &caller, view, verb).await
}

/// Send all feed entries after a sequence number again.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook")), request_body = ReplayBody,
    responses(
        (status = 200, body = WebhookView, description = "The webhook, with its new position"),
        (status = 409, description = "The webhook has ended, or has not reached this sequence number yet"),
    ))]
pub(in crate::api) async fn replay_webhook(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let ReplayBody { after } = body.read().await?;
    if after < 0 {
        return Err(wrong("after", "must not be negative"));
    }
    let verb =
        async |by: ChangeRequester<'_, _>| service.authority.replay_from(by, id, after).await;
    change(&service, &request, &caller, plain, verb).await
}

/// List the deliveries of a webhook, oldest first.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The webhook"), PageQuery),
    responses((status = 200, body = PageView<DeliveryView>, description = "A page of deliveries")))]
pub(in crate::api) async fn list_deliveries(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "webhook")?;
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.deliveries(&caller, id, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, DeliveryView::from)))
}

/// Send one delivery again, as a new delivery.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery}/replay", tag = "webhooks",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "The webhook"),
        ("delivery" = Uuid, Path, description = "The delivery"),
    ),
    request_body = Option<()>,
    responses(
        (status = 201, body = DeliveryView, description = "The new delivery, which is queued"),
        (status = 409, description = "The webhook has ended, or 100 of its deliveries are still pending"),
    ))]
pub(in crate::api) async fn replay_delivery(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let ids = Path::<(Uuid, Uuid)>::extract(&request).into_inner();
    let (id, delivery) = ids
        .map_err(|_| Problem::not_found("delivery"))?
        .into_inner();
    body.read_nothing().await?;
    let view = |replay: Delivery| HttpResponse::Created().json(DeliveryView::from(replay));
    let verb = async |by: ChangeRequester<'_, _>| {
        service.authority.replay_delivery(by, id, delivery).await
    };
    change(&service, &request, &caller, view, verb).await
}

fn plain(webhook: Webhook) -> HttpResponse {
    HttpResponse::Ok().json(WebhookView::from(webhook))
}

/// Renders the webhook with its secret. The secret is derived again, which is possible as long as
/// it is the newest one. If that fails, the answer is a 500; if the request has an idempotency key,
/// that also rolls the change back.
fn shown(sender: &Sender, mut response: HttpResponseBuilder, webhook: Webhook) -> HttpResponse {
    match sender.secrets().shown(webhook.id, webhook.generation) {
        Ok(secret) => response.json(ShownWebhookView {
            webhook: webhook.into(),
            secret,
        }),
        Err(error) => {
            log::error!("the secret of a webhook cannot be derived: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}
