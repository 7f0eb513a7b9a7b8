//! `POST /v1/tokens`: many requests for tokens in one, each decided for itself.

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

/// The most requests in one bulk.
const MAX_REQUESTS: usize = 1_000;

/// Many requests.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BulkRequest)]
pub(in crate::api) struct BulkBody {
    /// Each as at the token endpoint, with the account.
    #[schema(value_type = Vec<BulkItemBody>, min_items = 1, max_items = 1000)]
    requests: Vec<Value>,
}

/// One of them.
#[derive(Debug, ToSchema)]
#[schema(as = BulkItem)]
pub(in crate::api) struct BulkItemBody {
    #[serde(flatten)]
    request: AnyTokenBody,
    #[schema(inline)]
    #[serde(flatten)]
    whose: BulkItemAccount,
}

#[derive(Debug, Deserialize, ToSchema)]
struct BulkItemAccount {
    #[schema(example = "acme")]
    account: String,
}

impl FromMembers for BulkItemBody {
    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self {
            whose: FromMembers::take_from(members)?,
            request: FromMembers::take_from(members)?,
        })
    }
}

/// The answers, in the order of the requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
pub(in crate::api) struct BulkView {
    items: Vec<AnswerView>,
}

/// A token, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkAnswerItem)]
#[serde(untagged)]
pub(in crate::api) enum AnswerView {
    Token(TokenView),
    Refused {
        /// As the token endpoint would answer.
        problem: ProblemView,
    },
}

/// Issue authority tokens for many accounts or lists at once. Each request is decided for itself, in the order of the list,
/// and not in one transaction: others have their turn in between, so the answers to one bulk may rest on different states of
/// the inventory. Each request counts for its account; those that come too often have a problem with status 429 in their
/// place, and those that the store could not take, one with status 503.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", security(("bearer" = [])),
    request_body = BulkBody,
    responses((status = 200, body = BulkView, description = "A token or a problem for each request, in their order")),
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
    let (wanted, places) = well_formed(&requests);
    let authority = &service.authority;
    let signed = authority.issue_all(caller, wanted, keyed.as_ref()).await?;

    let mut answers: Vec<Result<TokenView, Problem>> = requests
        .into_iter()
        .map(|request| Err(request.err().unwrap_or_else(Problem::unanswered)))
        .collect();
    for (place, outcome) in places.into_iter().zip(signed) {
        if let Err(error @ IssueError::Denied(Denial::ProofEnded(_))) = outcome {
            // That is so of all of them.
            forget_if_ended(service, caller, &error);
            return Err(error.into());
        }
        answers[place] = outcome.map(TokenView::from).map_err(Problem::from);
    }
    log_bulk(caller, count, &answers);
    if keyed.is_some() {
        // What is kept is kept for long. No token was given yet, so the same bulk goes on where this one has failed.
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

/// Each request, parsed or refused for itself.
fn requests(authority: &Authority, body: BulkBody) -> Result<Vec<Parsed>, Problem> {
    let items = body.requests;
    if !(1..=MAX_REQUESTS).contains(&items.len()) {
        let why = format!("has 1 to {MAX_REQUESTS} items, and not {}", items.len());
        return Err(wrong("requests", why));
    }
    let one = |item| {
        let item: BulkItemBody = deserialize::object(item, "an item of `requests`")?;
        let wanted = token_request(authority, item.request.into())?;
        // What is no id is the id of no account.
        let account = item
            .whose
            .account
            .parse()
            .map_err(|_| Problem::forbidden())?;
        Ok((account, wanted))
    };
    Ok(items.into_iter().map(one).collect())
}

/// What can be decided, and where its answers go.
fn well_formed(requests: &[Parsed]) -> (Vec<(AccountId, TokenRequest)>, Vec<usize>) {
    let good = requests.iter().enumerate();
    let good = good.filter_map(|(place, request)| Some((request.as_ref().ok()?.clone(), place)));
    good.unzip()
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
        Err(problem) => AnswerView::Refused {
            problem: problem.document(request),
        },
    }
}
