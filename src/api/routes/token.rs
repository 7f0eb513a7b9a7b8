//! `POST /at/account/{id}/token`: the token endpoint (RFC 9447 §5, RFC 9448 §5.5).

use std::fmt::Display;
use std::str::FromStr;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::http::authentication::TokenRequester;
use crate::api::http::body::Body;
use crate::api::http::deserialize::{self, Fault, FromMembers, Members};
use crate::api::http::idempotency::{self, ClaimKey};
use crate::api::http::query::name;
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{Authority, IssueError, Issued, check_account_key};
use crate::domain::tokens::fingerprint::{AskedFingerprint, FingerprintError};
use crate::domain::tokens::jwk::AccountJwk;
use crate::domain::tokens::tn_auth_list::TnAuthListError;
use crate::domain::{
    AccountId, Caller, Denial, Dialect, Fingerprint, TkValue, TnAuthList, TokenRequest,
};

/// The claims of the requested token.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TokenRequest)]
pub(in crate::api) struct TokenBody {
    /// TNAuthList; or JWTClaimConstraints, if the service issues such tokens.
    #[schema(pattern = "^(TNAuthList|JWTClaimConstraints)$", example = "TNAuthList")]
    tktype: String,
    /// The DER of RFC 8226 (and RFC 9118) in base64url without padding. For an account in the
    /// legacy dialect also in padded standard base64. The token repeats it character for character.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// Whether the token is for a CA certificate.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    ca: Option<bool>,
    /// The fingerprint of the ACME account key (RFC 7638 thumbprint). For an account in the legacy
    /// dialect also that of the SubjectPublicKeyInfo, and in lower-case hex, which is converted to
    /// upper case.
    #[schema(
        value_type = String,
        pattern = "^SHA256( [0-9A-Fa-f]{2})(:[0-9A-Fa-f]{2}){31}$",
        example = "SHA256 56:3E:CF:AE:83:CA:4D:15:B0:29:FF:1B:71:D3:BA:B9:19:81:F8:50:9B:DF:4A:D4:39:72:E2:B1:F0:B9:38:E3"
    )]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    fingerprint: Option<String>,
    /// The public key of the ACME account, instead of `fingerprint`: a JWK of type EC (with a point
    /// on its curve), RSA or OKP.
    #[schema(value_type = Object)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    jwk: Option<Map<String, Value>>,
    /// The requested lifetime in seconds; if left out, the default. A lifetime outside the
    /// configured bounds, or one that a policy forbids, is refused.
    #[schema(value_type = u64, minimum = 1, example = 3600)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    lifetime: Option<u64>,
}

/// A token request wrapped in the member `atc`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AtcTokenRequest)]
pub(in crate::api) struct AtcTokenBody {
    pub(in crate::api) atc: TokenBody,
}

/// A token request, bare or wrapped in the member `atc`.
#[derive(Debug, ToSchema)]
#[schema(as = AnyTokenRequest)]
#[serde(untagged)]
pub(in crate::api) enum AnyTokenBody {
    Bare(TokenBody),
    UnderAtc(AtcTokenBody),
}

impl FromMembers for AnyTokenBody {
    fn known() -> Vec<&'static str> {
        [TokenBody::known(), AtcTokenBody::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        if members.contains_key("atc") {
            return AtcTokenBody::take_from(members).map(Self::UnderAtc);
        }
        TokenBody::take_from(members).map(Self::Bare)
    }
}

impl From<AnyTokenBody> for TokenBody {
    fn from(body: AnyTokenBody) -> Self {
        match body {
            AnyTokenBody::Bare(body) => body,
            AnyTokenBody::UnderAtc(under) => under.atc,
        }
    }
}

/// An issued token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(in crate::api) struct TokenView {
    /// The JWT, in compact serialization.
    token: String,
    /// The id of the token, which is also the id of its grant in the ledger.
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

/// Issue an authority token for numbers over which the account has authority.
#[utoipa::path(
    post, path = "/at/account/{id}/token", tag = "tokens", security(("bearer" = [])),
    params(("id" = String, Path, description = "The account", example = "acme")),
    request_body = AnyTokenBody,
    responses((status = 200, body = TokenView, description = "The token, which is recorded in the ledger")),
)]
pub(in crate::api) async fn issue_token(
    service: Data<Service>,
    TokenRequester(caller): TokenRequester,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let body: AnyTokenBody = body.read().await?;
    let order = token_request(&service.authority, body.into())?;
    let view = |issued| HttpResponse::Ok().json(TokenView::from(issued));
    issue(&service, &request, caller, order, view).await
}

/// Issues a token for the account in the path, and logs it. A request with an idempotency key is
/// done once.
pub(in crate::api) async fn issue(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: Caller,
    order: TokenRequest,
    view: impl FnOnce(Issued) -> HttpResponse + 'static,
) -> Result<HttpResponse, Problem> {
    // A malformed id cannot name an account, so answer as for an unknown one.
    let account: AccountId = name(request)?.parse().map_err(|_| Problem::forbidden())?;
    // Only for the log, so saturation does no harm.
    let numbers = order
        .numbers()
        .iter()
        .fold(0, |sum: u64, range| sum.saturating_add(range.count()));

    let (data, by) = (service.clone(), caller.clone());
    let issue = async move |keyed| {
        let issued = data.authority.issue(&by, account.clone(), order, keyed);
        let issued = issued.await;
        let issued = issued.inspect_err(|error| forget_if_ended(&data, &by, error))?;
        let (jti, request_id) = (issued.jti.to_string(), by.request_id.to_string());
        log::info!(
            jti = jti.as_str(), account = account.as_str(), numbers = numbers, request_id = request_id.as_str();
            "issued a token"
        );
        Ok(view(issued))
    };
    idempotency::request(service, request, &caller, ClaimKey::WithDecision, issue).await
}

/// Evicts the caller from the cache of credentials if the transaction found that its credential has
/// ended, so that the next request reads it again.
pub(in crate::api) fn forget_if_ended(service: &Service, caller: &Caller, error: &IssueError) {
    if matches!(error, IssueError::Denied(Denial::ProofEnded(_))) {
        service.callers.forget(caller);
    }
}

/// Parses the body into domain types. The dialect of the account is not known yet, so both are
/// parsed here; legacy spellings for a strict account are refused when the request is decided.
pub(in crate::api) fn token_request(
    authority: &Authority,
    body: TokenBody,
) -> Result<TokenRequest, Problem> {
    let tktype = authority.tktype(&body.tktype);
    let tktype = tktype.ok_or_else(|| {
        Problem::malformed(
            "unsupported-tktype",
            "`tktype`: this service does not issue tokens of this type",
        )
    })?;
    let tkvalue =
        TkValue::read(tktype, &body.tkvalue, Dialect::Legacy).map_err(|e| malformed_value(&e))?;
    let fingerprint = requested_fingerprint(body.fingerprint, body.jwk)?;
    let (ca, lifetime) = (body.ca.unwrap_or(false), body.lifetime.map(seconds));
    TokenRequest::new(tkvalue, ca, fingerprint, lifetime).map_err(|e| malformed_value(&e))
}

/// A lifetime from a body, capped at `u32::MAX`, which exceeds every configurable maximum anyway.
pub(in crate::api) fn seconds(lifetime: u64) -> u32 {
    u32::try_from(lifetime).unwrap_or(u32::MAX)
}

/// The fingerprint that binds the token to the ACME account key, given as such or computed from the
/// key.
fn requested_fingerprint(
    fingerprint: Option<String>,
    jwk: Option<Map<String, Value>>,
) -> Result<AskedFingerprint, Problem> {
    let key = match (fingerprint, jwk) {
        (None, None) => return Err(Fault::Missing("fingerprint").into()),
        (Some(text), None) => return read_fingerprint(&text),
        (Some(_), Some(_)) => {
            let both = "give either `fingerprint` or `jwk`, not both";
            return Err(Problem::malformed("malformed-member", both));
        }
        (None, Some(jwk)) => AccountJwk::read(&jwk).map_err(|e| malformed_jwk(&e))?,
    };
    check_account_key(&key).map_err(|e| malformed_jwk(&e))?;
    Ok(key.fingerprint().into())
}

/// Parses a `tkvalue` from a body as a TNAuthList, in the strict dialect.
pub(in crate::api) fn list_of(tkvalue: &str) -> Result<TnAuthList, Problem> {
    TnAuthList::from_tkvalue(tkvalue).map_err(|e: TnAuthListError| malformed_value(&e))
}

/// Parses a `fingerprint` from a body, in the strict dialect.
pub(in crate::api) fn fingerprint_of(text: &str) -> Result<Fingerprint, Problem> {
    read_fingerprint(text)
}

fn read_fingerprint<T: FromStr<Err = FingerprintError>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|e| {
        Problem::malformed("malformed-fingerprint", format_args!("`fingerprint`: {e}"))
    })
}

fn malformed_jwk(error: &dyn Display) -> Problem {
    Problem::malformed("malformed-jwk", format_args!("`jwk`: {error}"))
}

fn malformed_value(error: &dyn Display) -> Problem {
    Problem::malformed("malformed-tkvalue", format_args!("`tkvalue`: {error}"))
}
