//! A facade in the shape of an STI-PA (ATIS-1000080), for clients that speak nothing else: a login, and a token for it.
//!
//! It decides nothing by itself: what is asked here is issued as at the token endpoint. Off by default; then none of it is
//! there.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::body::Body;
use super::exchange::RequestId;
use super::problem::Problem;
use super::query::name;
use super::token::{AtcTokenBody, issue, token_request};
use crate::callers::{FloodGate, Unproven};
use crate::domain::Caller;

/// Characters of a user id that are looked at.
const LONGEST_USER: usize = 256;

/// How the facade is set up.
#[derive(Debug)]
pub struct Facade {
    /// Where the certificates of the tokens are revoked; clients download it.
    crl_url: String,
    /// Seconds that an access token lives.
    access_lifetime: u32,
    /// Whether the peer is a proxy, which says for whom it speaks.
    behind_proxy: bool,
    peers: FloodGate,
    users: FloodGate,
}

impl Facade {
    /// A facade whose peers and users may each log in so often in a minute.
    #[must_use]
    pub fn new(
        crl_url: String,
        access_lifetime: u32,
        logins_per_minute: NonZeroU32,
        behind_proxy: bool,
    ) -> Self {
        Self {
            crl_url,
            access_lifetime,
            behind_proxy,
            peers: FloodGate::new(logins_per_minute),
            users: FloodGate::new(logins_per_minute),
        }
    }
}

/// The routes, where the facade is switched on.
pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(super::at("/api/v1/auth/login").post(log_in))
        .service(super::at("/api/v1/account/{id}/token").post(issue_spc_token));
}

/// Who logs in.
#[derive(Debug, ToSchema)]
#[schema(as = FacadeLogin)]
#[expect(dead_code, reason = "describes the body; the handler reads it")]
pub(super) struct LoginBody {
    /// The id of an API key: its middle part.
    #[serde(rename = "userId")]
    #[schema(example = "5f2b1c2e7a7e4a0e")]
    user_id: String,
    /// The secret of the key, its last part; or the whole key.
    password: String,
}

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeAccess)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// Stands in `Authorization` as it is, without a scheme.
    access_token: String,
}

/// A token in the shape of an STI-PA.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FacadeToken)]
pub(super) struct SpcTokenView {
    #[schema(example = "success")]
    status: &'static str,
    message: &'static str,
    /// The JWT, in compact serialization.
    token: String,
    /// Where the certificates of such tokens are revoked.
    #[schema(format = "uri")]
    crl: String,
}

/// Log in with an API key, as at an STI-PA. Off by default; then it is answered 404.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "facade", request_body = LoginBody,
    responses(
        (status = 200, body = AccessView, description = "An access token"),
        (status = 403, description = "The credentials prove nobody; who logs in is not told why"),
        (status = 404, description = "The facade is off"),
        (status = 429, description = "Too many logins of this user or from this address; Retry-After says when to come again"),
    ),
)]
pub(super) async fn log_in(
    service: Data<Service>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let facade = facade(&service)?;
    facade
        .peers
        .pass(&peer(&request, facade.behind_proxy))
        .map_err(too_many)?;
    let mut body = body.read().await?;
    let (user, password): (String, String) = (body.need("userId")?, body.need("password")?);
    body.done()?;
    let counted: String = user.chars().take(LONGEST_USER).collect();
    facade.users.pass(&counted).map_err(too_many)?;

    let (id, seconds) = (RequestId::of(&request), facade.access_lifetime);
    let callers = service.clone();
    let log_in = move || callers.callers.log_in(&user, &password, seconds, id);
    let access = web::block(log_in).await??;
    Ok(HttpResponse::Ok().json(AccessView {
        status: "success",
        message: "logged in",
        access_token: access.token,
    }))
}

/// Issue an authority token, as at an STI-PA: the raw access token in `Authorization`, the request under `atc`. Decided as
/// at the token endpoint. Off by default; then it is answered 404.
#[utoipa::path(
    post, path = "/api/v1/account/{id}/token", tag = "facade", security(("facade" = [])),
    params(("id" = String, Path, description = "The account", example = "carrier")),
    request_body = AtcTokenBody,
    responses(
        (status = 200, body = SpcTokenView, description = "The token, which is in the ledger"),
        (status = 404, description = "The facade is off"),
    ),
)]
pub(super) async fn issue_spc_token(
    service: Data<Service>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let facade = facade(&service)?;
    let caller = prove(&service, &request).await?;
    let body = body.read().await?;
    if !body.has("atc") {
        let missing = "the member `atc` is missing, under which the request stands here";
        return Err(Problem::malformed("missing-member", missing));
    }
    let wanted = token_request(&service.authority, body)?;
    let issued = issue(&service, &caller, &name(&request)?, wanted).await?;
    Ok(HttpResponse::Ok().json(SpcTokenView {
        status: "success",
        message: "the token was issued",
        token: issued.token,
        crl: facade.crl_url.clone(),
    }))
}

fn facade(service: &Service) -> Result<&Facade, Problem> {
    service.facade.as_ref().ok_or_else(Problem::no_such_route)
}

async fn prove(service: &Data<Service>, request: &HttpRequest) -> Result<Caller, Problem> {
    let id = RequestId::of(request);
    let mut offered = request.headers().get_all(header::AUTHORIZATION);
    let access = match (offered.next(), offered.next()) {
        (None, _) => return Err(Unproven::Missing.into()),
        (Some(_), Some(_)) => return Err(Unproven::Invalid.into()),
        (Some(one), None) => one.to_str().map_err(|_| Unproven::Invalid)?.to_owned(),
    };
    let service = service.clone();
    Ok(web::block(move || service.callers.prove_access(Some(&access), id)).await??)
}

fn too_many(wait: u64) -> Problem {
    Problem::bare(StatusCode::TOO_MANY_REQUESTS)
        .with_header(header::RETRY_AFTER, HeaderValue::from(wait))
}

/// Who is at the other end; of a proxy, whom it names last, since what stands before that comes from the client. Addresses
/// of one IPv6 network are one.
fn peer(request: &HttpRequest, behind_proxy: bool) -> Option<IpAddr> {
    let fields = request.headers().get_all("x-forwarded-for");
    let named = fields.last().filter(|_| behind_proxy).and_then(|field| {
        let last = field.to_str().ok()?.rsplit(',').next()?.trim();
        last.parse().ok()
    });
    let address = named.or_else(|| Some(request.peer_addr()?.ip()));
    address.map(|address| match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_peer_cannot_pass_for_another() {
        let seen = |direct: &str, forwarded: &[&str], behind_proxy| {
            let mut request = TestRequest::default().peer_addr(direct.parse().expect("an address"));
            for value in forwarded {
                request = request.append_header(("x-forwarded-for", *value));
            }
            let peer = peer(&request.to_http_request(), behind_proxy);
            peer.expect("a peer").to_string()
        };
        let direct = "198.51.100.7:5000";
        assert_eq!(seen(direct, &[], false), "198.51.100.7");
        assert_eq!(seen(direct, &["203.0.113.9"], false), "198.51.100.7");
        assert_eq!(seen(direct, &["203.0.113.9"], true), "203.0.113.9");
        let forged = ["10.0.0.1, 192.0.2.1", "192.0.2.2, 203.0.113.9"];
        assert_eq!(seen(direct, &forged, true), "203.0.113.9");
        assert_eq!(seen(direct, &["nonsense"], true), "198.51.100.7");
        assert_eq!(seen(direct, &[], true), "198.51.100.7");
        assert_eq!(
            seen("[2001:db8:1:2:3:4:5:6]:1", &[], false),
            "2001:db8:1:2::"
        );
        assert_eq!(seen("[::ffff:198.51.100.7]:1", &[], false), "198.51.100.7");
    }
}
