//! Extractors that authenticate the caller, before anything else of a request is read.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

use super::request::RequestId;
use crate::api::Service;
use crate::api::http::database_wait::blocking;
use crate::api::problem::Problem;
use crate::authority::{Action, ChangeError, TooMany};
use crate::callers::{
    AuthError, Callers, ClientInfo, Credentials, PresentedCertificate, Rejection,
};
use crate::domain::{Caller, Role};
use crate::telemetry::carried;

/// A caller of any role.
#[derive(Debug)]
pub(in crate::api) struct AnyCaller(pub(in crate::api) Caller);

/// A caller who may read the carrier's records.
#[derive(Debug)]
pub(in crate::api) struct Reader(pub(in crate::api) Caller);

/// A caller who may manage accounts and their delegations: the carrier's staff, and resellers for
/// their customers.
#[derive(Debug)]
pub(in crate::api) struct Manager(pub(in crate::api) Caller);

/// A caller who may change what belongs to the carrier as a whole, such as its allocations.
#[derive(Debug)]
pub(in crate::api) struct Provisioner(pub(in crate::api) Caller);

/// A caller who may manage the credentials of others.
#[derive(Debug)]
pub(in crate::api) struct Admin(pub(in crate::api) Caller);

/// A caller of any role, or a request without any credentials, for what can be signed instead.
#[derive(Debug)]
pub(in crate::api) struct CallerOrNone(pub(in crate::api) Option<Caller>);

/// A caller of any role, possibly authenticated from the cache. Only for requests that a
/// transaction decides, because the transaction checks the credential again.
#[derive(Debug)]
pub(in crate::api) struct TokenRequester(pub(in crate::api) Caller);

type Authenticating<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl FromRequest for AnyCaller {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request).await.map(Self) })
    }
}

impl FromRequest for CallerOrNone {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = service(&request)?;
            let presented = credentials(&service.callers, &request);
            let has_none = |presented: &Credentials| {
                presented.authorization.is_none() && presented.certificate.is_none()
            };
            if presented.as_ref().is_ok_and(has_none) {
                return Ok(Self(None));
            }
            authenticate(&request)
                .await
                .map(|caller| Self(Some(caller)))
        })
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate_for(&request, Action::Read).await.map(Self) })
    }
}

impl FromRequest for Manager {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate_for(&request, Action::Manage).await.map(Self) })
    }
}

impl FromRequest for Provisioner {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            authenticate_for(&request, Action::Provision)
                .await
                .map(Self)
        })
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = authenticate_for(&request, Action::Provision).await?;
            match caller.role {
                Role::Admin => Ok(Self(caller)),
                Role::Provisioner
                | Role::Portal
                | Role::Account
                | Role::Auditor
                | Role::Renewer => Err(Problem::forbidden()),
            }
        })
    }
}

impl FromRequest for TokenRequester {
    type Error = Problem;
    type Future = Authenticating<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = service(&request)?;
            let callers = &service.callers;
            let cached = credentials(callers, &request).ok().and_then(|credentials| {
                callers.authenticate_cached(&credentials, RequestId::of(&request))
            });
            match cached {
                Some(caller) => rate_limited(&service, caller).map(Self),
                None => authenticate(&request).await.map(Self),
            }
        })
    }
}

/// Checks the role, too. The verbs of `authority` repeat the check; doing it before the body is
/// read gives a caller without the role no answer that depends on the body.
async fn authenticate_for(request: &HttpRequest, action: Action) -> Result<Caller, Problem> {
    let caller = authenticate(request).await?;
    let authority = &service(request)?.authority;
    match (authority.require(&caller, action), action) {
        (Err(ChangeError::Forbidden), Action::Manage | Action::Provision) => {
            let route = request.match_pattern().unwrap_or_default();
            let what = format!("{} {route}", request.method());
            authority.forbid(&caller, action, what).await?;
        }
        (checked, _) => checked?,
    }
    Ok(caller)
}

/// Authenticates the caller, and applies its rate limit.
async fn authenticate(request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = authenticate_with(request, Callers::authenticate).await?;
    let service = service(request)?;
    rate_limited(&service, caller)
}

/// Authenticates with `verify`. A failure that is the caller's fault counts against the rate limit
/// of its address.
pub(in crate::api) async fn authenticate_with<T: Send + 'static>(
    request: &HttpRequest,
    verify: impl FnOnce(&Callers, &Credentials, Uuid) -> Result<T, AuthError> + Send + 'static,
) -> Result<T, Problem> {
    let service = service(request)?;
    let id = RequestId::of(request);
    let credentials = match credentials(&service.callers, request) {
        Ok(credentials) => credentials,
        Err(rejection) => {
            let error = service.callers.reject(rejection, id);
            count_failed_authentication(&service, request)?;
            return Err(error.into());
        }
    };
    let from = credentials.from;
    let data = service.clone();
    let verify = carried(move || verify(&data.callers, &credentials, id));
    match blocking(verify).await? {
        Ok(authenticated) => Ok(authenticated),
        Err(error) => {
            // Only failures count, so that a client with valid credentials is not slowed down by
            // others at the same address.
            if error.is_callers_fault() {
                count_from(&service, request, from)?;
            }
            Err(error.into())
        }
    }
}

/// The problem of a request that needs credentials and has none. It counts against the rate limit
/// of the client's address.
pub(in crate::api) fn no_credentials(service: &Service, request: &HttpRequest) -> Problem {
    let id = RequestId::of(request);
    let error = service.callers.reject(Rejection::Missing, id);
    match count_failed_authentication(service, request) {
        Ok(()) => error.into(),
        Err(too_many) => too_many,
    }
}

/// Counts a failed authentication against the rate limit of the client's address.
pub(in crate::api) fn count_failed_authentication(
    service: &Service,
    request: &HttpRequest,
) -> Result<(), Problem> {
    let client = client(&service.callers, request);
    count_from(service, request, client.ok().and_then(|client| client.from))
}

/// If a proxy does not name the client's address, or not readably, the proxy's own address counts.
fn count_from(
    service: &Service,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<(), Problem> {
    let Some(from) = from.or_else(|| peer(request)) else {
        return Ok(());
    };
    let limited = service.authority.limits().failed_proof(from);
    limited.map_err(|too_many| limit_exceeded(service, too_many))
}

/// Returns the caller unless it exceeds its rate limit.
pub(in crate::api) fn rate_limited(service: &Service, caller: Caller) -> Result<Caller, Problem> {
    let limited = service.authority.limits().caller(&caller);
    limited.map_err(|too_many| limit_exceeded(service, too_many))?;
    Ok(caller)
}

fn limit_exceeded(service: &Service, too_many: TooMany) -> Problem {
    let metrics = service.authority.metrics();
    metrics.limited(too_many.limit.as_str());
    too_many.into()
}

fn credentials(callers: &Callers, request: &HttpRequest) -> Result<Credentials, Rejection> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION);
    let authorization = match (fields.next(), fields.next()) {
        (None, _) => None,
        // RFC 9110 §11.6.2 defines one field; which of two would count is ambiguous.
        (Some(_), Some(_)) => return Err(Rejection::TwoFields),
        (Some(one), None) => Some(one.to_str().map_err(|_| Rejection::Scheme)?.to_owned()),
    };
    let client = client(callers, request)?;
    Ok(Credentials {
        authorization,
        from: client.from,
        certificate: client.certificate,
    })
}

/// The client of the connection, or the one for which a trusted proxy forwards.
fn client(callers: &Callers, request: &HttpRequest) -> Result<ClientInfo, Rejection> {
    let own = request.conn_data::<PresentedCertificate>();
    let all = |name: &str| request.headers().get_all(name).map(HeaderValue::as_bytes);
    let proxies = &callers.trust().proxies;
    proxies.resolve_client(peer(request), own, all)
}

fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|address| address.ip())
}

fn service(request: &HttpRequest) -> Result<Data<Service>, Problem> {
    let service = request.app_data::<Data<Service>>();
    service
        .cloned()
        .ok_or_else(|| Problem::internal(&"the app has no service"))
}
