//! HTTP: requests in, answers out. The only room that knows actix, besides `app`.
//!
//! A handler proves the caller, parses, calls one verb of `authority` and renders. Nothing is decided here.

mod http;
pub mod openapi;
mod problem;
mod routes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{
    AppService, HttpServiceFactory, ServiceFactory, ServiceRequest, ServiceResponse,
};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, FromRequest, Handler, Resource, Responder};

use crate::authority::Authority;
use crate::authority::import::jobs::Jobs;
use crate::callers::Callers;
use crate::webhooks::Sender;
pub use http::concurrency::ConcurrencyLimit;
pub use http::idempotency::Idempotency;
use problem::Problem;
pub use routes::audit::line as audit_line;
pub use routes::facade::Facade;

/// What the handlers call.
#[derive(Debug)]
pub struct Service {
    pub authority: Arc<Authority>,
    pub callers: Callers,
    pub jobs: Jobs,
    pub webhooks: Arc<Sender>,
    pub uploads: Uploads,
    /// What requests are kept with that may come again.
    pub idempotency: Idempotency,
    pub under_way: ConcurrencyLimit,
    /// For clients of STI-PAs; `None` if it is off.
    pub facade: Option<Facade>,
    /// A longer body is answered 413.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive; of a table, each piece of it.
    pub request_timeout: Duration,
    /// The same for a bulk of requests for tokens.
    pub max_bulk_body_bytes: usize,
}

/// What becomes of the tables that are sent.
#[derive(Debug)]
pub struct Uploads {
    /// Where they are kept until they are imported.
    pub dir: PathBuf,
    /// A longer one is answered 413.
    pub max_bytes: u64,
    /// The share of the numbers of a service provider code that may end unconfirmed, in parts of a million.
    pub max_ended_ppm: u32,
}

/// All routes of the API.
fn routes(cfg: &mut ServiceConfig) {
    cfg
        // RFC 9447 §5, RFC 9448 §5.5
        .service(at("/at/account/{id}/token").post(routes::token::issue_token))
        .service(at("/v1/tokens").post(routes::bulk_tokens::issue_tokens))
        // Provisioning
        .service(at("/v1/accounts").get(routes::accounts::list_accounts))
        .service(
            at("/v1/accounts/{id}")
                .get(routes::accounts::get_account)
                .put(routes::accounts::put_account),
        )
        .service(at("/v1/accounts/{id}/suspend").post(routes::accounts::suspend_account))
        .service(at("/v1/accounts/{id}/resume").post(routes::accounts::resume_account))
        .service(at("/v1/accounts/{id}/lifetime").put(routes::accounts::set_lifetime))
        .service(
            at("/v1/accounts/{id}/delegations")
                .get(routes::delegations::list_delegations)
                .post(routes::delegations::create_delegation),
        )
        .service(at("/v1/delegations/{id}").get(routes::delegations::get_delegation))
        .service(at("/v1/delegations/{id}/end").post(routes::delegations::end_delegation))
        .service(
            at("/v1/allocations")
                .get(routes::allocations::list_allocations)
                .post(routes::allocations::create_allocation),
        )
        .service(at("/v1/allocations/{id}").get(routes::allocations::get_allocation))
        .service(at("/v1/allocations/{id}/return").post(routes::allocations::return_allocation))
        .service(
            at("/v1/exclusions")
                .get(routes::exclusions::list_exclusions)
                .post(routes::exclusions::create_exclusion),
        )
        .service(at("/v1/exclusions/{id}").get(routes::exclusions::get_exclusion))
        .service(at("/v1/exclusions/{id}/end").post(routes::exclusions::end_exclusion))
        .service(at("/v1/disconnects").post(routes::disconnects::create_disconnect))
        .service(at("/v1/numbers/{tn}").get(routes::numbers::look_up_number))
        .service(at("/v1/explain").post(routes::numbers::explain))
        .service(at("/v1/grants").get(routes::grants::list_grants))
        .service(at("/v1/grants/{jti}").get(routes::grants::get_grant))
        .service(at("/v1/grants/{jti}/withdraw").post(routes::grants::withdraw_grant))
        .service(at("/v1/audit-events").get(routes::audit::list_audit_events))
        .service(at("/v1/audit-events/export").get(routes::audit::export_audit_events))
        .service(at("/v1/grants/{jti}/status").get(routes::withdrawals::get_grant_status))
        .service(
            at("/v1/webhooks")
                .get(routes::webhooks::list_webhooks)
                .post(routes::webhooks::create_webhook),
        )
        .service(at("/v1/webhooks/{id}").get(routes::webhooks::get_webhook))
        .service(at("/v1/webhooks/{id}/end").post(routes::webhooks::end_webhook))
        .service(at("/v1/webhooks/{id}/rotate").post(routes::webhooks::rotate_webhook))
        .service(at("/v1/webhooks/{id}/replay").post(routes::webhooks::replay_webhook))
        .service(at("/v1/webhooks/{id}/deliveries").get(routes::webhooks::list_deliveries))
        .service(
            at("/v1/webhooks/{id}/deliveries/{delivery}/replay")
                .post(routes::webhooks::replay_delivery),
        )
        .service(
            at("/v1/renewals")
                .get(routes::renewals::list_renewals)
                .post(routes::renewals::create_renewal),
        )
        .service(at("/v1/renewals/{id}").get(routes::renewals::get_renewal))
        .service(at("/v1/renewals/{id}/revoke").post(routes::renewals::revoke_renewal))
        .service(at("/v1/renewals/{id}/token").post(routes::renewals::renew_token))
        .service(at("/v1/withdrawals").get(routes::withdrawals::follow_withdrawals))
        .service(at("/v1/imports").post(routes::imports::start_import))
        .service(at("/v1/jobs").get(routes::jobs::list_jobs))
        .service(at("/v1/jobs/{id}").get(routes::jobs::get_job))
        // Callers
        .service(
            at("/v1/api-keys")
                .get(routes::api_keys::list_api_keys)
                .post(routes::api_keys::create_api_key),
        )
        .service(at("/v1/api-keys/{id}").get(routes::api_keys::get_api_key))
        .service(at("/v1/api-keys/{id}/rotate").post(routes::api_keys::rotate_api_key))
        .service(at("/v1/api-keys/{id}/expire").post(routes::api_keys::expire_api_key))
        .service(at("/v1/api-keys/{id}/revoke").post(routes::api_keys::revoke_api_key))
        // Keys and certificates
        .service(at("/v1/signers").get(routes::signers::list_signers))
        .service(at("/v1/signers/reload").post(routes::signers::reload_signers))
        // For everybody
        .service(at("/certs/{sha256}.pem").get(routes::certs::get_chain))
        .service(at("/healthz").get(routes::health::alive))
        .service(at("/readyz").get(routes::health::ready))
        .service(at("/openapi.json").get(openapi::document))
        .service(at("/docs").get(openapi::to_the_page))
        .service(at("/docs/{file:.*}").get(openapi::page));
}

/// All routes of the operations listener.
fn operations_routes(cfg: &mut ServiceConfig) {
    cfg.service(at("/metrics").get(routes::health::metrics))
        .service(at("/healthz").get(routes::health::alive))
        .service(at("/readyz").get(routes::health::ready));
}

/// The API, ready to be served.
pub fn app(
    service: Data<Service>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let with_facade = |cfg: &mut ServiceConfig| {
        routes(cfg);
        routes::facade::routes(cfg);
    };
    let routes: fn(&mut ServiceConfig) = if service.facade.is_some() {
        with_facade
    } else {
        routes
    };
    with(service, routes)
}

/// What operators see, ready to be served on a listener of its own.
pub fn operations(
    service: Data<Service>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    with(service, operations_routes)
}

fn with(
    service: Data<Service>,
    routes: fn(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(service)
        .configure(routes)
        .default_service(web::to(|| async {
            Err::<&str, _>(Problem::no_such_route())
        }))
        .wrap(from_fn(http::request::handle))
}

/// A path and the methods that it takes; `exchange` makes a problem of the 405 that actix answers to others.
struct Route(Resource);

fn at(path: &str) -> Route {
    Route(web::resource(path))
}

impl Route {
    /// HEAD too (RFC 9110 §9.3.2), where actix leaves the body out.
    fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let head = web::head().to(handler.clone());
        Self(self.0.route(web::get().to(handler)).route(head))
    }

    fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self(self.0.route(web::post().to(handler)))
    }

    fn put<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self(self.0.route(web::put().to(handler)))
    }
}

impl HttpServiceFactory for Route {
    fn register(self, config: &mut AppService) {
        self.0.register(config);
    }
}
