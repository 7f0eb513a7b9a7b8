//! `POST /v1/tokens`: many token requests in one HTTP request, each decided on its own.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::token::{AnyTokenBody, TokenView, forget_if_ended, token_request};
use crate::api::Service;
use crate::api::http::authentication::TokenRequester;
use crate::api::http::body::{Body, wrong};
use crate::api::http::deserialize::{self, Fault, FromMembers, Members};
use crate::api::http::idempotency::{self, ClaimKey};
use crate::api::problem::{Problem, ProblemView};
use crate::authority::{Authority, IssueError};
use crate::domain::issuance::KeyedRequest;
use crate::domain::{AccountId, Caller, Denial, TokenRequest};

/// The maximum number of token requests in one bulk.
const MAX_REQUESTS: usize = 1_000;

/// A bulk of token requests.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkRequest)]
pub(in crate::api) struct BulkBody {
    /// Each like a request to the token endpoint, with the account as another member.
    #[schema(value_type = Vec<BulkItemBody>, min_items = 1, max_items = 1000)]
    requests: Vec<Value>,
}

/// One token request of a bulk.
#[derive(Debug, ToSchema)]
#[schema(as = BulkItem)]
pub(in crate::api) struct BulkItemBody {
    #[serde(flatten)]
    request: AnyTokenBody,
    #[serde(flatten)]
    owner: BulkItemAccount,
}

#[derive(Debug, Deserialize, ToSchema)]
struct BulkItemAccount {
    #[schema(example = "acme")]
    account: String,
}

impl FromMembers for BulkItemBody {
    fn known() -> Vec<&'static str> {
        [BulkItemAccount::known(), AnyTokenBody::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            owner: FromMembers::take_from(members)?,
            request: FromMembers::take_from(members)?,
        })
    }
}

/// The results, in the order of the requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
pub(in crate::api) struct BulkView {
    items: Vec<AnswerView>,
}

/// A token, or the reason for its refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkAnswerItem)]
#[serde(untagged)]
pub(in crate::api) enum AnswerView {
    Token(TokenView),
    Refused(BulkRefusalView),
}

/// The refusal of one request of a bulk.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkRefusal)]
pub(in crate::api) struct BulkRefusalView {
    /// The problem that the token endpoint would answer with.
    problem: ProblemView,
}

/// Issue authority tokens for many accounts or TNAuthLists at once.
///
/// Each request is decided on its own, in the order of the list. A bulk is not one transaction: the
/// inventory can change between two of its requests. Each request counts toward the rate limit of
/// its account. A request over the limit is answered with a problem with status 429, and one that
/// the store could not process with a problem with status 503; the others are not affected.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", security(("bearer" = [])),
    request_body = BulkBody,
    responses((status = 200, body = BulkView, description = "A token or a problem for each request, in the same order")),
)]
pub(in crate::api) async fn issue_tokens(
    service: Data<Service>,
    TokenRequester(caller): TokenRequester,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let requests = requests(&service.authority, body.read_bulk().await?)?;
    let (data, by) = (service.clone(), caller.clone());
    let issue = async move |keyed| issue(&data, &by, requests, keyed).await;
    idempotency::request(&service, &request, &caller, ClaimKey::Before, issue).await
}

async fn issue(
    service: &Service,
    caller: &Caller,
    requests: Vec<Parsed>,
    keyed: Option<KeyedRequest>,
) -> Result<HttpResponse, Problem> {
    let count = requests.len();
    let (orders, indices) = well_formed(&requests);
    let authority = &service.authority;
    let signed = authority.issue_all(caller, orders, keyed.as_ref()).await?;

    // Each parsed request is answered below; `unanswered` is a placeholder until then.
    let mut answers: Vec<Result<TokenView, Problem>> = requests
        .into_iter()
        .map(|request| Err(request.err().unwrap_or_else(Problem::unanswered)))
        .collect();
    for (index, outcome) in indices.into_iter().zip(signed) {
        if let Err(error @ IssueError::Denied(Denial::ProofEnded(_))) = outcome {
            // The credential of the caller has ended, so the other requests fail in the same way.
            forget_if_ended(service, caller, &error);
            return Err(error.into());
        }
        answers[index] = outcome.map(TokenView::from).map_err(Problem::from);
    }
    log_bulk(caller, count, &answers);
    if keyed.is_some() {
        // A stored answer is repeated until its key expires, so store none with a transient
        // problem. No token was sent yet: the client can retry, and the retry resumes where this
        // one failed.
        let mut refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        if let Some(problem) = refused.find(|problem| problem.is_transient()) {
            return Err(problem.clone());
        }
    }
    let id = caller.request_id;
    Ok(HttpResponse::Ok().json(BulkView {
        items: answers.into_iter().map(|answer| view(answer, id)).collect(),
    }))
}

type Parsed = Result<(AccountId, TokenRequest), Problem>;

/// Parses each request. A malformed one is refused without affecting the others.
fn requests(authority: &Authority, body: BulkBody) -> Result<Vec<Parsed>, Problem> {
    let items = body.requests;
    if !(1..=MAX_REQUESTS).contains(&items.len()) {
        let why = format!("must have 1 to {MAX_REQUESTS} items, not {}", items.len());
        return Err(wrong("requests", why));
    }
    let one = |item| {
        let item: BulkItemBody = deserialize::object(item, "an item of `requests`")?;
        let order = token_request(authority, item.request.into())?;
        // What is no id is the id of no account.
        let account = item
            .owner
            .account
            .parse()
            .map_err(|_| Problem::forbidden())?;
        Ok((account, order))
    };
    Ok(items.into_iter().map(one).collect())
}

/// The requests that can be decided, and the index of each in the bulk.
fn well_formed(requests: &[Parsed]) -> (Vec<(AccountId, TokenRequest)>, Vec<usize>) {
    let numbered = requests.iter().enumerate();
    let parsed =
        numbered.filter_map(|(index, request)| Some((request.as_ref().ok()?.clone(), index)));
    parsed.unzip()
}

fn log_bulk(caller: &Caller, count: usize, answers: &[Result<TokenView, Problem>]) {
    let issued = answers.iter().filter(|answer| answer.is_ok()).count();
    let request_id = caller.request_id.to_string();
    log::info!(
        requests = count, issued = issued, request_id = request_id.as_str();
        "issued tokens in bulk"
    );
}

fn view(answer: Result<TokenView, Problem>, request: Uuid) -> AnswerView {
    match answer {
        Ok(token) => AnswerView::Token(token),
        Err(problem) => AnswerView::Refused(BulkRefusalView {
            problem: problem.document(request),
        }),
    }
}
