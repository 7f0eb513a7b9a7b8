//! Errors become answers here: one table without `_`, RFC 9457 documents, and one place that logs.

mod callers;

use std::borrow::Cow;
use std::fmt;

use actix_web::error::BlockingError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::authority::import::ImportError;
use crate::authority::{IssueError, Refused, Repeated, StoreError, TooMany};
use crate::callers::SealError;
use crate::domain::Denial;
use crate::domain::claims::NotStrict;
use crate::domain::denial::{Refusal, Subject};

use super::view::RangeView;

/// Seconds after which an answer 503 invites to come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tn-authority\"");
/// Characters of a detail: it names what is wrong, it does not repeat what was sent.
const LONGEST_DETAIL: usize = 300;

/// An answer that is a refusal or a failure.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
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
    repeated: Option<Repeated>,
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
        example = "the account has no authority for +12125559000 (not lent to the account now)"
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
    #[schema(example = "not lent to the account now")]
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
        Self(Box::new(Parts {
            status,
            code: code.into(),
            title,
            detail: None,
            subproblems: Vec::new(),
            policies: Vec::new(),
            headers: Vec::new(),
            cause: None,
            repeated: None,
        }))
    }

    /// A request that cannot be understood.
    pub(super) fn malformed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Malformed request").saying(detail)
    }

    /// The one answer for credentials that prove nothing or too little, and for an account that is unknown, suspended
    /// or somebody else's (RFC 9448 §5.5): nobody can tell them apart.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden")
            .saying("the credentials do not give access to this")
    }

    pub(super) fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .saying("nothing is here; see /docs/")
    }

    /// A row, grant or chain that is not there.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found")
            .saying(format_args!("there is no {what} with this name"))
    }

    pub(super) fn media_type(detail: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
        )
        .saying(detail)
    }

    pub(super) fn too_large(limit: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
        )
        .saying(format_args!("a body has at most {limit} bytes"))
    }

    pub(super) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-too-slow",
            "Body too slow",
        )
        .saying("the body did not arrive in time")
    }

    /// The service lacks something that it will have again.
    pub(super) fn unavailable(cause: &dyn fmt::Display) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Service unavailable",
        )
        .because(cause)
        .with_header(header::RETRY_AFTER, RETRY_AFTER)
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
        .because(cause)
    }

    /// What actix refused by itself.
    pub(super) fn bare(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = Self::new(status, title.to_ascii_lowercase().replace(' ', "-"), title);
        if status.is_server_error() {
            problem.because(&status)
        } else {
            problem
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Parts of what callers sent may stand in a detail, so it is cut and its control characters are spelled out.
    fn saying(mut self, detail: impl fmt::Display) -> Self {
        let mut text = String::new();
        for c in detail.to_string().chars() {
            if text.len() >= LONGEST_DETAIL {
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

    fn because(mut self, cause: &dyn fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    fn naming(mut self, subproblems: Vec<SubproblemView>) -> Self {
        self.0.subproblems = subproblems;
        self
    }

    fn by(mut self, policies: &[String]) -> Self {
        self.0.policies = policies.to_vec();
        self
    }

    /// Whether the same request may be answered in another way soon.
    pub(super) fn is_passing(&self) -> bool {
        let repeated = matches!(
            self.0.repeated,
            Some(Repeated::Answered(_) | Repeated::InFlight)
        );
        self.0.status.is_server_error() || repeated
    }

    /// What is told of a key that was used before, if it is about that.
    pub(super) fn repeated(&self) -> Option<&Repeated> {
        self.0.repeated.as_ref()
    }

    /// Whether it refuses what was understood and weighed, so that the same request is refused again. What is malformed can
    /// be mended, access can be given, and what fails can be tried again.
    pub(super) fn is_decided(&self) -> bool {
        let decides = matches!(
            self.0.status,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT
        );
        let access = self.0.code == "forbidden";
        decides && !access && matches!(self.0.repeated, None | Some(Repeated::GrantEnded))
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

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Denied(denial) => denial.into(),
            IssueError::Store(error) => error.into(),
            IssueError::TooMany(too_many) => too_many.into(),
            IssueError::Signer(_) | IssueError::NoSigner | IssueError::Random(_) => {
                Self::unavailable(&error)
            }
            IssueError::Lint(_) => Self::internal(&error),
        }
    }
}

impl From<TooMany> for Problem {
    fn from(too_many: TooMany) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
        )
        .saying(too_many)
        .with_header(header::RETRY_AFTER, too_many.seconds.into())
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let title = match &denial {
            Denial::NotTheCallers | Denial::ProofEnded(_) => return Self::forbidden(),
            Denial::Policy { .. } => "A policy forbids it",
            Denial::NotAuthorized(_) => "Not authorized for these numbers",
            Denial::EndsTooSoon { .. } => "The authority ends too soon",
            Denial::SeveralSpcs(_) => "One token for each service provider code",
            Denial::NoCertificate(_) => return Self::unavailable(&denial),
            Denial::RenewalEnded => "The right to renew has ended",
            Denial::OutsideRenewal(_) => "Not what the right to renew is for",
            Denial::TooFragmented { .. } => "Too many rows of the inventory",
            Denial::NotStrict(NotStrict::TkValue(_)) => {
                return Self::malformed("malformed-tkvalue", &denial);
            }
            Denial::NotStrict(NotStrict::Fingerprint(_)) => {
                return Self::malformed("malformed-fingerprint", &denial);
            }
        };
        let subproblems = denial.refusals().iter().map(SubproblemView::from).collect();
        Self::new(StatusCode::FORBIDDEN, denial.code().to_owned(), title)
            .saying(&denial)
            .naming(subproblems)
            .by(denial.policies())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, title) = match &refused {
            Refused::Forbidden => return Self::forbidden(),
            Refused::Store(error) => return error.clone().into(),
            Refused::UnknownAccount(_) | Refused::NotFound(_) => {
                (StatusCode::NOT_FOUND, "Not found")
            }
            Refused::ParentChange | Refused::OwnParent | Refused::TooDeep => {
                (StatusCode::CONFLICT, "Not a possible parent")
            }
            Refused::NoParent => (StatusCode::BAD_REQUEST, "Not a possible parent"),
            Refused::OwnAccount | Refused::SuspendedAbove => {
                (StatusCode::FORBIDDEN, "Not the reseller's to change")
            }
            Refused::NotACustomer { .. } => (StatusCode::CONFLICT, "Not a customer of the lender"),
            Refused::NotToBeLentOn(_)
            | Refused::NotTheLenders(_)
            | Refused::OutsideTheLenders(_)
            | Refused::CaNotLent => (StatusCode::CONFLICT, "Not the reseller's to lend"),
            Refused::Overlap { .. } => (StatusCode::CONFLICT, "The numbers are taken"),
            Refused::NotHeld(_) => (
                StatusCode::CONFLICT,
                "The carrier does not hold the numbers",
            ),
            Refused::SpcNotHeld(_) => (StatusCode::BAD_REQUEST, "Not a code of the carrier"),
            Refused::Window(_) | Refused::Over(_) => {
                (StatusCode::BAD_REQUEST, "Not a possible window")
            }
            Refused::UnknownClass(_) => (StatusCode::BAD_REQUEST, "Not a class of aging"),
            Refused::Twice(_) => (StatusCode::BAD_REQUEST, "The numbers are named twice"),
            Refused::TooFragmented => (StatusCode::BAD_REQUEST, "Too many rows of the inventory"),
            Refused::NameTheAccount => (StatusCode::BAD_REQUEST, "Which account is not said"),
            Refused::TooManyWebhooks => (StatusCode::CONFLICT, "Too many webhooks"),
            Refused::NotSentYet => (StatusCode::CONFLICT, "Not sent yet"),
            Refused::DelegationEnded => (StatusCode::CONFLICT, "The delegation has ended"),
            Refused::TooManyRenewals => (StatusCode::CONFLICT, "Too many rights to renew"),
            Refused::NotOfTheDelegation(_) => (StatusCode::CONFLICT, "Not of the delegation"),
            Refused::SpcNotRenewed(_) => (StatusCode::BAD_REQUEST, "A right is for numbers"),
            Refused::RenewalLifetime(_) => (StatusCode::BAD_REQUEST, "Not a lifetime of tokens"),
            Refused::WebhookEnded => (StatusCode::CONFLICT, "The webhook has ended"),
            Refused::List(_) => (StatusCode::BAD_REQUEST, "Malformed request"),
        };
        let named = match &refused {
            Refused::Overlap { numbers, .. } | Refused::Twice(numbers) => {
                std::slice::from_ref(numbers)
            }
            Refused::NotHeld(ranges)
            | Refused::NotTheLenders(ranges)
            | Refused::NotOfTheDelegation(ranges) => ranges,
            Refused::Forbidden
            | Refused::UnknownAccount(_)
            | Refused::NotFound(_)
            | Refused::ParentChange
            | Refused::OwnParent
            | Refused::TooDeep
            | Refused::NoParent
            | Refused::OwnAccount
            | Refused::SuspendedAbove
            | Refused::NotACustomer { .. }
            | Refused::NotToBeLentOn(_)
            | Refused::OutsideTheLenders(_)
            | Refused::CaNotLent
            | Refused::SpcNotHeld(_)
            | Refused::Window(_)
            | Refused::UnknownClass(_)
            | Refused::Over(_)
            | Refused::TooFragmented
            | Refused::NameTheAccount
            | Refused::TooManyWebhooks
            | Refused::NotSentYet
            | Refused::WebhookEnded
            | Refused::DelegationEnded
            | Refused::TooManyRenewals
            | Refused::SpcNotRenewed(_)
            | Refused::RenewalLifetime(_)
            | Refused::List(_)
            | Refused::Store(_) => &[],
        };
        let named = named.iter().map(|numbers| SubproblemView {
            kind: uri(refused.code()),
            code: refused.code(),
            detail: title.to_ascii_lowercase(),
            identifier: IdentifierView::Numbers((*numbers).into()),
        });
        Self::new(status, refused.code(), title)
            .saying(&refused)
            .naming(named.collect())
    }
}

/// Of the start of an import: what becomes of it later stands in its job.
impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused(refused) => refused.into(),
            ImportError::Table(_)
            | ImportError::Lines(_)
            | ImportError::EndsTooMuch { .. }
            | ImportError::MayBeCut { .. }
            | ImportError::Missing { .. }
            | ImportError::Unwanted { .. }
            | ImportError::Lost => Self::malformed(error.code(), &error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ProofEnded => Self::forbidden(),
            StoreError::Busy | StoreError::Unavailable(_) => Self::unavailable(&error),
            StoreError::Corrupt(_) => Self::internal(&error),
            StoreError::Repeated(repeated) => repeated.into(),
        }
    }
}

impl From<Repeated> for Problem {
    fn from(repeated: Repeated) -> Self {
        let problem = match &repeated {
            // Whoever has the key puts that answer in the place of this one.
            Repeated::Answered(_) | Repeated::InFlight => Self::new(
                StatusCode::CONFLICT,
                "idempotency-key-in-flight",
                "The request is still at work",
            )
            .with_header(header::RETRY_AFTER, RETRY_AFTER),
            Repeated::OtherRequest => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The key came with another request",
            ),
            Repeated::GrantEnded => {
                Self::new(StatusCode::CONFLICT, "grant-ended", "The grant has ended")
            }
        };
        let mut problem = problem.saying(&repeated);
        problem.0.repeated = Some(repeated);
        problem
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        Self::internal(&error)
    }
}

impl From<BlockingError> for Problem {
    fn from(error: BlockingError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<&Refusal> for SubproblemView {
    fn from(refusal: &Refusal) -> Self {
        Self {
            kind: uri(refusal.cause.code()),
            code: refusal.cause.code(),
            detail: refusal.cause.to_string(),
            identifier: match &refusal.subject {
                Subject::Numbers(numbers) => IdentifierView::Numbers((*numbers).into()),
                Subject::Spc(spc) => IdentifierView::Spc {
                    spc: spc.to_string(),
                },
            },
        }
    }
}
