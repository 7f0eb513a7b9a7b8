//! Errors become answers here: one table without `_`, RFC 9457 documents, and one place that logs.

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

use crate::domain::issuance::Replay;

use super::routes::views::RangeView;

/// Seconds after which an answer 503 invites to come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tn-authority\"");
/// Characters of a detail: it names what is wrong, it does not repeat what was sent.
const MAX_DETAIL: usize = 300;

/// An answer that is a refusal or a failure.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<ProblemParts>);

#[derive(Debug, Clone)]
struct ProblemParts {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    /// Never that of a failure, which tells strangers about the inside.
    detail: Option<String>,
    subproblems: Vec<SubproblemView>,
    policies: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What really happened, for the log.
    cause: Option<String>,
    /// What a request is told whose key was used before.
    replay: Option<Replay>,
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemView {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:tn-authority:problem:not-authorized")]
    kind: String,
    /// The kind in words.
    #[schema(example = "Not authorized for these numbers")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 403)]
    status: u16,
    /// The last part of `type`, stable.
    #[schema(example = "not-authorized")]
    code: String,
    /// What is wrong this time; left out of failures of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "the account has no authority for +12125559000 (not delegated to this account now)"
    )]
    detail: Option<String>,
    /// Names the request, as the header `X-Request-Id` does.
    #[schema(
        format = "uri",
        example = "urn:uuid:5f2b1c2e-7a7e-4a0e-9d0c-0d6d2d5e0a11"
    )]
    instance: String,
    /// Each part of the request that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subproblems: Vec<SubproblemView>,
    /// The policies that forbid it, or that could not be evaluated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["longest-lifetime"]))]
    policies: Vec<String>,
}

/// One part of a request that was refused, in the manner of RFC 8555 §6.7.1.
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

/// What was refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Identifier)]
#[serde(untagged)]
pub(super) enum IdentifierView {
    Numbers(RangeView),
    Spc {
        #[schema(example = "1234")]
        spc: String,
    },
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
            cause: None,
            replay: None,
        }))
    }

    /// A request that cannot be understood.
    pub(super) fn malformed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Malformed request").with_detail(detail)
    }

    /// The one answer for credentials that prove nothing or too little, and for an account that is unknown, suspended
    /// or somebody else's (RFC 9448 §5.5): nobody can tell them apart.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden")
            .with_detail("the credentials do not give access to this")
    }

    pub(super) fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .with_detail("nothing is here; see /docs/")
    }

    /// A row, grant or chain that is not there.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .with_detail(format_args!("there is no {what} with this name"))
    }

    pub(super) fn media_type(detail: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
        )
        .with_detail(detail)
    }

    pub(super) fn too_large(limit: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
        )
        .with_detail(format_args!("a body has at most {limit} bytes"))
    }

    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-too-slow",
            "Body too slow",
        )
        .with_detail("the body did not arrive in time")
    }

    /// The service lacks something that it will have again.
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

    /// As many requests are worked on as may be.
    pub(super) fn too_busy() -> Self {
        Self::unavailable(&"too many requests at one time")
    }

    /// A part of a request that was given no answer, which does not happen.
    pub(super) fn unanswered() -> Self {
        Self::internal(&"a request of a bulk was not answered")
    }

    /// The service is broken.
    pub(super) fn internal(cause: &dyn fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
        )
        .with_cause(cause)
    }

    /// What actix refused by itself.
    pub(super) fn bare(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = Self::new(status, title.to_ascii_lowercase().replace(' ', "-"), title);
        if status.is_server_error() {
            problem.with_cause(&status)
        } else {
            problem
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Parts of what callers sent may stand in a detail, so it is cut and its control characters are spelled out.
    fn with_detail(mut self, detail: impl fmt::Display) -> Self {
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

    fn by(mut self, policies: &[String]) -> Self {
        self.0.policies = policies.to_vec();
        self
    }

    /// Whether the same request may be answered in another way soon.
    pub(super) fn is_transient(&self) -> bool {
        let repeated = matches!(self.0.replay, Some(Replay::Answered(_) | Replay::InFlight));
        self.0.status.is_server_error() || repeated
    }

    /// What is told of a key that was used before, if it is about that.
    pub(super) fn replay(&self) -> Option<&Replay> {
        self.0.replay.as_ref()
    }

    /// Whether it refuses what was understood and weighed, so that the same request is refused again. What is malformed can
    /// be mended, access can be given, and what fails can be tried again.
    pub(super) fn is_final(&self) -> bool {
        let decides = matches!(
            self.0.status,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT
        );
        let access = self.0.code == "forbidden";
        decides && !access && matches!(self.0.replay, None | Some(Replay::GrantEnded))
    }

    /// The answer, and the log line of a failure.
    pub(super) fn render(mut self, request: Uuid) -> HttpResponse {
        let mut response = HttpResponse::build(self.0.status);
        for header in std::mem::take(&mut self.0.headers) {
            response.insert_header(header);
        }
        let view = self.document(request);
        response.content_type("application/problem+json");
        // The document is made of texts and numbers, which always can be written.
        response.body(serde_json::to_vec(&view).unwrap_or_default())
    }
}

impl Problem {
    /// The document alone, for an answer that holds several; and the log line of a failure.
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

/// Hands the problem to `exchange`, which knows the request's id and renders it.
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
