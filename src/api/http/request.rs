//! The middleware around every request: its id, log line, metric and security headers, and a
//! problem document for each refusal, including those of actix.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use uuid::Uuid;

use super::concurrency::Permit;
use super::door;
use super::idempotency::Finished;
use super::unsent::{self, Making};
use crate::api::Service;
use crate::api::problem::Problem;
use crate::domain::new_id;
use crate::telemetry::{self, RequestContext};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Identifies the request in the log, the audit trail and the answer. Always generated here: an id
/// that a client sends is ignored. It is a time-ordered UUID, so that the index of the trail grows
/// at its end.
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

/// The data of a connection has this if TLS ends at this listener.
#[derive(Debug)]
pub struct OverTls;

/// The outermost middleware. It adds the request id, and the trace id if there is one, to all log
/// lines of the request.
pub(in crate::api) async fn handle(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let Ok(_admitted) = door::enter(&request) else {
        door::skip_body(&mut request).await;
        return Ok(not_admitted(request));
    };
    let id = request
        .app_data::<Data<Service>>()
        .map_or_else(Uuid::new_v4, |service| new_id(service.authority.now()));
    let context = RequestContext {
        request_id: id.to_string(),
        trace_id: trace_id(&request).map(str::to_owned),
    };
    let budget = request
        .app_data::<Data<Service>>()
        .map(|service| service.authority.wait_budget());
    let client = door::client_of(&request);
    let handled = context.scope(handle_inner(request, next, start, id));
    match budget {
        Some(budget) => budget.scope(client, handled).await,
        None => handled.await,
    }
}

/// There are many of these answers under overload, so they have no log line, and a metric of their
/// own.
fn not_admitted(request: ServiceRequest) -> ServiceResponse<BoxBody> {
    let (id, secure) = (Uuid::new_v4(), request.conn_data::<OverTls>().is_some());
    let mut response = Problem::overloaded().render(id);
    add_headers(&mut response, id, secure);
    request.into_response(response)
}

/// The trace that the request belongs to. Two `traceparent` fields are ambiguous, so both are
/// ignored.
fn trace_id(request: &ServiceRequest) -> Option<&str> {
    let mut fields = request.headers().get_all(TRACEPARENT);
    match (fields.next(), fields.next()) {
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
    let secure = request.conn_data::<OverTls>().is_some();
    request.extensions_mut().insert(RequestId(id));

    let _permits = match enter(&request).await {
        Ok(permits) => permits,
        Err(busy) => {
            let response = request.into_response(busy.error_response());
            return Ok(finish(response, start, id, secure));
        }
    };
    let response = next.call(request).await?.map_into_boxed_body();
    let (response, is_refused) = unsent::hold(response);
    let mut response = finish(response, start, id, secure);
    if is_refused {
        // Requests that the client has pipelined would each be processed for nothing.
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Counts the request against the concurrency limit, and waits if its answer may be large and
/// others are being made. Health checks and metrics are exempt.
async fn enter(request: &ServiceRequest) -> Result<Option<(Permit, Making)>, Problem> {
    let service = request.app_data::<Data<Service>>();
    match (request.path(), service) {
        ("/healthz" | "/readyz" | "/metrics", _) | (_, None) => Ok(None),
        (_, Some(service)) => {
            let permit = service.under_way.enter().ok_or_else(Problem::too_busy)?;
            let making = service.under_way.unsent().make(request).await?;
            Ok(Some((permit, making)))
        }
    }
}

/// Adds the headers of the answer, counts it, and logs it.
fn finish(
    response: ServiceResponse<BoxBody>,
    start: Instant,
    id: Uuid,
    secure: bool,
) -> ServiceResponse<BoxBody> {
    let (request, response) = response.into_parts();
    let mut response = with_problem(response, id);
    add_headers(&mut response, id, secure);
    let request_id = id.to_string();
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
        request_id = request_id.as_str();
        "answered"
    );
    ServiceResponse::new(request, response)
}

fn add_headers(response: &mut HttpResponse, id: Uuid, secure: bool) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        headers.insert(X_REQUEST_ID, value);
    }
    let mut add = |name, value| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // A handler whose answer can be cached has set its own value.
    add(header::CACHE_CONTROL, "no-store");
    add(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    if secure {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

/// Renders the problem attached to an answer. An error without one is a refusal by actix.
fn with_problem(mut response: HttpResponse, id: Uuid) -> HttpResponse {
    let problem = response.extensions_mut().remove::<Problem>();
    let status = response.status();
    match problem {
        Some(problem) => problem.render(id),
        None if response.extensions().get::<Finished>().is_some() => response,
        None if status.is_client_error() || status.is_server_error() => {
            let mut problem = Problem::bare(status);
            if let Some(allow) = response.headers().get(header::ALLOW) {
                problem = problem.allowing(allow.clone());
            }
            problem.render(id)
        }
        None => response,
    }
}
