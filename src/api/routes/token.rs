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

/// The claim values that the token is to have; bare, or under one member `atc`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TokenRequest)]
pub(in crate::api) struct TokenBody {
    /// TNAuthList; or JWTClaimConstraints, where such tokens are switched on.
    #[schema(pattern = "^(TNAuthList|JWTClaimConstraints)$", example = "TNAuthList")]
    tktype: String,
    /// The DER of RFC 8226 (and RFC 9118) in base64url without padding. Of an account in the legacy dialect also in padded
    /// standard base64; the token repeats it character for character.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// Whether the token is for a CA certificate.
    #[schema(default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    ca: Option<bool>,
    /// Of the ACME account key (RFC 7638 thumbprint). Of an account in the legacy dialect also that of the
    /// SubjectPublicKeyInfo, and in lower-case hex, which is put into upper case.
    #[schema(
        pattern = "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$",
        example = "SHA256 56:3E:CF:AE:83:CA:4D:15:B0:29:FF:1B:71:D3:BA:B9:19:81:F8:50:9B:DF:4A:D4:39:72:E2:B1:F0:B9:38:E3"
    )]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    fingerprint: Option<String>,
    /// The ACME account's public key in place of `fingerprint`: a JWK of type EC, whose point is on its curve, RSA or OKP.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    jwk: Option<Map<String, Value>>,
    /// Seconds; policy has the last word.
    #[schema(minimum = 1, example = 3600)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    lifetime: Option<u64>,
}

/// The same under one member.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AtcTokenRequest)]
pub(in crate::api) struct AtcTokenBody {
    pub(in crate::api) atc: TokenBody,
}

/// Either form.
#[derive(Debug, ToSchema)]
#[schema(as = AnyTokenRequest)]
#[serde(untagged)]
pub(in crate::api) enum AnyTokenBody {
    Bare(TokenBody),
    UnderAtc(AtcTokenBody),
}

impl FromMembers for AnyTokenBody {
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

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(in crate::api) struct TokenView {
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
pub(in crate::api) async fn issue_token(
    service: Data<Service>,
    TokenRequester(caller): TokenRequester,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let wanted: AnyTokenBody = body.read().await?;
    let wanted = token_request(&service.authority, wanted.into())?;
    let view = |issued| HttpResponse::Ok().json(TokenView::from(issued));
    issue(&service, &request, caller, wanted, view).await
}

/// Issues what was asked for the account of the path, once if the request has a key, and says so in the log.
pub(in crate::api) async fn issue(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: Caller,
    wanted: TokenRequest,
    view: impl FnOnce(Issued) -> HttpResponse + 'static,
) -> Result<HttpResponse, Problem> {
    // What is no id is the id of no account.
    let account: AccountId = name(request)?.parse().map_err(|_| Problem::forbidden())?;
    let numbers = wanted
        .numbers()
        .iter()
        .fold(0, |sum: u64, range| sum.saturating_add(range.count()));

    let (data, by) = (service.clone(), caller.clone());
    let issue = async move |keyed| {
        let issued = data.authority.issue(&by, account.clone(), wanted, keyed);
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

/// What was read of a caller is out of date when a transaction has found that its proof has ended.
pub(in crate::api) fn forget_if_ended(service: &Service, caller: &Caller, error: &IssueError) {
    if matches!(error, IssueError::Denied(Denial::ProofEnded(_))) {
        service.callers.forget(caller);
    }
}

/// The body, parsed; after this nothing of it is a text any more. Which dialect the account speaks is not known yet, so what
/// only the legacy dialect has is refused when the request is decided.
pub(in crate::api) fn token_request(
    authority: &Authority,
    body: TokenBody,
) -> Result<TokenRequest, Problem> {
    let tktype = authority.tktype(&body.tktype);
    let tktype = tktype.ok_or_else(|| {
        Problem::malformed(
            "unsupported-tktype",
            "`tktype`: not a type that is issued here",
        )
    })?;
    let tkvalue =
        TkValue::read(tktype, &body.tkvalue, Dialect::Legacy).map_err(|e| malformed_value(&e))?;
    let fingerprint = asked_fingerprint(body.fingerprint, body.jwk)?;
    let (ca, lifetime) = (body.ca.unwrap_or(false), body.lifetime.map(seconds));
    TokenRequest::new(tkvalue, ca, fingerprint, lifetime).map_err(|e| malformed_value(&e))
}

/// A lifetime as it stands in a body. What is more than a `u32` is too long for any policy.
pub(in crate::api) fn seconds(asked: u64) -> u32 {
    u32::try_from(asked).unwrap_or(u32::MAX)
}

/// What binds the token to the ACME account: its fingerprint, or the key itself.
fn asked_fingerprint(
    fingerprint: Option<String>,
    jwk: Option<Map<String, Value>>,
) -> Result<AskedFingerprint, Problem> {
    let key = match (fingerprint, jwk) {
        (None, None) => return Err(Fault::Missing("fingerprint").into()),
        (Some(text), None) => return read_fingerprint(&text),
        (Some(_), Some(_)) => {
            let both = "`jwk` stands in place of `fingerprint`, not beside it";
            return Err(Problem::malformed("malformed-member", both));
        }
        (None, Some(jwk)) => AccountJwk::read(&jwk).map_err(|e| malformed_jwk(&e))?,
    };
    check_account_key(&key).map_err(|e| malformed_jwk(&e))?;
    Ok(key.fingerprint().into())
}

/// A list as it stands in a body, in the strict dialect.
pub(in crate::api) fn list_of(tkvalue: &str) -> Result<TnAuthList, Problem> {
    TnAuthList::from_tkvalue(tkvalue).map_err(|e: TnAuthListError| malformed_value(&e))
}

/// A fingerprint as it stands in a body, in the strict dialect.
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
