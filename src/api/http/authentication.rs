//! Who is asking, before anything else of a request is looked at.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use uuid::Uuid;

use super::request::RequestId;
use crate::api::Service;
use crate::api::problem::Problem;
use crate::authority::{Action, ChangeError, TooMany};
use crate::callers::{
    AuthError, Callers, ClientInfo, Credentials, PresentedCertificate, Rejection,
};
use crate::domain::{Caller, Role};
use crate::telemetry::carried;

/// A caller of any role.
#[derive(Debug)]
pub(in crate::api) struct Proven(pub(in crate::api) Caller);

/// A caller who may read what the carrier keeps.
#[derive(Debug)]
pub(in crate::api) struct Reader(pub(in crate::api) Caller);

/// A caller who may keep accounts and what they are lent: the carrier's people, and resellers for their customers.
#[derive(Debug)]
pub(in crate::api) struct Manager(pub(in crate::api) Caller);

/// A caller who may change what the carrier as a whole holds.
#[derive(Debug)]
pub(in crate::api) struct Provisioner(pub(in crate::api) Caller);

/// A caller who may keep the credentials of others.
#[derive(Debug)]
pub(in crate::api) struct Admin(pub(in crate::api) Caller);

/// A caller of any role, who wants something that a transaction decides: it looks at the proof again, so what was read of
/// it not long ago will do.
#[derive(Debug)]
pub(in crate::api) struct TokenRequester(pub(in crate::api) Caller);

type Proving<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl FromRequest for Proven {
    type Error = Problem;
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { prove(&request).await.map(Self) })
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { prove_for(&request, Action::Read).await.map(Self) })
    }
}

impl FromRequest for Manager {
    type Error = Problem;
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { prove_for(&request, Action::Manage).await.map(Self) })
    }
}

impl FromRequest for Provisioner {
    type Error = Problem;
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { prove_for(&request, Action::Provision).await.map(Self) })
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = prove_for(&request, Action::Provision).await?;
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
    type Future = Proving<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let service = service(&request)?;
            let callers = &service.callers;
            let offered = offered(callers, &request).ok();
            let recalled = offered
                .and_then(|offered| callers.authenticate_cached(&offered, RequestId::of(&request)));
            match recalled {
                Some(caller) => counted(&service, caller).map(Self),
                None => prove(&request).await.map(Self),
            }
        })
    }
}

/// The verbs ask this too. Asked here, it keeps those who may not from learning what a well-formed request is answered.
async fn prove_for(request: &HttpRequest, action: Action) -> Result<Caller, Problem> {
    let caller = prove(request).await?;
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

/// Proves the caller, and counts it.
async fn prove(request: &HttpRequest) -> Result<Caller, Problem> {
    let caller = proof(request, Callers::authenticate).await?;
    let service = service(request)?;
    counted(&service, caller)
}

/// Looks in some way at what proves the caller; or counts an address from which nobody was proven.
pub(in crate::api) async fn proof<T: Send + 'static>(
    request: &HttpRequest,
    prove: impl FnOnce(&Callers, &Credentials, Uuid) -> Result<T, AuthError> + Send + 'static,
) -> Result<T, Problem> {
    let service = service(request)?;
    let id = RequestId::of(request);
    let offered = match offered(&service.callers, request) {
        Ok(offered) => offered,
        Err(refusal) => {
            let unproven = service.callers.refused(refusal, id);
            count_failed_proof(&service, request)?;
            return Err(unproven.into());
        }
    };
    let from = offered.from;
    let data = service.clone();
    let prove = carried(move || prove(&data.callers, &offered, id));
    match web::block(prove).await? {
        Ok(proven) => Ok(proven),
        Err(unproven) => {
            // Whoever has valid credentials is not held up by others behind the same address.
            if unproven.blames_the_asker() {
                count_from(&service, request, from)?;
            }
            Err(unproven.into())
        }
    }
}

/// Counts an address from which something was tried as a proof that is none.
pub(in crate::api) fn count_failed_proof(
    service: &Service,
    request: &HttpRequest,
) -> Result<(), Problem> {
    let behind = behind(&service.callers, request);
    count_from(service, request, behind.ok().and_then(|behind| behind.from))
}

/// A proxy that does not say for whom it asks, or not so that it can be read, is counted itself.
fn count_from(
    service: &Service,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<(), Problem> {
    let Some(from) = from.or_else(|| peer(request)) else {
        return Ok(());
    };
    let limited = service.authority.limits().failed_proof(from);
    limited.map_err(|too_many| refused(service, too_many))
}

/// The caller, unless it asks too often.
pub(in crate::api) fn counted(service: &Service, caller: Caller) -> Result<Caller, Problem> {
    let limited = service.authority.limits().caller(&caller);
    limited.map_err(|too_many| refused(service, too_many))?;
    Ok(caller)
}

fn refused(service: &Service, too_many: TooMany) -> Problem {
    let metrics = service.authority.metrics();
    metrics.limited(too_many.limit.as_str());
    too_many.into()
}

fn offered(callers: &Callers, request: &HttpRequest) -> Result<Credentials, Rejection> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION);
    let authorization = match (fields.next(), fields.next()) {
        (None, _) => None,
        // Two proofs prove nothing (RFC 9110 §11.6.2 knows one field).
        (Some(_), Some(_)) => return Err(Rejection::TwoFields),
        (Some(one), None) => Some(one.to_str().map_err(|_| Rejection::Scheme)?.to_owned()),
    };
    let behind = behind(callers, request)?;
    Ok(Credentials {
        authorization,
        from: behind.from,
        certificate: behind.certificate,
    })
}

/// Who stands behind the other end of the connection.
fn behind(callers: &Callers, request: &HttpRequest) -> Result<ClientInfo, Rejection> {
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
