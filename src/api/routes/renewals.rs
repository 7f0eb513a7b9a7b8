//! `/v1/renewals`: renewal rights, and the token URL of each.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::token::{
    AnyTokenBody, TokenView, fingerprint_of, forget_if_ended, list_of, token_request,
};
use super::views::{PageView, RangeView};
use crate::api::Service;
use crate::api::http::authentication::{AnyCaller, Manager, TokenRequester};
use crate::api::http::body::{Body, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{self, Id};
use crate::api::http::idempotency::{self, ClaimKey, change};
use crate::api::http::query::{CursorKey, PageQuery, id, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, NewRenewal, NewReproofing};
use crate::domain::AccountId;
use crate::domain::control::proof::Method;
use crate::domain::control::reproofing::Reproofing;
use crate::domain::tokens::renewal::Renewal;

/// A renewal right to create.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRenewal)]
pub(in crate::api) struct NewRenewalBody {
    #[schema(value_type = String, example = "acme")]
    account: AccountId,
    /// A delegation to this account. The right ends when the delegation ends.
    #[schema(value_type = Uuid)]
    delegation: Id,
    /// The TNAuthList of each token: DER in base64url without padding. Its numbers must belong to
    /// the delegation.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// The fingerprint of the ACME account key (RFC 7638 thumbprint).
    #[schema(
        pattern = "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$",
        example = "SHA256 56:3E:CF:AE:83:CA:4D:15:B0:29:FF:1B:71:D3:BA:B9:19:81:F8:50:9B:DF:4A:D4:39:72:E2:B1:F0:B9:38:E3"
    )]
    fingerprint: String,
    /// The maximum lifetime of a token, in seconds.
    #[schema(minimum = 1, example = 3600)]
    lifetime: u32,
    /// No tokens are issued from this instant on; if left out, until the delegation ends.
    not_after: Option<Instant>,
    /// The only caller that can use the right, such as the id of an API key with role renewer. If
    /// left out, every caller that can request tokens for the account.
    #[schema(min_length = 1, example = "3f9c2b7a51d04e68")]
    #[serde(default, deserialize_with = "deserialize::text")]
    caller: Option<String>,
    /// How the service proves control of the numbers again by itself, before the last proofs are
    /// too old. If left out, it does not.
    #[schema(value_type = NewReproofingBody)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    control: Option<NewReproofingBody>,
}

/// How the service proves control of the numbers of a renewal right again.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewReproofing)]
pub(in crate::api) struct NewReproofingBody {
    /// How the numbers are reached: sip, which an agent answers; or sms or voice, which a person
    /// answers. A gateway must be configured for it.
    #[schema(value_type = String, example = "sip")]
    method: Method,
    /// The age that the proofs must not reach, in seconds. New ones are started after two thirds
    /// of it.
    #[schema(minimum = 3600, maximum = 31_622_400, example = 7_776_000)]
    max_age: u32,
}

/// How the service proves control of the numbers of a renewal right again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reproofing)]
pub(in crate::api) struct ReproofingView {
    /// sms, voice or sip
    #[schema(value_type = String, example = "sip")]
    method: Method,
    /// The age that the proofs must not reach, in seconds.
    #[schema(example = 7_776_000)]
    max_age: u32,
    /// When the numbers are checked next, and asked if necessary; null if the right is over.
    due_at: Option<Instant>,
}

impl From<Reproofing> for ReproofingView {
    fn from(control: Reproofing) -> Self {
        Self {
            method: control.method,
            max_age: control.max_age,
            due_at: control.due_at.map(Instant),
        }
    }
}

/// A right to obtain tokens for the same numbers and key repeatedly.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Renewal)]
pub(in crate::api) struct RenewalView {
    id: Uuid,
    #[schema(example = "acme")]
    account: String,
    delegation: Uuid,
    tkvalue: String,
    numbers: Vec<RangeView>,
    fingerprint: String,
    #[schema(example = 3600)]
    lifetime: u32,
    not_after: Option<Instant>,
    caller: Option<String>,
    /// The path of this service at which its tokens are requested.
    #[schema(example = "/v1/renewals/0197a0b1-0000-7000-8000-000000000000/token")]
    token_url: String,
    created_at: Instant,
    revoked_at: Option<Instant>,
    /// Null if the service does not prove control of the numbers again.
    control: Option<ReproofingView>,
}

impl From<Renewal> for RenewalView {
    fn from(renewal: Renewal) -> Self {
        let numbers = renewal.list.numbers().unwrap_or_default();
        Self {
            id: renewal.id,
            account: renewal.account.to_string(),
            delegation: renewal.delegation,
            tkvalue: renewal.list.to_tkvalue(),
            numbers: numbers.into_iter().map(RangeView::from).collect(),
            fingerprint: renewal.fingerprint.to_string(),
            lifetime: renewal.lifetime,
            not_after: renewal.not_after.map(Instant),
            caller: renewal.caller,
            token_url: format!("/v1/renewals/{}/token", renewal.id),
            created_at: renewal.created_at.into(),
            revoked_at: renewal.revoked_at.map(Instant),
            control: renewal.control.map(ReproofingView::from),
        }
    }
}

/// Give an account a renewal right.
///
/// Until its delegation ends, the right allows one token after another for the same numbers and the
/// same key.
#[utoipa::path(post, path = "/v1/renewals", tag = "tokens", security(("bearer" = [])),
    request_body = NewRenewalBody,
    responses(
        (status = 201, body = RenewalView, description = "The right is recorded",
            headers(("Location" = String, description = "`/v1/renewals/{id}`"))),
        (status = 404, description = "The account does not exist, or has no such delegation"),
        (status = 409, description = "The delegation has ended or does not cover these numbers, the account has too many rights, or control of the numbers cannot be proven again this way"),
    ))]
pub(in crate::api) async fn create_renewal(
    service: Data<Service>,
    Manager(caller): Manager,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let new = new_renewal(body.read().await?)?;
    let view = |made: Renewal| {
        HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/v1/renewals/{}", made.id)))
            .json(RenewalView::from(made))
    };
    let verb = async |by: ChangeRequester<'_, _>| service.authority.allow_renewal(by, new).await;
    change(&service, &request, &caller, view, verb).await
}

/// List renewal rights, oldest first, including revoked ones.
#[utoipa::path(get, path = "/v1/renewals", tag = "tokens", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<RenewalView>, description = "A page of renewal rights")))]
pub(in crate::api) async fn list_renewals(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let found = blocking(move || service.authority.renewals(&caller, &page)).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, RenewalView::from)))
}

/// Show one renewal right.
#[utoipa::path(get, path = "/v1/renewals/{id}", tag = "tokens", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The renewal right")),
    responses((status = 200, body = RenewalView, description = "The renewal right")))]
pub(in crate::api) async fn get_renewal(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "renewal")?;
    let found = blocking(move || service.authority.renewal(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(RenewalView::from(found)))
}

/// Revoke a renewal right: no more tokens are issued under it.
#[utoipa::path(post, path = "/v1/renewals/{id}/revoke", tag = "tokens", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The renewal right")), request_body = Option<()>,
    responses((status = 200, body = RenewalView, description = "The right is revoked")))]
pub(in crate::api) async fn revoke_renewal(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "renewal")?;
    body.read_nothing().await?;
    let view = |revoked: Renewal| HttpResponse::Ok().json(RenewalView::from(revoked));
    let verb = async |by: ChangeRequester<'_, _>| service.authority.revoke_renewal(by, id).await;
    change(&service, &request, &caller, view, verb).await
}

/// Issue the next token under a renewal right.
///
/// The body is that of a request to the account's token endpoint, or is left out.
#[utoipa::path(post, path = "/v1/renewals/{id}/token", tag = "tokens", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The renewal right")), request_body = Option<AnyTokenBody>,
    responses((status = 200, body = TokenView, description = "The token, which is recorded in the ledger")))]
pub(in crate::api) async fn renew_token(
    service: Data<Service>,
    TokenRequester(caller): TokenRequester,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body = body.read_if_any::<AnyTokenBody>().await?;
    let order = body.map(|body| token_request(&service.authority, body.into()));
    let order = order.transpose()?;
    // A malformed id cannot name a right. Answer as for a right of another tenant, so that ids
    // cannot be probed.
    let id = id(&request, "renewal").map_err(|_| Problem::forbidden())?;
    let (data, by) = (service.clone(), caller.clone());
    let renew = async move |keyed| {
        let authority = data.authority.clone();
        // A missing right is passed on as `None`: `renew` refuses it, and records the attempt.
        let right = blocking(move || authority.renewal_to_use(id)).await??;
        let issued = data.authority.renew(&by, (id, right), order, keyed);
        let issued = issued.await;
        let issued = issued.inspect_err(|error| forget_if_ended(&data, &by, error))?;
        let (jti, request_id) = (issued.jti.to_string(), by.request_id.to_string());
        let renewal = id.to_string();
        log::info!(
            jti = jti.as_str(), renewal = renewal.as_str(), request_id = request_id.as_str();
            "renewed a token"
        );
        Ok(HttpResponse::Ok().json(TokenView::from(issued)))
    };
    idempotency::request(&service, &request, &caller, ClaimKey::WithDecision, renew).await
}

fn new_renewal(body: NewRenewalBody) -> Result<NewRenewal, Problem> {
    let caller = body.caller;
    if caller.as_deref() == Some("") {
        return Err(wrong(
            "caller",
            "must not be empty; leave it out to allow every caller of the account",
        ));
    }
    Ok(NewRenewal {
        account: body.account,
        delegation: body.delegation.0,
        list: list_of(&body.tkvalue)?,
        fingerprint: fingerprint_of(&body.fingerprint)?,
        lifetime: body.lifetime,
        not_after: body.not_after.map(|at| at.0),
        caller,
        control: body.control.map(|control| NewReproofing {
            method: control.method,
            max_age: control.max_age,
        }),
    })
}
