//! `/v1/control-proofs`: whether an account controls its numbers, shown by codes that come back.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::accounts::account_id;
use super::token::fingerprint_of;
use super::views::{ControlProofView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{
    AnyCaller, CallerOrNone, count_failed_authentication, no_credentials,
};
use crate::api::http::body::{Body, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{Fault, FromMembers, Members};
use crate::api::http::idempotency::{Finished, change};
use crate::api::http::query::{CursorKey, PageQuery, id, query};
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
    #[schema(example = "012345")]
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

/// Start proofs of control: a code is sent to each number. All numbers are asked, or none.
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
    let body: NewControlProofsBody = body.read().await?;
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
    let verb = async |by: ChangeRequester<'_, _>| service.authority.start_control(by, new).await;
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
    let code = match body.read().await? {
        ControlAnswerBody::Signed(jws) => return confirm_signed(&service, &request, jws).await,
        ControlAnswerBody::Code(body) => ControlCode::new(&body.code),
    };
    let (shown, request_id) = (shown(&service), caller.request_id);
    let (authority, by) = (service.authority.clone(), caller.clone());
    let proof = blocking(move || authority.proof_to_confirm(&by, id)).await??;
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
