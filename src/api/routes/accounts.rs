//! `/v1/accounts`: the accounts for which tokens are requested.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::views::{AccountView, AffectedView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Manager, Provisioner, Reader};
use crate::api::http::body::Body;
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize;
use crate::api::http::idempotency::change;
use crate::api::http::query::{CursorKey, PageQuery, name, query};
use crate::api::problem::Problem;
use crate::authority::ChangeRequester;
use crate::authority::NewAccount;
use crate::domain::accounts::account::LifetimeMode;
use crate::domain::{AccountId, Dialect};

/// The settings of an account; what is left out keeps its value.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewAccount)]
pub(in crate::api) struct NewAccountBody {
    /// A display name; if left out, the current one is kept.
    #[schema(example = "Acme Plumbing")]
    #[serde(default, deserialize_with = "deserialize::text")]
    name: Option<String>,
    /// The reseller whose customer the account is. Cannot be changed later.
    #[schema(value_type = Option<String>)]
    parent: Option<AccountId>,
    /// How strictly requests for this account are parsed: strict or legacy. If left out, a new
    /// account is strict, and an existing one keeps its dialect.
    #[schema(value_type = Option<String>, example = "strict")]
    dialect: Option<Dialect>,
}

/// The lifetime mode of the account's tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Lifetime)]
pub(in crate::api) struct LifetimeBody {
    /// proof: the default lifetime of the service. grant-horizon: as long as the account's
    /// authority over the numbers lasts, up to a configured maximum.
    #[schema(value_type = String, example = "grant-horizon")]
    mode: LifetimeMode,
}

/// The account in the path. A malformed id cannot name an account, so it is answered like an
/// unknown one.
pub(in crate::api) fn account_id(request: &HttpRequest) -> Result<AccountId, Problem> {
    name(request)?
        .parse()
        .map_err(|_| Problem::not_found("account"))
}

/// List accounts, ordered by id.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<AccountView>, description = "A page of accounts")))]
pub(in crate::api) async fn list_accounts(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Account)?;
    let found = blocking(move || service.authority.accounts(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, AccountView::from)))
}

/// Show one account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    responses((status = 200, body = AccountView, description = "The account")))]
pub(in crate::api) async fn get_account(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = account_id(&request)?;
    let account = blocking(move || service.authority.account(&caller, &id)).await??;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}

/// Create an account, or change its name or dialect.
#[utoipa::path(put, path = "/v1/accounts/{id}", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, description = "`[A-Za-z0-9._~-]{1,64}`", example = "acme")),
    request_body = NewAccountBody,
    responses(
        (status = 200, body = AccountView, description = "The account existed already"),
        (status = 201, body = AccountView, description = "The account was created"),
        (status = 409, description = "This parent is not possible"),
    ))]
pub(in crate::api) async fn put_account(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    // Other than in the other routes, 404 would be wrong for a malformed id: it is the id of an
    // account to create.
    let id = name(&request)?
        .parse()
        .map_err(|e| Problem::malformed("malformed-path", e))?;
    let body: NewAccountBody = body.read().await?;
    let new = NewAccount {
        name: body.name,
        parent: body.parent,
        dialect: body.dialect,
    };
    // PUT is idempotent in itself, so it takes no `Idempotency-Key`.
    let (account, is_new) = service.authority.put_account_as(&caller, id, new).await?;
    let mut answer = if is_new {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    Ok(answer.json(AccountView::from(account)))
}

/// Suspend an account: no tokens are issued for it until it is resumed.
#[utoipa::path(post, path = "/v1/accounts/{id}/suspend", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    responses((status = 200, body = AffectedView<AccountView>, description = "The account is suspended")))]
pub(in crate::api) async fn suspend_account(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = account_id(&request)?;
    body.read_nothing().await?;
    let now = service.authority.now();
    let view =
        move |affected| HttpResponse::Ok().json(AffectedView::<AccountView>::at(now, affected));
    let verb = async |by: ChangeRequester<'_, _>| service.authority.suspend(by, id).await;
    change(&service, &request, &caller, view, verb).await
}

/// Resume a suspended account.
#[utoipa::path(post, path = "/v1/accounts/{id}/resume", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    responses((status = 200, body = AccountView, description = "The account is no longer suspended")))]
pub(in crate::api) async fn resume_account(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = account_id(&request)?;
    body.read_nothing().await?;
    let view = |account| HttpResponse::Ok().json(AccountView::from(account));
    let verb = async |by: ChangeRequester<'_, _>| service.authority.resume(by, id).await;
    change(&service, &request, &caller, view, verb).await
}

/// Set the lifetime mode of tokens whose request names no lifetime.
#[utoipa::path(put, path = "/v1/accounts/{id}/lifetime", tag = "accounts", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = LifetimeBody,
    responses((status = 200, body = AccountView, description = "The mode applies to new tokens")))]
pub(in crate::api) async fn set_lifetime(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = account_id(&request)?;
    let LifetimeBody { mode } = body.read().await?;
    let account = service
        .authority
        .set_lifetime_mode(&caller, id, mode)
        .await?;
    Ok(HttpResponse::Ok().json(AccountView::from(account)))
}
