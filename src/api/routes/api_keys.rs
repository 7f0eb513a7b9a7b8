//! `/v1/api-keys`: the credentials of callers. Only admins of the carrier manage them.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::Admin;
use crate::api::http::body::Body;
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, name, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::callers::{ApiKeyName, DEFAULT_OVERLAP, KeyRequester, NewApiKey, ShownApiKey};
use crate::domain::credentials::api_key::{ApiKey, KeyState};
use crate::domain::{AccountId, Network, Role, Time};

/// An API key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(in crate::api) struct NewApiKeyBody {
    /// admin, provisioner, portal, account, auditor or renewer
    #[schema(value_type = String, example = "account")]
    role: Role,
    /// With role account or renewer, the account of the key. With role portal, the accounts that it
    /// can request tokens for. With role provisioner or auditor, the reseller that it is confined
    /// to.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000, example = json!(["acme"]))]
    accounts: Option<Vec<AccountId>>,
    /// What the key is for.
    #[schema(example = "order system of Acme")]
    #[serde(default, deserialize_with = "deserialize::text")]
    label: Option<String>,
    /// When the key expires; if left out, it does not expire.
    expires_at: Option<Instant>,
    /// The networks from which the key is accepted; if left out, it is accepted from anywhere.
    #[schema(value_type = Option<Vec<String>>, max_items = 32, example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    allow_from: Option<Vec<Network>>,
}

/// How to rotate a key.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Rotation)]
pub(in crate::api) struct RotationBody {
    /// For how many seconds the old secret stays valid alongside the new one; 0 ends it
    /// immediately.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86400)]
    overlap: Option<u32>,
}

/// When a key expires.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyEnd)]
pub(in crate::api) struct KeyEndBody {
    at: Instant,
}

/// An API key, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(in crate::api) struct ApiKeyView {
    /// The public part of the key, by which grants and the audit trail refer to it.
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
    /// The networks from which the key is accepted; if empty, it is accepted from anywhere.
    #[schema(value_type = Vec<String>)]
    allow_from: Vec<Network>,
    /// The number of the current secret: 1 for the first, one more with each rotation.
    #[schema(minimum = 1, example = 1)]
    secret: i32,
    rotated_at: Option<Instant>,
    /// Until when the previous secret is valid too; null if it is not.
    previous_until: Option<Instant>,
    /// Accurate to about a minute; null if the key was never used.
    last_used_at: Option<Instant>,
}

/// An API key together with its new secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownApiKey)]
pub(in crate::api) struct ShownApiKeyView {
    #[serde(flatten)]
    api_key: ApiKeyView,
    /// The whole key, for `Authorization: Bearer`. It is not shown again.
    #[schema(example = "tna_3f9c2b7a51d04e68_..")]
    key: String,
}

impl ApiKeyView {
    fn at(now: Time, key: ApiKey) -> Self {
        let validity = key.validity;
        // The end of an overlap stays in the store when it has passed; show it only while it
        // matters.
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
            api_key: ApiKeyView::at(now, made.kept),
            key: made.key,
        }
    }
}

/// Create an API key.
///
/// Its secret is only shown in this response.
#[utoipa::path(post, path = "/v1/api-keys", tag = "callers", security(("bearer" = [])),
    request_body = NewApiKeyBody,
    responses(
        (status = 201, body = ShownApiKeyView, description = "The key with its secret",
            headers(("Location" = String, description = "`/v1/api-keys/{id}`"))),
        (status = 409, description = "An account of the key does not exist"),
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

/// List API keys, ordered by id.
#[utoipa::path(get, path = "/v1/api-keys", tag = "callers", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<ApiKeyView>, description = "A page of keys")))]
pub(in crate::api) async fn list_api_keys(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Caller)?;
    let now = service.authority.now();
    let found = blocking(move || service.callers.api_keys().list(&caller, &page)).await??;
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
    let found = blocking(move || service.callers.api_keys().get(&caller, &id)).await??;
    Ok(HttpResponse::Ok().json(ApiKeyView::at(now, found)))
}

/// Replace the secret of an API key.
///
/// The previous secret stays valid during the overlap; an even older one ends immediately. The new
/// secret is only shown in this response.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotate", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = Option<RotationBody>,
    responses(
        (status = 200, body = ShownApiKeyView, description = "The key with its new secret"),
        (status = 409, description = "The key has expired or was revoked"),
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

/// Set when an API key expires.
#[utoipa::path(post, path = "/v1/api-keys/{id}/expire", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = KeyEndBody,
    responses(
        (status = 200, body = ApiKeyView, description = "The key, with its expiry"),
        (status = 409, description = "The key has already expired or was revoked"),
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

/// Revoke an API key, with all of its secrets, immediately and permanently.
#[utoipa::path(post, path = "/v1/api-keys/{id}/revoke", tag = "callers", security(("bearer" = [])),
    params(("id" = String, Path, description = "The public part of the key")),
    request_body = Option<()>,
    responses((status = 200, body = ApiKeyView, description = "The key is revoked")))]
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

/// Renders a key that was just changed.
fn changed(service: &Service) -> impl Fn(ApiKey) -> HttpResponse + Send + 'static {
    let now = service.authority.now();
    move |key| HttpResponse::Ok().json(ApiKeyView::at(now, key))
}

/// The id of the key in the path. A malformed id cannot name a key, so it is answered like an
/// unknown one.
fn key_id(request: &HttpRequest) -> Result<String, Problem> {
    let id = name(request)?;
    if ApiKeyName::parse(&id).is_some_and(|named| named.id != id) {
        return Err(Problem::malformed(
            "malformed-path",
            "an API key is named by its id alone: the 16 characters after `tna_`, without the secret",
        ));
    }
    let is_id = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_id
        .then_some(id)
        .ok_or_else(|| Problem::not_found("API key"))
}
