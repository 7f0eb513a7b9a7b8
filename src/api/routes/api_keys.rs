//! `/v1/api-keys`: what callers prove themselves with. For the carrier's admins alone.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::Admin;
use crate::api::http::body::Body;
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, name, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::callers::{DEFAULT_OVERLAP, KeyRequester, NewApiKey, ShownApiKey};
use crate::domain::credentials::api_key::{ApiKey, KeyState};
use crate::domain::{AccountId, Network, Role, Time};

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(in crate::api) struct NewApiKeyBody {
    /// admin, provisioner, portal, account, auditor or renewer
    #[schema(value_type = String, example = "account")]
    role: Role,
    /// The account of a key with role account or renewer; the accounts that a portal may mint for; the reseller that a provisioner or an
    /// auditor is confined to.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000, example = json!(["acme"]))]
    accounts: Option<Vec<AccountId>>,
    /// What the key is for.
    #[schema(example = "order system of Acme")]
    #[serde(default, deserialize_with = "deserialize::text")]
    label: Option<String>,
    /// When it stops working; it works without an end, if it is not said.
    expires_at: Option<Instant>,
    /// The networks that it works from; from anywhere, if none is named.
    #[schema(value_type = Option<Vec<String>>, max_items = 32, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    allow_from: Option<Vec<Network>>,
}

/// How to rotate.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Rotation)]
pub(in crate::api) struct RotationBody {
    /// For how many seconds the old secret works beside the new one; 0 ends it at once.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86400)]
    overlap: Option<u32>,
}

/// When a key is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyEnd)]
pub(in crate::api) struct KeyEndBody {
    at: Instant,
}

/// An API key, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(in crate::api) struct ApiKeyView {
    /// The public part of the key, which grants and the audit trail name.
    #[schema(example = "3f9c2b7a51d04e68")]
    id: String,
    #[schema(value_type = String, example = "account")]
    role: Role,
    #[schema(value_type = Vec<String>)]
    accounts: Vec<AccountId>,
    label: String,
    /// active, expired or revoked
    #[schema(value_type = String, example = "active")]
    state: KeyState,
    created_at: Instant,
    expires_at: Option<Instant>,
    revoked_at: Option<Instant>,
    /// The networks that it works from; from anywhere when there is none.
    #[schema(value_type = Vec<String>)]
    allow_from: Vec<Network>,
    /// The number of its secret: 1, and one more with each rotation.
    #[schema(minimum = 1, example = 1)]
    secret: i32,
    rotated_at: Option<Instant>,
    /// Until when the secret before works too.
    previous_until: Option<Instant>,
    /// To the minute or so; null if it never was.
    last_used_at: Option<Instant>,
}

/// A key whose secret was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownApiKey)]
pub(in crate::api) struct ShownApiKeyView {
    #[serde(flatten)]
    kept: ApiKeyView,
    /// The whole key, for `Authorization: Bearer`. It is never shown again.
    #[schema(example = "tna_3f9c2b7a51d04e68_..")]
    key: String,
}

impl ApiKeyView {
    fn at(now: Time, key: ApiKey) -> Self {
        let validity = key.validity;
        let overlaps = |end: &Time| *end > now;
        Self {
            state: key.state(now),
            id: key.id,
            role: key.role,
            accounts: key.accounts,
            label: key.label,
            created_at: key.created_at.into(),
            expires_at: validity.expires_at.map(Instant),
            revoked_at: validity.revoked_at.map(Instant),
            allow_from: key.allow_from,
            secret: validity.secret,
            rotated_at: key.rotated_at.map(Instant),
            previous_until: validity.previous_until.filter(overlaps).map(Instant),
            last_used_at: key.last_used_at.map(Instant),
        }
    }
}

impl ShownApiKeyView {
    fn at(now: Time, made: ShownApiKey) -> Self {
        Self {
            kept: ApiKeyView::at(now, made.kept),
            key: made.key,
        }
    }
}

/// Make an API key. The answer is the only time that it is shown.
#[utoipa::path(post, path = "/v1/api-keys", tag = "callers", security(("bearer" = [])),
    request_body = NewApiKeyBody,
    responses(
        (status = 201, body = ShownApiKeyView, description = "The key",
            headers(("Location" = String, description = "`/v1/api-keys/{id}`"))),
        (status = 409, description = "There is no such account"),
    ))]
pub(in crate::api) async fn create_api_key(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: NewApiKeyBody = body.read().await?;
    let new = NewApiKey {
        role: body.role,
        accounts: body.accounts.unwrap_or_default(),
        label: body.label.unwrap_or_default(),
        expires_at: body.expires_at.map(|at| at.0),
        allow_from: body.allow_from.unwrap_or_default(),
    };
    let now = service.authority.now();
    let view = move |made: ShownApiKey| {
        let location = format!("/v1/api-keys/{}", made.kept.id);
        HttpResponse::Created()
            .insert_header((header::LOCATION, location))
            .json(ShownApiKeyView::at(now, made))
    };
    let verb = async |by: KeyRequester<'_, _>| service.callers.api_keys().create(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List the API keys, in the order of their ids.
#[utoipa::path(get, path = "/v1/api-keys", tag = "callers", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<ApiKeyView>, description = "A page of keys")))]
pub(in crate::api) async fn list_api_keys(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Caller)?;
    let now = service.authority.now();
    let found = web::block(move || service.callers.api_keys().list(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, |key| ApiKeyView::at(now, key))))
}

/// Show one API key.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    responses((status = 200, body = ApiKeyView, description = "The key")))]
pub(in crate::api) async fn get_api_key(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (id, now) = (key_id(&request)?, service.authority.now());
    let found = web::block(move || service.callers.api_keys().get(&caller, &id)).await??;
    Ok(HttpResponse::Ok().json(ApiKeyView::at(now, found)))
}

/// Give an API key another secret. The old one works for a while, one that is older than that ends at once. The answer is
/// the only time that the new one is shown.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotate", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = Option<RotationBody>,
    responses(
        (status = 200, body = ShownApiKeyView, description = "The key with its new secret"),
        (status = 409, description = "The key has ended"),
    ))]
pub(in crate::api) async fn rotate_api_key(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = key_id(&request)?;
    let rotation = body.read_if_any::<RotationBody>().await?;
    let overlap = rotation.and_then(|rotation| rotation.overlap);
    let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
    let now = service.authority.now();
    let view = move |made| HttpResponse::Ok().json(ShownApiKeyView::at(now, made));
    let verb =
        async |by: KeyRequester<'_, _>| service.callers.api_keys().rotate(by, &id, overlap).await;
    change(&service, &request, &caller, view, verb).await
}

/// Say when an API key ends.
#[utoipa::path(post, path = "/v1/api-keys/{id}/expire", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = KeyEndBody,
    responses(
        (status = 200, body = ApiKeyView, description = "It ends then"),
        (status = 409, description = "The key has ended already"),
    ))]
pub(in crate::api) async fn expire_api_key(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = key_id(&request)?;
    let KeyEndBody { at } = body.read().await?;
    let view = changed(&service);
    let verb =
        async |by: KeyRequester<'_, _>| service.callers.api_keys().expire(by, &id, at.0).await;
    change(&service, &request, &caller, view, verb).await
}

/// Make an API key useless from now on, with all of its secrets.
#[utoipa::path(post, path = "/v1/api-keys/{id}/revoke", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = Option<()>,
    responses((status = 200, body = ApiKeyView, description = "It is revoked")))]
pub(in crate::api) async fn revoke_api_key(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = key_id(&request)?;
    body.read_nothing().await?;
    let view = changed(&service);
    let verb = async |by: KeyRequester<'_, _>| service.callers.api_keys().revoke(by, &id).await;
    change(&service, &request, &caller, view, verb).await
}

/// Shows a key that was changed now.
fn changed(service: &Service) -> impl Fn(ApiKey) -> HttpResponse + Send + 'static {
    let now = service.authority.now();
    move |key| HttpResponse::Ok().json(ApiKeyView::at(now, key))
}

/// The key of the path. What cannot be an id names no key.
fn key_id(request: &HttpRequest) -> Result<String, Problem> {
    let id = name(request)?;
    let is_id = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id
        .then_some(id)
        .ok_or_else(|| Problem::not_found("API key"))
}
