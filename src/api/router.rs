//! All routes on one screen, grouped by subject.

use actix_web::body::BoxBody;
use actix_web::dev::{
    AppService, HttpServiceFactory, ServiceFactory, ServiceRequest, ServiceResponse,
};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, FromRequest, Handler, Resource, Responder};

use super::problem::Problem;
use super::waiting::{WAITING, WaitingState};
use super::{Service, http, openapi, routes};

/// All routes of the API. They are tried in this order, so those that are used most come first.
fn api_routes(cfg: &mut ServiceConfig) {
    cfg
        // RFC 9447 §5, RFC 9448 §5.5
        .service(route("/at/account/{id}/token").post(routes::token::issue_token))
        .service(route("/v1/tokens").post(routes::bulk_tokens::issue_tokens))
        // Provisioning
        .service(route("/v1/accounts").get(routes::accounts::list_accounts))
        .service(
            route("/v1/accounts/{id}")
                .get(routes::accounts::get_account)
                .put(routes::accounts::put_account),
        )
        .service(route("/v1/accounts/{id}/suspend").post(routes::accounts::suspend_account))
        .service(route("/v1/accounts/{id}/resume").post(routes::accounts::resume_account))
        .service(route("/v1/accounts/{id}/lifetime").put(routes::accounts::set_lifetime))
        .service(
            route("/v1/accounts/{id}/delegations")
                .get(routes::delegations::list_delegations)
                .post(routes::delegations::create_delegation),
        )
        .service(route("/v1/delegations/{id}").get(routes::delegations::get_delegation))
        .service(route("/v1/delegations/{id}/end").post(routes::delegations::end_delegation))
        .service(
            route("/v1/allocations")
                .get(routes::allocations::list_allocations)
                .post(routes::allocations::create_allocation),
        )
        .service(route("/v1/allocations/{id}").get(routes::allocations::get_allocation))
        .service(route("/v1/allocations/{id}/return").post(routes::allocations::return_allocation))
        .service(route("/v1/allocations/{id}/return/undo").post(routes::allocations::undo_return))
        .service(
            route("/v1/exclusions")
                .get(routes::exclusions::list_exclusions)
                .post(routes::exclusions::create_exclusion),
        )
        .service(route("/v1/exclusions/{id}").get(routes::exclusions::get_exclusion))
        .service(route("/v1/exclusions/{id}/end").post(routes::exclusions::end_exclusion))
        .service(route("/v1/disconnects").post(routes::disconnects::create_disconnect))
        .service(route("/v1/numbers/{tn}").get(routes::numbers::look_up_number))
        .service(route("/v1/explain").post(routes::numbers::explain))
        .service(route("/v1/grants").get(routes::grants::list_grants))
        .service(route("/v1/grants/{jti}").get(routes::grants::get_grant))
        .service(route("/v1/grants/{jti}/withdraw").post(routes::grants::withdraw_grant))
        .service(route("/v1/audit-events").get(routes::audit::list_audit_events))
        .service(route("/v1/audit-events/export").get(routes::audit::export_audit_events))
        .service(route("/v1/grants/{jti}/status").get(routes::withdrawals::get_grant_status))
        .service(
            route("/v1/webhooks")
                .get(routes::webhooks::list_webhooks)
                .post(routes::webhooks::create_webhook),
        )
        .service(route("/v1/webhooks/{id}").get(routes::webhooks::get_webhook))
        .service(route("/v1/webhooks/{id}/end").post(routes::webhooks::end_webhook))
        .service(route("/v1/webhooks/{id}/rotate").post(routes::webhooks::rotate_webhook))
        .service(route("/v1/webhooks/{id}/replay").post(routes::webhooks::replay_webhook))
        .service(route("/v1/webhooks/{id}/deliveries").get(routes::webhooks::list_deliveries))
        .service(
            route("/v1/webhooks/{id}/deliveries/{delivery}/replay")
                .post(routes::webhooks::replay_delivery),
        )
        .service(
            route("/v1/renewals")
                .get(routes::renewals::list_renewals)
                .post(routes::renewals::create_renewal),
        )
        .service(route("/v1/renewals/{id}").get(routes::renewals::get_renewal))
        .service(route("/v1/renewals/{id}/revoke").post(routes::renewals::revoke_renewal))
        .service(route("/v1/renewals/{id}/token").post(routes::renewals::renew_token))
        .service(route("/v1/withdrawals").get(routes::withdrawals::follow_withdrawals))
        .service(route("/v1/imports").post(routes::imports::start_import))
        .service(route("/v1/jobs").get(routes::jobs::list_jobs))
        .service(route("/v1/jobs/{id}").get(routes::jobs::get_job))
        .service(route("/v1/jobs/{id}/undo").post(routes::jobs::undo_job))
        // Callers
        .service(
            route("/v1/api-keys")
                .get(routes::api_keys::list_api_keys)
                .post(routes::api_keys::create_api_key),
        )
        .service(route("/v1/api-keys/{id}").get(routes::api_keys::get_api_key))
        .service(route("/v1/api-keys/{id}/rotate").post(routes::api_keys::rotate_api_key))
        .service(route("/v1/api-keys/{id}/expire").post(routes::api_keys::expire_api_key))
        .service(route("/v1/api-keys/{id}/revoke").post(routes::api_keys::revoke_api_key))
        // Keys and certificates
        .service(route("/v1/signers").get(routes::signers::list_signers))
        .service(route("/v1/signers/reload").post(routes::signers::reload_signers))
        .service(route("/v1/signers/{chain}/distrust").post(routes::signers::distrust_signer))
        // No authentication needed
        .service(route("/certs/{sha256}.pem").get(routes::certs::get_chain))
        .service(route("/healthz").get(routes::health::alive))
        .service(route("/readyz").get(routes::health::ready))
        .service(route("/openapi.json").get(openapi::document))
        .service(route("/docs").get(openapi::to_the_page))
        .service(route("/docs/{file:.*}").get(openapi::page));
    control_routes(cfg);
}

/// Effective control.
fn control_routes(cfg: &mut ServiceConfig) {
    cfg.service(
        route("/v1/accounts/{id}/control-proofs")
            .get(routes::control_proofs::list_control_proofs)
            .post(routes::control_proofs::start_control_proofs),
    )
    .service(route("/v1/control-failures").get(routes::control_failures::follow))
    .service(route("/v1/control-proofs").get(routes::control_proofs::list_control_proofs_of_number))
    .service(route("/v1/control-proofs/{id}").get(routes::control_proofs::get_control_proof))
    .service(
        route("/v1/control-proofs/{id}/cancel").post(routes::control_proofs::cancel_control_proof),
    )
    .service(
        route("/v1/control-proofs/{id}/confirm")
            .post(routes::control_proofs::confirm_control_proof),
    );
}

/// The routes of the facade for clients of an STI-PA, if it is enabled.
fn facade_routes(cfg: &mut ServiceConfig) {
    cfg.service(route("/api/v1/auth/login").post(routes::facade::log_in))
        .service(route("/api/v1/account/{id}/token").post(routes::facade::issue_spc_token));
}

/// All routes of the operations listener.
fn operations_routes(cfg: &mut ServiceConfig) {
    cfg.service(route("/metrics").get(routes::health::metrics))
        .service(route("/healthz").get(routes::health::alive))
        .service(route("/readyz").get(routes::health::ready_for_operators));
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
        api_routes(cfg);
        facade_routes(cfg);
    };
    // While the facade is off its routes are not registered, so they are answered like unknown
    // ones.
    let configure: fn(&mut ServiceConfig) = if service.facade.is_some() {
        with_facade
    } else {
        api_routes
    };
    with(service, configure, Problem::no_such_route)
}

/// What is served without a database: certificate chains, and that the service is alive.
pub fn while_waiting(
    waiting: Data<WaitingState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let configure = |cfg: &mut ServiceConfig| {
        cfg.service(route("/certs/{sha256}.pem").get(routes::certs::get_found_chain))
            .service(route("/healthz").get(routes::health::alive))
            .service(route("/readyz").get(routes::health::waiting));
    };
    with(waiting, configure, || Problem::unavailable(&WAITING))
}

/// The routes for operators, ready to be served on their own listener.
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
    with(service, operations_routes, Problem::no_such_route)
}

fn with<T: 'static>(
    state: Data<T>,
    configure: fn(&mut ServiceConfig),
    unknown_route: fn() -> Problem,
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
        .app_data(state)
        .configure(configure)
        .default_service(web::to(
            move || async move { Err::<&str, _>(unknown_route()) },
        ))
        .wrap(from_fn(http::request::handle))
}

/// A path and its methods. For other methods actix answers 405, which the request handler turns
/// into a problem.
struct Route(Resource);

fn route(path: &str) -> Route {
    Route(web::resource(path))
}

impl Route {
    /// GET and HEAD (RFC 9110 §9.3.2); actix omits the body of an answer to HEAD.
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
