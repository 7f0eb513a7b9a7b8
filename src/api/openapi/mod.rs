//! The OpenAPI document, generated from the handlers and views, and a page that shows it without
//! loading anything from other hosts.

mod shapes;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, path::Operation,
};
use utoipa::{Modify, OpenApi as _};
use utoipa_swagger_ui::Config;

use crate::api::http::idempotency::IdempotencyKeys;
use crate::api::http::query::name;
use crate::api::http::unsent::SharedBody;
use crate::api::problem::{Problem, ProblemView};
use crate::api::routes::{
    accounts, allocations, api_keys, audit, bulk_tokens, certs, control_failures, control_proofs,
    delegations, disconnects, exclusions, facade, grants, health, imports, jobs, numbers, renewals,
    signers, token, webhooks, withdrawals,
};

/// A Token Authority for telephone numbers: issues authority tokens (RFC 9447, RFC 9448), and
/// manages the inventory of numbers on which its decisions are based.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(title = "tn-authority", contact(name = "The operator of this service")),
    servers(
        (url = "/", description = "The service that this document is from"),
        (url = "https://{host}", description = "A service at another address", variables(
            ("host" = (default = "localhost:8443", description = "Its host name, and its port unless that is 443")),
        )),
    ),
    tags(
        (name = "tokens", description = "Authority tokens (RFC 9447, RFC 9448), and rights to renew them"),
        (name = "accounts", description = "The accounts for which tokens are requested"),
        (name = "inventory", description = "The numbers that the carrier holds, delegates and excludes, one by one or \
            as tables, and what is known about them"),
        (name = "ledger", description = "The grants of the tokens that were issued, those that were withdrawn, and \
            the audit trail"),
        (name = "callers", description = "API keys"),
        (name = "signers", description = "Signing keys and their certificate chains"),
        (name = "control", description = "Effective control: whether an account uses its numbers, shown by codes that \
            come back"),
        (name = "webhooks", description = "Notifications of grants that were withdrawn"),
        (name = "facade", description = "The interface of an STI-PA, for clients that know no other. Off by default"),
        (name = "for everybody", description = "What needs no credentials"),
    ),
    paths(
        token::issue_token, bulk_tokens::issue_tokens,
        accounts::list_accounts, accounts::get_account, accounts::put_account,
        accounts::suspend_account, accounts::resume_account, accounts::set_lifetime,
        delegations::list_delegations, delegations::create_delegation,
        delegations::get_delegation, delegations::end_delegation, disconnects::create_disconnect,
        allocations::list_allocations, allocations::create_allocation,
        allocations::get_allocation, allocations::return_allocation, allocations::undo_return,
        exclusions::list_exclusions, exclusions::create_exclusion,
        exclusions::get_exclusion, exclusions::end_exclusion,
        numbers::look_up_number, numbers::explain,
        grants::list_grants, grants::get_grant, grants::withdraw_grant,
        audit::list_audit_events, audit::export_audit_events,
        withdrawals::get_grant_status, withdrawals::follow_withdrawals,
        renewals::list_renewals, renewals::create_renewal, renewals::get_renewal,
        renewals::revoke_renewal, renewals::renew_token,
        control_proofs::start_control_proofs, control_proofs::list_control_proofs,
        control_proofs::get_control_proof, control_proofs::confirm_control_proof,
        control_failures::follow,
        webhooks::list_webhooks, webhooks::create_webhook, webhooks::get_webhook,
        webhooks::end_webhook, webhooks::rotate_webhook, webhooks::replay_webhook,
        webhooks::list_deliveries, webhooks::replay_delivery,
        imports::start_import, jobs::list_jobs, jobs::get_job, jobs::undo_job,
        api_keys::create_api_key, api_keys::list_api_keys, api_keys::get_api_key,
        api_keys::rotate_api_key, api_keys::expire_api_key, api_keys::revoke_api_key,
        signers::list_signers, signers::reload_signers, signers::distrust_signer,
        facade::log_in, facade::issue_spc_token,
        certs::get_chain, health::alive, health::ready, document,
    ),
    components(schemas(ProblemView)),
    modifiers(&IdempotencyKeys, &Problems, &SecuritySchemes),
)]
struct Document;

/// The document, as served and as committed in `deploy/openapi.json`.
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
        shapes::shape(&mut document);
        format!("{document:#}\n")
    });
    &TEXT
}

/// How callers authenticate: by one of these schemes, not several.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API key (`Authorization: Bearer tna_..`), or an OAuth 2.0 access token (RFC 9068) from an issuer \
                 that the service is configured to trust",
            ))
            .build();
        let certificate = SecurityScheme::MutualTls {
            description: Some(
                "A client certificate that the service is configured to map to a caller, instead of `Authorization`"
                    .to_owned(),
            ),
            deprecated: None,
            extensions: None,
        };
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("certificate", certificate);
        let access = ApiKeyValue::with_description(
            "Authorization",
            "The access token from the login of the facade, without a scheme",
        );
        let access = SecurityScheme::ApiKey(ApiKey::Header(access));
        components.add_security_scheme("facade", access);
        let items = openapi.paths.paths.values_mut();
        let operations = items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post]);
        for operation in operations.flatten() {
            match &mut operation.security {
                // The entries of `security` are alternatives.
                Some(security) => {
                    security.push(SecurityRequirement::new("certificate", [""; 0]));
                }
                // An empty list says that no credentials are needed.
                none => *none = Some(Vec::new()),
            }
        }
    }
}

/// Adds the refusals and failures that operations have in common.
struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let operations = [
                (&mut item.get, false),
                (&mut item.put, true),
                (&mut item.post, true),
            ];
            for (operation, with_body) in operations {
                if let Some(operation) = operation {
                    add_problems(path, operation, with_body);
                }
            }
        }
    }
}

fn add_problems(path: &str, operation: &mut Operation, with_body: bool) {
    let guarded = operation.security.is_some();
    let in_query = operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| match parameter {
            RefOr::T(parameter) => {
                parameter.parameter_in == utoipa::openapi::path::ParameterIn::Query
            }
            RefOr::Ref(_) => false,
        });
    let authenticates = guarded || path == "/api/v1/auth/login";
    // Only this one is answered however many requests are processed at the same time.
    let can_be_refused = path != "/healthz";
    // The token endpoints answer 403 for an unknown account, and `put_account` creates it.
    let names_a_resource = path.contains('{')
        && !path.starts_with("/at/")
        && !path.starts_with("/api/")
        && operation.operation_id.as_deref() != Some("put_account");
    let common = [
        (
            with_body || in_query || path.ends_with("{tn}"),
            "400",
            "The request is malformed",
        ),
        (guarded, "401", "The request has no credentials"),
        (
            guarded,
            "403",
            "The credentials are invalid or give no access, or a rule or policy forbids the request",
        ),
        (
            names_a_resource,
            "404",
            "The resource does not exist, or the caller has no access to it",
        ),
        (
            with_body,
            "408",
            "The body was not received before the timeout",
        ),
        (with_body, "413", "The body is too large"),
        (with_body, "415", "The body is not application/json"),
        (
            authenticates || path.ends_with("/status"),
            "429",
            "The caller, the account or the address exceeds its rate limit; retry after `Retry-After` seconds",
        ),
        (authenticates, "500", "Internal error"),
        (
            can_be_refused,
            "503",
            "The store or the signer is unavailable, or the queue is full; retry later",
        ),
    ];
    let responses = &mut operation.responses.responses;
    // What a handler declares is more specific, and stays.
    for (_, status, description) in common.into_iter().filter(|(has, ..)| *has) {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(problem(description)));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
            && response.content.is_empty()
        {
            *response = problem(&response.description);
        }
    }
}

fn problem(description: &str) -> Response {
    let schema = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", schema)
        .build()
}

/// Show this OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "for everybody",
    responses((status = 200, content_type = "application/json", body = Object, description = "The OpenAPI 3.1 document")))]
pub(super) async fn document() -> HttpResponse {
    let mut response = HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi());
    response.extensions_mut().insert(SharedBody);
    response
}

/// Shows this OpenAPI document as a web page, which is for people and therefore not part of it.
pub(super) async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    let found = utoipa_swagger_ui::serve(&name(&request)?, Arc::clone(&CONFIG))
        .map_err(|e| Problem::internal(&e))?;
    let file = found.ok_or_else(|| Problem::not_found("page"))?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header(ContentEncoding::Gzip);
    }
    // Swagger UI sets inline styles, but all of its scripts are files of this service.
    let own_scripts = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    let mut response = response
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, own_scripts))
        .body(shared(file.bytes));
    response.extensions_mut().insert(SharedBody);
    Ok(response)
}

/// The bytes of a file, which are a part of the program, without a copy for each answer.
fn shared(bytes: Cow<'static, [u8]>) -> Bytes {
    match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    }
}

pub(super) async fn to_the_page() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "/docs/"))
        .finish()
}
