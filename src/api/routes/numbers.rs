//! `/v1/numbers/{tn}` and `/v1/explain`: the history of a number, and how a request would be
//! decided.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::token::{fingerprint_of, seconds};
use super::views::explained_rows::ExplainedRowsView;
use super::views::{
    AllocationView, DelegationView, DepartureView, ExclusionView, GrantView, JustificationView,
    RangeView,
};
use crate::api::Service;
use crate::api::http::authentication::{AnyCaller, Reader};
use crate::api::http::body::{Body, NumbersBody, wrong};
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::{self, Fault};
use crate::api::http::query::{name, query};
use crate::api::http::time::Instant;
use crate::api::problem::{Problem, SubproblemView};
use crate::authority::{ExplainRequest, Explained, NumberHistory};
use crate::domain::decision::AccountStanding;
use crate::domain::decision::denial::RefusalCause;
use crate::domain::decision::explanation::ExplainedPart;
use crate::domain::{AccountId, InventoryRange, NumberRange, Time, Tn};

/// The instant to look at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct LookupQuery {
    /// An instant (RFC 3339); if left out, now.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Instant>,
}

/// The current and past rows and grants of one number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KnownNumber)]
pub(in crate::api) struct KnownView {
    #[schema(example = "+12125551001")]
    number: String,
    /// What is most likely wrong with the number itself, such as a missing digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    at: Instant,
    /// The accounts that can get a token for the number at that instant.
    accounts: Vec<String>,
    /// All versions of all rows that include the number.
    allocations: Vec<AllocationView>,
    delegations: Vec<DelegationView>,
    exclusions: Vec<ExclusionView>,
    /// When the number left. Delegations that were made before have ended for it.
    departures: Vec<DepartureView>,
    /// True if there are older versions, older grants or more accounts that are not listed.
    more: bool,
    /// The newest grants whose TNAuthList includes the number, at most 100.
    grants: Vec<GrantView>,
}

/// A hypothetical token request.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Question)]
pub(in crate::api) struct QuestionBody {
    #[schema(value_type = String, example = "acme")]
    account: AccountId,
    /// The numbers to request a token for.
    #[schema(value_type = Vec<NumbersBody>, min_items = 1)]
    numbers: Vec<Value>,
    /// Whether the token would be for a CA certificate.
    #[schema(value_type = bool, default = false)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    ca: Option<bool>,
    /// The requested lifetime in seconds; if left out, the default.
    #[schema(value_type = u64)]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    lifetime: Option<u64>,
    /// The fingerprint of the ACME account key, for policies that refer to its age; if left out, a
    /// key that is new for the account.
    #[schema(
        value_type = String,
        pattern = "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$",
        example = "SHA256 56:3E:CF:AE:83:CA:4D:15:B0:29:FF:1B:71:D3:BA:B9:19:81:F8:50:9B:DF:4A:D4:39:72:E2:B1:F0:B9:38:E3"
    )]
    #[serde(default, deserialize_with = "deserialize::not_null")]
    fingerprint: Option<String>,
}

/// The decision that a token request would get, and the rows that it is based on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(in crate::api) struct ExplainedView {
    allowed: bool,
    /// When the token would expire; null if the request would be refused.
    expires: Option<Instant>,
    /// The row versions that would justify the token.
    justified_by: Vec<JustificationView>,
    /// The ids of the policies that permit or forbid the request, whatever the inventory says.
    #[schema(example = json!(["own-accounts"]))]
    policies: Vec<String>,
    /// How many more policies decided.
    #[schema(minimum = 0, example = 0)]
    policies_left_out: usize,
    /// Why the request would be refused; null if it would not.
    denial: Option<DenialView>,
    /// The numbers in the order of the request, split wherever the result changes.
    parts: Vec<PartView>,
    /// The standing of the account: unknown, suspended or good
    #[schema(example = "good")]
    standing: &'static str,
    /// The rows that overlap the numbers.
    allocations: Vec<AllocationView>,
    delegations: Vec<DelegationView>,
    exclusions: Vec<ExclusionView>,
    /// True if there are more rows than are listed; such a request is refused.
    more: bool,
    departures: Vec<DepartureView>,
    /// What the policies refer to of proofs and earlier tokens.
    #[serde(flatten)]
    rows: ExplainedRowsView,
}

/// A range of numbers with the same result.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedPart)]
pub(in crate::api) struct PartView {
    #[serde(flatten)]
    numbers: RangeView,
    allowed: bool,
    /// Why the inventory does not allow the numbers; null if it does.
    #[schema(example = "ported-out")]
    code: Option<&'static str>,
    /// What is most likely wrong with refused numbers themselves, such as a missing digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "numbers under +1 have 10 digits after the 1, but +1212555101 has 9; check for a missing or an extra digit or `X`"
    )]
    hint: Option<String>,
    /// The rows that overlap the numbers, in the order in which they are evaluated.
    rows: Vec<SayingView>,
    /// How many more rows overlap the numbers; an explanation lists at most 2,000 rows.
    #[schema(minimum = 0, example = 0)]
    rows_left_out: usize,
}

/// A row and its effect on the decision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Saying)]
pub(in crate::api) struct SayingView {
    /// delegation, lent-on, allocation, exclusion or departure
    #[schema(example = "delegation")]
    kind: &'static str,
    id: Uuid,
    version: i32,
    /// Whether the row currently allows a token for the numbers.
    yes: bool,
    /// A description of the row.
    #[schema(example = "+12125551001 delegated to acme, from 2026-01-01T00:00:00Z")]
    words: String,
}

/// Why a token request would be refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Denial)]
pub(in crate::api) struct DenialView {
    #[schema(example = "not-authorized")]
    code: String,
    detail: String,
    subproblems: Vec<SubproblemView>,
}

/// Show the current and past rows and grants of one number.
#[utoipa::path(get, path = "/v1/numbers/{tn}", tag = "inventory", security(("bearer" = [])),
    params(("tn" = String, Path, description = "The number in E.164", example = "+12125551001"), LookupQuery),
    responses((status = 200, body = KnownView, description = "The rows and grants of the number")))]
pub(in crate::api) async fn look_up_number(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let number: Tn = name(&request)?
        .parse()
        .map_err(|e| Problem::malformed("malformed-path", e))?;
    let at = query::<LookupQuery>(&request)?.at.map(|at| at.0);
    let now = service.authority.now();
    let known = blocking(move || service.authority.look_up(&caller, number, at)).await??;
    Ok(HttpResponse::Ok().json(KnownView::at(now, known)))
}

/// Explain how a token request would be decided.
///
/// No token is issued, and no grant is recorded.
#[utoipa::path(post, path = "/v1/explain", tag = "inventory", security(("bearer" = [])),
    request_body = QuestionBody,
    responses((status = 200, body = ExplainedView, description = "The decision, and the rows that it is based on")))]
pub(in crate::api) async fn explain(
    service: Data<Service>,
    AnyCaller(caller): AnyCaller,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let question = question(body.read().await?)?;
    let explained = blocking(move || service.authority.explain(&caller, &question)).await??;
    Ok(HttpResponse::Ok().json(ExplainedView::from(explained)))
}

fn question(body: QuestionBody) -> Result<ExplainRequest, Problem> {
    if body.numbers.is_empty() {
        return Err(wrong("numbers", "must contain at least one range"));
    }
    let numbers = body.numbers.into_iter().map(range);
    Ok(ExplainRequest {
        account: body.account,
        numbers: numbers.collect::<Result<_, _>>()?,
        ca: body.ca.unwrap_or(false),
        lifetime: body.lifetime.map(seconds),
        fingerprint: body
            .fingerprint
            .as_deref()
            .map(fingerprint_of)
            .transpose()?,
    })
}

fn range(value: Value) -> Result<NumberRange, Fault> {
    deserialize::object::<NumbersBody>(value, "an item of `numbers`")?.range()
}

impl KnownView {
    fn at(now: Time, known: NumberHistory) -> Self {
        let hint = InventoryRange::try_from(NumberRange::from(known.number)).err();
        Self {
            number: known.number.to_string(),
            hint: hint.map(|hint| hint.to_string()),
            at: known.at.into(),
            accounts: known.accounts.iter().map(ToString::to_string).collect(),
            allocations: known
                .allocations
                .into_iter()
                .map(AllocationView::from)
                .collect(),
            delegations: known
                .delegations
                .into_iter()
                .map(DelegationView::from)
                .collect(),
            exclusions: known
                .exclusions
                .into_iter()
                .map(ExclusionView::from)
                .collect(),
            departures: known
                .departures
                .into_iter()
                .map(DepartureView::from)
                .collect(),
            more: known.more,
            grants: known
                .grants
                .iter()
                .map(|grant| GrantView::at(now, grant))
                .collect(),
        }
    }
}

impl PartView {
    fn at(now: Time, part: &ExplainedPart) -> Self {
        let rows = part.rows.iter().map(|row| SayingView {
            kind: row.kind(),
            id: row.held().row().id,
            version: row.held().row().version,
            yes: row.permits(now),
            words: row.to_string(),
        });
        Self {
            numbers: part.numbers.into(),
            allowed: part.refused.is_none(),
            code: part.refused.map(RefusalCause::code),
            hint: part.hint().map(|hint| hint.to_string()),
            rows: rows.collect(),
            rows_left_out: part.left_out,
        }
    }
}

impl From<Explained> for ExplainedView {
    fn from(explained: Explained) -> Self {
        let rows = ExplainedRowsView::from(&explained);
        let facts = explained.facts;
        let (expires, justified_by, denial) = match explained.decision {
            Ok((expires, rows)) => (Some(expires), rows, None),
            Err(denial) => (None, Vec::new(), Some(denial)),
        };
        Self {
            allowed: denial.is_none(),
            expires: expires.map(Instant),
            justified_by: justified_by.iter().map(JustificationView::from).collect(),
            policies: explained.policies.ids().to_vec(),
            policies_left_out: explained.policies.left_out(),
            denial: denial.map(|denial| DenialView {
                code: denial.code().to_owned(),
                detail: denial.to_string(),
                subproblems: denial.refusals().iter().map(SubproblemView::from).collect(),
            }),
            parts: explained
                .parts
                .iter()
                .map(|part| PartView::at(explained.at, part))
                .collect(),
            standing: match facts.standing {
                AccountStanding::Unknown => "unknown",
                AccountStanding::Suspended => "suspended",
                AccountStanding::Good => "good",
            },
            allocations: facts
                .allocations
                .into_iter()
                .map(AllocationView::from)
                .collect(),
            delegations: facts
                .delegations
                .into_iter()
                .map(DelegationView::from)
                .collect(),
            exclusions: facts
                .exclusions
                .into_iter()
                .map(ExclusionView::from)
                .collect(),
            more: explained.more,
            departures: facts
                .departures
                .into_iter()
                .map(DepartureView::from)
                .collect(),
            rows,
        }
    }
}
