//! `/healthz` and `/readyz`; and `/metrics`, on the operations listener only.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Service;
use crate::api::problem::Problem;
use crate::api::waiting::{WAITING, WaitingState};
use crate::authority::{CheckResult, ReadinessCheck, ReadinessReport};
use crate::domain::clock::rfc3339;

/// Whether tokens can be issued now, and what was checked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(in crate::api) struct ReadinessView {
    /// `true`; the answer is 503 otherwise.
    ready: bool,
    checks: Vec<CheckView>,
}

/// One condition of readiness.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ReadinessCheck)]
pub(in crate::api) struct CheckView {
    /// `database`, `readers`, `lock`, `schema`, `privileges`, `durability`, `signer`, `replicas` or
    /// `background`; `start` while the service starts.
    #[schema(example = "database")]
    name: &'static str,
    ok: bool,
    /// Since when it has not been so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", example = "2027-01-31T00:00:00Z")]
    since: Option<String>,
    /// What is wrong. On the listener of operations only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "no commit for 7 s; see the log")]
    detail: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Anybody,
    Operator,
}

/// Report whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "for everybody",
    responses((status = 200, content_type = "text/plain", body = String, description = "The process is alive", example = "alive")))]
pub(in crate::api) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("alive\n")
}

/// Report whether tokens can be issued now.
///
/// It is answered from memory. A replica writes to the database every second, so what this says is
/// a few seconds old at most. Certificate chains are served, whatever it says.
#[utoipa::path(get, path = "/readyz", tag = "for everybody",
    responses((status = 200, body = ReadinessView, description = "Tokens can be issued")))]
pub(in crate::api) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    // The answer does not name the cause to everybody; the log does.
    answer(&service.authority.readiness(), Asker::Anybody)
}

/// As [`ready`], for operators: says what is wrong.
pub(in crate::api) async fn ready_for_operators(
    service: Data<Service>,
) -> Result<HttpResponse, Problem> {
    answer(&service.authority.readiness(), Asker::Operator)
}

/// As [`ready`], while the service waits for the database.
pub(in crate::api) async fn waiting(waiting: Data<WaitingState>) -> Result<HttpResponse, Problem> {
    let start = CheckResult {
        check: ReadinessCheck::Start,
        failure: Some(WAITING.to_owned()),
        since: Some(waiting.since),
    };
    let report = ReadinessReport {
        checks: vec![start],
    };
    // It says no more than that a database is away.
    answer(&report, Asker::Operator)
}

/// 503 if not ready, since the cause can be temporary.
fn answer(report: &ReadinessReport, asker: Asker) -> Result<HttpResponse, Problem> {
    let checks = report.checks.iter().map(|one| view(one, asker)).collect();
    if report.is_ready() {
        return Ok(HttpResponse::Ok().json(ReadinessView {
            ready: true,
            checks,
        }));
    }
    let problem = Problem::not_ready(checks);
    Err(match asker {
        Asker::Anybody => problem,
        Asker::Operator => problem.with_detail(report.failures()),
    })
}

fn view(result: &CheckResult, asker: Asker) -> CheckView {
    CheckView {
        name: result.check.as_str(),
        ok: result.failure.is_none(),
        since: result.since.as_ref().map(rfc3339),
        detail: match asker {
            Asker::Anybody => None,
            Asker::Operator => result.failure.clone(),
        },
    }
}

/// All metrics, in the format of Prometheus.
pub(in crate::api) async fn metrics(service: Data<Service>) -> Result<HttpResponse, Problem> {
    service.authority.measure_availability();
    let text = service
        .authority
        .metrics()
        .render()
        .map_err(|e| Problem::internal(&e))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}
