//! `/v1/control-proofs`: whether an account controls its numbers, shown by codes that come back.

use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::accounts::account_id;
use super::token::fingerprint_of;
use super::views::{ControlProofView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{
    AnyCaller, CallerOrNone, Reader, count_failed_authentication, no_credentials,
};
use crate::api::http::body::{Body, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{self, Fault, FromMembers, Members};
use crate::api::http::idempotency::{Finished, SecretBody, change};
use crate::api::http::query::{CursorKey, PageLimit, PageQuery, id, page, query};
use crate::api::http::request::RequestId;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, Confirmation, NewControlProofs, RefusedCode};
use crate::callers::FlattenedJws;
use crate::domain::Tn;
use crate::domain::control::channel::Channel;
use crate::domain::control::codes::ControlCode;
use crate::domain::control::proof::{ControlProof, Method};

/// Numbers to be asked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewControlProofs)]
pub(in crate::api) struct NewControlProofsBody {
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100, example = json!(["+12125551001"]))]
    numbers: Vec<Tn>,
    /// How the numbers are reached: sms, voice or sip
    #[schema(value_type = String, example = "sms")]
    method: Method,
    /// The fingerprint of the ACME account key (RFC 7638 thumbprint) whose tokens the proofs are
    /// for. With `sip` it is required, and that key signs the answer. With `sms` and `voice` it is
    /// optional: a proof without it counts for tokens of every key.
    #[schema(
        pattern = "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$",
        example = json!(null)
    )]
    fingerprint: Option<String>,
    /// Only for the carrier: supersede pending proofs of the numbers, and pass the limits of the
    /// account, which a thief of its credentials may have used up. Those of the gateway hold, and
    /// twice those of a number.
    #[schema(default = false)]
    override_limits: Option<bool>,
    /// Why, for the audit trail; required with `override_limits`.
    #[schema(value_type = Option<String>, example = json!(null))]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
}

impl NewControlProofsBody {
    /// Why the limits are overridden; `None` if they are not.
    fn override_reason(&mut self) -> Result<Option<String>, Problem> {
        let reason = self.reason.take();
        match (self.override_limits.unwrap_or(false), reason) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(wrong(
                "reason",
                "is only for `override_limits`; leave it out",
            )),
            (true, reason) => {
                let reason = reason.filter(|reason| !reason.trim().is_empty());
                let why = "must say why the limits are overridden";
                reason.ok_or_else(|| wrong("reason", why)).map(Some)
            }
        }
    }
}

/// What came back: a code from a person, or a nonce that an agent has signed.
#[derive(ToSchema)]
#[schema(as = ControlAnswer)]
#[serde(untagged)]
pub(in crate::api) enum ControlAnswerBody {
    Code(CodeBody),
    Signed(SignedBody),
}

/// A code, from a person.
#[derive(Deserialize, ToSchema)]
#[schema(as = ControlCode)]
pub(in crate::api) struct CodeBody {
    /// The code that the number got.
    #[schema(example = "012345", pattern = "^[0-9]{6,8}$")]
    code: String,
}

/// A flattened JWS (RFC 7515), signed with the ACME account key. Needs no other credentials.
#[derive(Deserialize, ToSchema)]
#[schema(as = SignedControlAnswer)]
pub(in crate::api) struct SignedBody {
    /// Base64url of `{"alg":"ES256","jwk":{..},"typ":"control-answer+jwt","url":".."}`, with the
    /// URL of this call.
    protected: String,
    /// Base64url of `{"nonce":".."}`
    payload: String,
    signature: String,
}

impl FromMembers for ControlAnswerBody {
    fn known() -> Vec<&'static str> {
        [CodeBody::known(), SignedBody::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        if members.contains_key("protected") || members.contains_key("signature") {
            return SignedBody::take_from(members).map(Self::Signed);
        }
        CodeBody::take_from(members).map(Self::Code)
    }
}

/// The proofs that were started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StartedControlProofs)]
pub(in crate::api) struct StartedControlProofsView {
    /// In the order of the numbers.
    items: Vec<ControlProofView>,
}

/// Start proofs of control: a code is sent to each number, or to none of them.
///
/// Only numbers that are delegated to the account can be asked. There are limits for each number,
/// account and gateway.
#[utoipa::path(post, path = "/v1/accounts/{id}/control-proofs", tag = "control", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = NewControlProofsBody,
    responses(
        (status = 201, body = StartedControlProofsView, description = "The proofs are pending; the codes are being sent"),
        (status = 403, description = "The account has no authority over some of the numbers, or the caller no access"),
        (status = 409, description = "Some of the numbers were asked already, or no gateway is configured for the method"),
        (status = 429, description = "A limit of a number, the account, the gateway or the caller is reached; retry after `Retry-After` seconds"),
    ))]
pub(in crate::api) async fn start_control_proofs(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let account = account_id(&request)?;
    let mut body: NewControlProofsBody = body.read().await?;
    let override_reason = body.override_reason()?;
    let key = body
        .fingerprint
        .as_deref()
        .map(fingerprint_of)
        .transpose()?;
    let channel = Channel::new(body.method, key).map_err(|why| wrong("fingerprint", why))?;
    let new = NewControlProofs {
        account,
        numbers: body.numbers,
        channel,
        renewal: None,
    };
    let shown = shown(&service);
    let view = move |started: Vec<ControlProof>| {
        let items = started.into_iter().map(&shown).collect();
        HttpResponse::Created().json(StartedControlProofsView { items })
    };
    let authority = &service.authority;
    let verb = async |by: ChangeRequester<'_, _>| match override_reason {
        Some(reason) => authority.start_control_over_limits(by, new, reason).await,
        None => authority.start_control(by, new).await,
    };
    change(&service, &request, &caller, view, verb).await
}

/// Confirm a proof of control: return the code that the number got.
///
/// A code needs the credentials of a caller that can start proofs for the account. The answer to a
/// SIP message needs none: it is signed with the ACME account key.
#[utoipa::path(post, path = "/v1/control-proofs/{id}/confirm", tag = "control", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The proof")),
    request_body = ControlAnswerBody,
    responses(
        (status = 200, body = ControlProofView, description = "The proof is confirmed, now or before"),
        (status = 403, description = "The code is not accepted, and the detail says whether another try is left; or the caller has no access"),
        (status = 409, description = "The proof needs a signed answer"),
        (status = 429, description = "Too many codes of the account were wrong, so none is accepted; or a limit of the caller is reached; retry after `Retry-After` seconds"),
    ))]
pub(in crate::api) async fn confirm_control_proof(
    service: Data<Service>,
    CallerOrNone(caller): CallerOrNone,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let Some(caller) = caller else {
        let body = body.read::<ControlAnswerBody>().await;
        return match body {
            Ok(ControlAnswerBody::Signed(jws)) => confirm_signed(&service, &request, jws).await,
            Ok(ControlAnswerBody::Code(_)) | Err(_) => Err(no_credentials(&service, &request)),
        };
    };
    let id = id(&request, "control proof")?;
    let text = match body.read().await? {
        ControlAnswerBody::Signed(jws) => return confirm_signed(&service, &request, jws).await,
        ControlAnswerBody::Code(body) => body.code,
    };
    request.extensions_mut().insert(SecretBody);
    let (shown, request_id) = (shown(&service), caller.request_id);
    let (authority, by) = (service.authority.clone(), caller.clone());
    let proof = blocking(move || authority.proof_to_confirm(&by, id)).await??;
    let code = match proof.method {
        Method::Sms | Method::Voice => ControlCode::entered(&text),
        // None is accepted.
        Method::Sip => Some(ControlCode::new(&text)),
    };
    let code =
        code.ok_or_else(|| wrong("code", "must be the 6 to 8 digits that the number got"))?;
    let view = move |done| rendered(done, &shown, request_id);
    let verb = async |by: ChangeRequester<'_, _>| {
        let authority = &service.authority;
        authority.confirm_control(by, &proof, code).await
    };
    change(&service, &request, &caller, view, verb).await
}

/// Every refusal is the same, whether there is such a proof or not.
async fn confirm_signed(
    service: &Data<Service>,
    request: &HttpRequest,
    body: SignedBody,
) -> Result<HttpResponse, Problem> {
    let (request_id, data) = (RequestId::of(request), service.clone());
    let id = id(request, "control proof").ok();
    let jws = FlattenedJws {
        protected: body.protected,
        payload: body.payload,
        signature: body.signature,
    };
    let answer = blocking(move || -> Result<_, Problem> {
        let Some(id) = id else { return Ok(None) };
        let url = format!("{}/v1/control-proofs/{id}/confirm", data.public_url);
        let answer = data.callers.signed_answer(&jws, &url, request_id);
        let Some(answer) = answer else {
            return Ok(None);
        };
        let proof = data.authority.proof_to_answer(id, &answer)?;
        Ok(Some((proof, answer)))
    });
    let confirmation = match answer.await?? {
        Some((proof, answer)) => {
            let authority = &service.authority;
            let confirmed = authority.confirm_control_signed(request_id, proof.as_ref(), answer);
            confirmed.await?
        }
        None => Confirmation::Refused(RefusedCode { tries_left: 0 }),
    };
    if let Confirmation::Refused(_) = &confirmation {
        // A guess without credentials, as far as limits go.
        count_failed_authentication(service, request)?;
    }
    Ok(rendered(confirmation, shown(service), request_id))
}

/// Cancel a proof of control whose code can still come back. It is not accepted any more, and the
/// number can be asked anew, as far as the limits allow. The carrier's provisioners and admins can
/// cancel a confirmed proof as well, which then counts no longer.
#[utoipa::path(post, path = "/v1/control-proofs/{id}/cancel", tag = "control", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The proof")),
    responses(
        (status = 200, body = ControlProofView, description = "The proof is cancelled, now or before"),
        (status = 409, description = "The code can no longer come back: it is too late, or was confirmed and the caller is not the carrier's"),
    ))]
pub(in crate::api) async fn cancel_control_proof(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "control proof")?;
    body.read_nothing().await?;
    let shown = shown(&service);
    let view = move |proof: ControlProof| HttpResponse::Ok().json(shown(proof));
    let verb = async |by: ChangeRequester<'_, _>| service.authority.cancel_control(by, id).await;
    change(&service, &request, &caller, view, verb).await
}

/// List the proofs of an account, oldest first, whatever became of them.
#[utoipa::path(get, path = "/v1/accounts/{id}/control-proofs", tag = "control", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme"), PageQuery),
    responses((status = 200, body = PageView<ControlProofView>, description = "A page of proofs")))]
pub(in crate::api) async fn list_control_proofs(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let account = account_id(&request)?;
    let page = query::<PageQuery>(&request)?.page(CursorKey::Uuid)?;
    let shown = shown(&service);
    let found = blocking(move || service.authority.control_proofs(&caller, &account, &page));
    Ok(HttpResponse::Ok().json(PageView::of(found.await??, shown)))
}

/// A number whose proofs are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ProofsOfNumberQuery {
    /// The number in E.164.
    #[param(value_type = String, example = "+12125551001")]
    number: Tn,
    /// The maximum number of items.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// List the proofs of a number, of all accounts, oldest first: what policies saw when a token for
/// it was granted.
#[utoipa::path(get, path = "/v1/control-proofs", tag = "control", security(("bearer" = [])),
    params(ProofsOfNumberQuery),
    responses((status = 200, body = PageView<ControlProofView>, description = "A page of proofs")))]
pub(in crate::api) async fn list_control_proofs_of_number(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let wanted = query::<ProofsOfNumberQuery>(&request)?;
    let (number, page) = (
        wanted.number,
        page(wanted.limit, wanted.cursor, CursorKey::Uuid)?,
    );
    let shown = shown(&service);
    let authority = service.authority.clone();
    let found = blocking(move || authority.control_proofs_of_number(&caller, number, &page));
    Ok(HttpResponse::Ok().json(PageView::of(found.await??, shown)))
}

/// Show one proof.
#[utoipa::path(get, path = "/v1/control-proofs/{id}", tag = "control", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The proof")),
    responses((status = 200, body = ControlProofView, description = "The proof")))]
pub(in crate::api) async fn get_control_proof(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id = id(&request, "control proof")?;
    let shown = shown(&service);
    let found = blocking(move || service.authority.control_proof(&caller, id)).await??;
    Ok(HttpResponse::Ok().json(shown(found)))
}

/// How proofs are shown now.
pub(super) fn shown(service: &Service) -> impl Fn(ControlProof) -> ControlProofView + Send + use<> {
    let tries = service.authority.control().settings.tries;
    ControlProofView::at(service.authority.now(), tries)
}

fn rendered(
    confirmation: Confirmation,
    shown: impl Fn(ControlProof) -> ControlProofView,
    request_id: Uuid,
) -> HttpResponse {
    match confirmation {
        Confirmation::Confirmed(proof) => HttpResponse::Ok().json(shown(proof)),
        Confirmation::Refused(refused) => {
            let mut response = Problem::from(refused).render(request_id);
            // It is complete, so that nothing else takes it for a refusal without a problem.
            response.extensions_mut().insert(Finished);
            response
        }
    }
}
