//! `POST /at/account/{id}/token`: the token endpoint (RFC 9447 §5, RFC 9448 §5.5).

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Service;
use super::body::{Body, Members};
use super::caller::Asking;
use super::idempotency::{self, Takes};
use super::instant::Instant;
use super::problem::Problem;
use super::query::name;
use crate::authority::{IssueError, Issued};
use crate::domain::claims::TKTYPE;
use crate::domain::fingerprint::FingerprintError;
use crate::domain::tn_auth_list::TnAuthListError;
use crate::domain::{AccountId, Caller, Denial, Fingerprint, TnAuthList, TokenRequest};

/// The claim values that the token is to have; bare, or under one member `atc`.
#[derive(Debug, ToSchema)]
#[schema(as = TokenRequest)]
#[expect(dead_code, reason = "describes the body; `request` reads it")]
pub(super) struct TokenBody {
    #[schema(pattern = "^TNAuthList$", example = "TNAuthList")]
    tktype: String,
    /// The DER TNAuthList of RFC 8226 in base64url without padding.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// Whether the token is for a CA certificate.
    #[schema(default = false)]
    ca: Option<bool>,
    /// Of the ACME account key (RFC 7638 thumbprint).
    #[schema(
        pattern = "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$",
        example = "SHA256 56:3E:CF:AE:83:CA:4D:15:B0:29:FF:1B:71:D3:BA:B9:19:81:F8:50:9B:DF:4A:D4:39:72:E2:B1:F0:B9:38:E3"
    )]
    fingerprint: String,
    /// Seconds; policy has the last word.
    #[schema(minimum = 1, example = 3600)]
    lifetime: Option<u64>,
}

/// The same under one member.
#[derive(Debug, ToSchema)]
#[schema(as = AtcTokenRequest)]
#[expect(dead_code, reason = "describes the body; `request` reads it")]
pub(super) struct AtcTokenBody {
    atc: TokenBody,
}

/// Either form.
#[derive(Debug, ToSchema)]
#[schema(as = AnyTokenRequest)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body; `request` reads it")]
pub(super) enum AnyTokenBody {
    Bare(TokenBody),
    UnderAtc(AtcTokenBody),
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenView {
    /// The JWT, in compact serialization.
    token: String,
    /// Its id, which names the grant in the ledger.
    jti: String,
    expires: Instant,
}

impl From<Issued> for TokenView {
    fn from(issued: Issued) -> Self {
        Self {
            token: issued.token,
            jti: issued.jti.to_string(),
            expires: issued.expires.into(),
        }
    }
}

/// Issue an authority token for numbers that the account may represent.
#[utoipa::path(
    post, path = "/at/account/{id}/token", tag = "tokens", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = AnyTokenBody,
    responses((status = 200, body = TokenView, description = "The token, which is in the ledger")),
)]
pub(super) async fn issue_token(
    service: Data<Service>,
    Asking(caller): Asking,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let wanted = token_request(body.read().await?)?;
    // What is no id is the id of no account.
    let account: AccountId = name(&request)?.parse().map_err(|_| Problem::forbidden())?;
    let numbers = wanted
        .numbers()
        .iter()
        .fold(0, |sum: u64, range| sum.saturating_add(range.count()));

    let (data, by) = (service.clone(), caller.clone());
    let issue = async move |attempt| {
        let (authority, id) = (&data.authority, account.clone());
        let issued = match attempt {
            None => authority.issue(&by, id, wanted).await,
            Some(attempt) => authority.issue_once(&by, id, wanted, attempt).await,
        };
        let issued = issued.inspect_err(|error| forget_if_ended(&data, &by, error))?;
        let (jti, request_id) = (issued.jti.to_string(), by.request_id.to_string());
        log::info!(
            jti = jti.as_str(), account = account.as_str(), numbers = numbers, request_id = request_id.as_str();
            "issued a token"
        );
        Ok(HttpResponse::Ok().json(TokenView::from(issued)))
    };
    idempotency::request(&service, &request, &caller, Takes::Deciding, issue).await
}

/// What was read of a caller is out of date when a transaction has found that its proof has ended.
pub(super) fn forget_if_ended(service: &Service, caller: &Caller, error: &IssueError) {
    if matches!(error, IssueError::Denied(Denial::ProofEnded(_))) {
        service.callers.forget(caller);
    }
}

/// The body, parsed; after this nothing of it is a text any more.
pub(super) fn token_request(mut body: Members) -> Result<TokenRequest, Problem> {
    let mut atc = match body.take::<Value>("atc")? {
        None => body,
        Some(atc) => {
            body.done()?;
            Members::of(atc, "`atc`")?
        }
    };
    if atc.need::<String>("tktype")? != TKTYPE {
        return Err(Problem::malformed(
            "unsupported-tktype",
            "`tktype`: only TNAuthList is known here",
        ));
    }
    let tkvalue = list_of(&atc.need::<String>("tkvalue")?)?;
    let fingerprint = fingerprint_of(&atc.need::<String>("fingerprint")?)?;
    let ca = atc.take("ca")?.unwrap_or(false);
    // What is more than a `u32` is too long for any policy.
    let lifetime = atc
        .take::<u64>("lifetime")?
        .map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    atc.done()?;
    TokenRequest::new(tkvalue, ca, fingerprint, lifetime).map_err(|e| malformed_list(&e))
}

/// A list as it stands in a body.
pub(super) fn list_of(tkvalue: &str) -> Result<TnAuthList, Problem> {
    TnAuthList::from_tkvalue(tkvalue).map_err(|e| malformed_list(&e))
}

/// A fingerprint as it stands in a body.
pub(super) fn fingerprint_of(text: &str) -> Result<Fingerprint, Problem> {
    let print = |e: FingerprintError| {
        Problem::malformed("malformed-fingerprint", format_args!("`fingerprint`: {e}"))
    };
    text.parse().map_err(print)
}

fn malformed_list(error: &TnAuthListError) -> Problem {
    Problem::malformed("malformed-tkvalue", format_args!("`tkvalue`: {error}"))
}
