//! What every exchange has, whatever it is about: an id, a log line, a metric, security headers, and a problem document
//! for each refusal, those of actix included.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use uuid::Uuid;

use super::concurrency::Permit;
use super::idempotency::Finished;
use crate::api::Service;
use crate::api::problem::Problem;
use crate::domain::new_id;
use crate::telemetry::{self, RequestContext};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names the exchange in the log, the audit trail and the answer. Made here; one that a caller sends is not looked at. In
/// order of time, so that the index of the trail grows at its end.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct RequestId(pub(in crate::api) Uuid);

impl RequestId {
    pub(in crate::api) fn of(request: &HttpRequest) -> Uuid {
        request
            .extensions()
            .get::<Self>()
            .map_or_else(Uuid::nil, |id| id.0)
    }
}

/// The middleware around everything. Log lines of the exchange name it, and its trace if it is a part of one.
pub(in crate::api) async fn handle(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let id = request
        .app_data::<Data<Service>>()
        .map_or_else(Uuid::new_v4, |service| new_id(service.authority.now()));
    let exchange = RequestContext {
        request_id: id.to_string(),
        trace_id: trace_id(&request).map(str::to_owned),
    };
    exchange.scope(handle_inner(request, next, start, id)).await
}

/// The trace that the request is a part of. Two that are named are none.
fn trace_id(request: &ServiceRequest) -> Option<&str> {
    let mut named = request.headers().get_all(TRACEPARENT);
    match (named.next(), named.next()) {
        (Some(one), None) => telemetry::trace_id_of(one.to_str().ok()?),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

async fn handle_inner(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    start: Instant,
    id: Uuid,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let secure = request.app_config().secure();
    request.extensions_mut().insert(RequestId(id));

    let _one_more = match enter(&request) {
        Ok(one_more) => one_more,
        Err(busy) => {
            let response = request.into_response(busy.error_response());
            return Ok(finish(response, start, id, secure));
        }
    };
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(finish(response, start, id, secure))
}

/// A place among the requests that are worked on. Whether the service lives is answered always.
fn enter(request: &ServiceRequest) -> Result<Option<Permit>, Problem> {
    let service = request.app_data::<Data<Service>>();
    match (request.path(), service) {
        ("/healthz" | "/readyz" | "/metrics", _) | (_, None) => Ok(None),
        (_, Some(service)) => match service.under_way.enter() {
            None => Err(Problem::too_busy()),
            one_more => Ok(one_more),
        },
    }
}

/// Dresses the answer, counts it, and logs it.
fn finish(
    response: ServiceResponse<BoxBody>,
    start: Instant,
    id: Uuid,
    secure: bool,
) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let mut response = with_problem(response, id);
    let shown = id.to_string();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(&shown) {
        headers.insert(X_REQUEST_ID, value);
    }
    let mut add = |name, value| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Who wants an answer to be kept says so.
    add(header::CACHE_CONTROL, "no-store");
    add(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    if secure {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }

    let (method, route) = (request.method().as_str(), request.match_pattern());
    let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
    if let Some(service) = request.app_data::<Data<Service>>() {
        service
            .authority
            .metrics()
            .http_request(method, route.as_deref(), status, seconds);
    }
    log::info!(
        method = telemetry::method_label(method), route = route.as_deref().unwrap_or("unmatched"), status = status, seconds = seconds,
        request_id = shown.as_str();
        "answered"
    );
    ServiceResponse::new(request, response)
}

/// Renders the problem of an answer. An error without one is a refusal of actix itself.
fn with_problem(mut response: HttpResponse, id: Uuid) -> HttpResponse {
    let problem = response.extensions_mut().remove::<Problem>();
    let status = response.status();
    match problem {
        Some(problem) => problem.render(id),
        None if response.extensions().get::<Finished>().is_some() => response,
        None if status.is_client_error() || status.is_server_error() => {
            let mut problem = Problem::bare(status);
            if let Some(allow) = response.headers().get(header::ALLOW) {
                problem = problem.with_header(header::ALLOW, allow.clone());
            }
            problem.render(id)
        }
        None => response,
    }
}
