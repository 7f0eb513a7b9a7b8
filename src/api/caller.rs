//! Who is asking, before anything else of a request is looked at.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};

use super::Service;
use super::exchange::RequestId;
use super::problem::Problem;
use crate::authority::{Action, Refused, TooMany};
use crate::callers::Unproven;
use crate::domain::Caller;
use crate::telemetry::carried;

/// A caller of any role.
#[derive(Debug)]
pub(super) struct Proven(pub(super) Caller);

/// A caller who may read what the carrier keeps.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Caller);

/// A caller who may keep accounts and what they are lent: the carrier's people, and resellers for their customers.
#[derive(Debug)]
pub(super) struct Manager(pub(super) Caller);

/// A caller who may change what the carrier as a whole holds.
#[derive(Debug)]
pub(super) struct Provisioner(pub(super) Caller);

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

/// The verbs ask this too. Asked here, it keeps those who may not from learning what a well-formed request is answered.
async fn prove_for(request: &HttpRequest, action: Action) -> Result<Caller, Problem> {
    let caller = prove(request).await?;
    let authority = &service(request)?.authority;
    match (authority.require(&caller, action), action) {
        (Err(Refused::Forbidden), Action::Manage | Action::Provision) => {
            let route = request.match_pattern().unwrap_or_default();
            let what = format!("{} {route}", request.method());
            authority.forbid(&caller, action, what).await?;
        }
        (checked, _) => checked?,
    }
    Ok(caller)
}

/// Proves the caller, and counts it; or counts a peer that proved nobody.
async fn prove(request: &HttpRequest) -> Result<Caller, Problem> {
    let service = service(request)?;
    let authority = &service.authority;
    let too_many = |too_many: TooMany| {
        authority.metrics.limited(too_many.limit.as_str());
        Problem::from(too_many)
    };
    match offered_proof(request).await {
        Ok(caller) => {
            authority.limits.caller(&caller).map_err(too_many)?;
            Ok(caller)
        }
        Err(Unprovable::Problem(problem)) => Err(problem),
        Err(Unprovable::Nobody(unproven)) => {
            if let Some(reason) = unproven.reason() {
                authority.metrics.unproven(reason);
                // Whoever has valid credentials is not held up by others behind the same address.
                if let Some(peer) = request.peer_addr() {
                    authority.limits.failed_proof(peer.ip()).map_err(too_many)?;
                }
            }
            Err(unproven.into())
        }
    }
}

/// Why nobody is proven, or why that could not even be asked.
enum Unprovable {
    Nobody(Unproven),
    Problem(Problem),
}

impl From<Unproven> for Unprovable {
    fn from(unproven: Unproven) -> Self {
        Self::Nobody(unproven)
    }
}

impl From<Problem> for Unprovable {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn offered_proof(request: &HttpRequest) -> Result<Caller, Unprovable> {
    let service = service(request)?;
    let id = RequestId::of(request);
    let mut offered = request.headers().get_all(header::AUTHORIZATION);
    let authorization = match (offered.next(), offered.next()) {
        (None, _) => return Err(Unproven::Missing.into()),
        // Two proofs prove nothing (RFC 9110 §11.6.2 knows one field).
        (Some(_), Some(_)) => return Err(Unproven::Invalid.into()),
        (Some(one), None) => one.to_str().map_err(|_| Unproven::Invalid)?.to_owned(),
    };
    let prove = carried(move || service.callers.prove(Some(&authorization), id));
    Ok(web::block(prove).await.map_err(Problem::from)??)
}

fn service(request: &HttpRequest) -> Result<Data<Service>, Problem> {
    let service = request.app_data::<Data<Service>>();
    service
        .cloned()
        .ok_or_else(|| Problem::internal(&"the app has no service"))
}
