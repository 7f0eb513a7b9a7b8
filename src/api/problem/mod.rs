//! Turns errors into RFC 9457 problem documents, and logs failures: the only place that does.
//!
//! No match here has a `_` arm: adding an error breaks the build wherever it must be handled.

mod authentication;
mod failures;
mod refusals;

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::inventory::withdrawal::KEY_DISTRUSTED;
use crate::domain::issuance::Replay;

use super::routes::health::CheckView;
use super::routes::views::RangeView;

/// `Retry-After` in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// The same while no key is trusted, which takes a person to change.
const RETRY_AFTER_DISTRUST: HeaderValue = HeaderValue::from_static("60");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tn-authority\"");
/// The maximum length of a detail; a longer one is cut.
const MAX_DETAIL: usize = 300;

/// An error answer: a refusal or a failure.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<ProblemParts>);

#[derive(Debug, Clone)]
struct ProblemParts {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    /// `None` for a failure, because its text would reveal internals.
    detail: Option<String>,
    subproblems: Vec<SubproblemView>,
    policies: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    checks: Vec<CheckView>,
    /// What happened, for the log only.
    cause: Option<String>,
    /// Set if the idempotency key of the request was used before.
    replay: Option<Replay>,
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemView {
    /// The kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:tn-authority:problem:not-authorized")]
    kind: String,
    /// The kind of problem, for people.
    #[schema(example = "Not authorized for these numbers")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 403)]
    status: u16,
    /// The last part of `type`. Stable: programs can rely on it.
    #[schema(example = "not-authorized")]
    code: String,
    /// What is wrong with this request. Absent if the service failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "the account has no authority for +12125559000 (not delegated to this account now)"
    )]
    detail: Option<String>,
    /// The id of the request, as in the header `X-Request-Id`.
    #[schema(
        format = "uri",
        example = "urn:uuid:5f2b1c2e-7a7e-4a0e-9d0c-0d6d2d5e0a11"
    )]
    instance: String,
    /// The parts of the request that were refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subproblems: Vec<SubproblemView>,
    /// The ids of the policies that forbid the request, or that could not be evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["longest-lifetime"]))]
    policies: Vec<String>,
    /// Of `/readyz` only: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    ready: Option<bool>,
    /// Of `/readyz` only: what was checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!([]))]
    checks: Vec<CheckView>,
}

/// A part of a request that was refused, as in RFC 8555 §6.7.1.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Subproblem)]
pub(super) struct SubproblemView {
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:tn-authority:problem:not-delegated")]
    kind: String,
    #[schema(example = "not-delegated")]
    code: &'static str,
    #[schema(example = "not delegated to this account now")]
    detail: String,
    identifier: IdentifierView,
}

/// The numbers or the service provider code that was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Identifier)]
#[serde(untagged)]
pub(super) enum IdentifierView {
    Numbers(RangeView),
    Spc(SpcIdentifierView),
}

/// A service provider code that was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SpcIdentifier)]
pub(super) struct SpcIdentifierView {
    #[schema(example = "1234")]
    spc: String,
}

impl Problem {
    fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, title: &'static str) -> Self {
        Self(Box::new(ProblemParts {
            status,
            code: code.into(),
            title,
            detail: None,
            subproblems: Vec::new(),
            policies: Vec::new(),
            headers: Vec::new(),
            checks: Vec::new(),
            cause: None,
            replay: None,
        }))
    }

    /// A request that cannot be parsed.
    pub(super) fn malformed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Malformed request").with_detail(detail)
    }

    /// The same answer for credentials that are invalid or insufficient, and for an account that is
    /// unknown, suspended or another tenant's (RFC 9448 §5.5), so that a caller cannot tell them
    /// apart.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden")
            .with_detail("the credentials do not give access to this")
    }

    pub(super) fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .with_detail("there is no such path; see `/docs/`")
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .with_detail(format_args!("there is no such {what}"))
    }

    pub(super) fn media_type(detail: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
        )
        .with_detail(detail)
    }

    /// An upload that arrives more slowly than this many bytes a second.
    pub(super) fn too_slow_upload(min_rate: u64) -> Self {
        Self::too_slow().with_detail(format_args!(
            "the table does not arrive, or at less than {min_rate} bytes a second on average; send it over a faster \
             connection, or import it at the command line"
        ))
    }

    pub(super) fn too_large(limit: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
        )
        .with_detail(format_args!("the body is larger than {limit} bytes"))
    }

    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-too-slow",
            "Body too slow",
        )
        .with_detail("the body did not arrive before the timeout; send it again")
    }

    /// A failure that is expected to pass: the client should retry.
    pub(super) fn unavailable(cause: &dyn fmt::Display) -> Self {
        Self::unavailable_for(cause, RETRY_AFTER)
    }

    fn unavailable_for(cause: &dyn fmt::Display, retry_after: HeaderValue) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Service unavailable",
        )
        .with_cause(cause)
        .with_header(header::RETRY_AFTER, retry_after)
    }

    /// No key is left that may sign. It has a code of its own, since retrying does not help until
    /// the operator has added a key.
    fn key_distrusted(cause: &dyn fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            KEY_DISTRUSTED,
            "No signing key is trusted",
        )
        .with_cause(cause)
        .with_header(header::RETRY_AFTER, RETRY_AFTER_DISTRUST)
    }

    /// The certificate chain was published, and its key is distrusted (RFC 9110 §15.5.11).
    pub(super) fn gone_chain() -> Self {
        Self::new(StatusCode::GONE, KEY_DISTRUSTED, "The key is distrusted")
            .with_detail("the key of this certificate chain is distrusted; refuse its tokens")
    }

    /// A failure that retrying does not fix.
    pub(super) fn internal(cause: &dyn fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
        )
        .with_cause(cause)
    }

    /// For a refusal by actix, which has a status only.
    pub(super) fn bare(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = Self::new(status, title.to_ascii_lowercase().replace(' ', "-"), title);
        if status.is_server_error() {
            problem.with_cause(&status)
        } else {
            problem
        }
    }

    /// Says which methods a path has.
    pub(super) fn allowing(self, methods: HeaderValue) -> Self {
        let listed = methods.to_str().unwrap_or_default().to_owned();
        self.with_detail(format_args!("this path has {listed}; see `/docs/`"))
            .with_header(header::ALLOW, methods)
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// A detail can quote what the caller sent, so it is truncated and control characters are
    /// escaped.
    pub(super) fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        let mut text = String::new();
        for c in detail.to_string().chars() {
            if text.len() >= MAX_DETAIL {
                text.push_str("...");
                break;
            }
            if c.is_ascii_graphic() || matches!(c, ' ' | '§') {
                text.push(c);
            } else {
                text.extend(c.escape_default());
            }
        }
        self.0.detail = Some(text);
        self
    }

    fn with_cause(mut self, cause: &dyn fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    fn with_subproblems(mut self, subproblems: Vec<SubproblemView>) -> Self {
        self.0.subproblems = subproblems;
        self
    }

    fn with_policies(mut self, policies: &[String]) -> Self {
        self.0.policies = policies.to_vec();
        self
    }

    /// Whether the same request can soon get a different answer.
    pub(super) fn is_transient(&self) -> bool {
        let is_retry = matches!(self.0.replay, Some(Replay::Answered(_) | Replay::InFlight));
        self.0.status.is_server_error() || is_retry
    }

    /// How the idempotency key was used before, if that is the problem.
    pub(super) fn replay(&self) -> Option<&Replay> {
        self.0.replay.as_ref()
    }

    /// Whether this is a decision about a well-formed request, which is stored and repeated for its
    /// idempotency key. Other problems are not: a client can fix a malformed request, obtain access
    /// or retry a failure, and then send the same key again.
    pub(super) fn is_final(&self) -> bool {
        let decides = matches!(
            self.0.status,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT
        );
        let access = self.0.code == "forbidden";
        decides && !access && matches!(self.0.replay, None | Some(Replay::GrantEnded))
    }

    /// Renders the answer, and logs a failure.
    pub(super) fn render(mut self, request: Uuid) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        for header in std::mem::take(&mut self.0.headers) {
            response.insert_header(header);
        }
        let view = self.document(request);
        response.content_type("application/problem+json");
        // Strings and numbers always serialize, so the default is never used.
        response.body(serde_json::to_vec(&view).unwrap_or_default())
    }
}

impl Problem {
    /// The document alone, for an answer that contains several. Logs a failure.
    pub(super) fn document(self, request: Uuid) -> ProblemView {
        let parts = *self.0;
        if let Some(cause) = &parts.cause {
            let (status, request) = (parts.status.as_u16(), request.to_string());
            log::warn!(status = status, request_id = request.as_str(); "request failed: {cause}");
        }
        ProblemView {
            kind: uri(&parts.code),
            title: parts.title,
            status: parts.status.as_u16(),
            code: parts.code.into_owned(),
            detail: parts.detail,
            instance: request.urn().to_string(),
            subproblems: parts.subproblems,
            policies: parts.policies,
            ready: (!parts.checks.is_empty()).then_some(false),
            checks: parts.checks,
        }
    }
}

fn uri(code: &str) -> String {
    format!("urn:tn-authority:problem:{code}")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.title)
    }
}

/// Attaches the problem to the response. `http::request` renders it, because it has the request id.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.0.status);
        response.extensions_mut().insert(self.clone());
        response
    }
}
