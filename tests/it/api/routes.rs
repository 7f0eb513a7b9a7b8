//! Routes, methods and failures.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use std::collections::BTreeSet;

use super::openapi::operations;
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World};

both!(
    whatever_is_refused_is_a_problem,
    everybody_sees_health_and_docs,
    every_documented_operation_is_there,
    a_failure_tells_strangers_nothing,
    without_audit_there_is_no_token,
    without_signer_nothing_is_ready,
    a_background_task_that_has_ended_is_named_to_operators,
    operators_see_metrics_by_pattern,
);

fn whatever_is_refused_is_a_problem(api: Api) {
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/at/account//token",
        "/at/account/acme/token/",
        "/v2/accounts",
        "/%00",
        "/metrics",
    ] {
        api.get(&api.admin, path).problem(404, "not-found");
    }
    for path in [
        "/docs/nothing",
        "/docs/../Cargo.toml",
        "/certs/00.pem",
        "/certs/%2e%2e%2fkey.pem",
    ] {
        assert_eq!(api.get("", path).status, 404, "{path}");
    }
    for (method, path, allow) in [
        ("GET", "/at/account/acme/token", "POST"),
        ("DELETE", "/v1/accounts/acme", "PUT, GET, HEAD"),
        ("PUT", "/v1/allocations", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("TRACE", "/openapi.json", "GET, HEAD"),
        ("BREW", "/v1/explain", "POST"),
    ] {
        let answer = api.call(method, "", path, None);
        let problem = answer.problem(405, "method-not-allowed");
        let said = problem["detail"].as_str().expect("a detail");
        assert!(
            said.starts_with("this path has ")
                && allow.split(", ").all(|method| said.contains(method)),
            "{method} {path}: {said}"
        );
        let listed = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(
            answer.header("allow").map(listed),
            Some(listed(allow)),
            "{method} {path}"
        );
    }
    // An id is made here, not taken from outside.
    let answer = api.send(
        "GET",
        "/healthz",
        "x-request-id: 00000000-0000-0000-0000-000000000000\r\n",
        b"",
    );
    assert_ne!(
        answer.header("x-request-id"),
        Some("00000000-0000-0000-0000-000000000000")
    );
    // What is no HTTP never gets as far as a problem document.
    for wrong in [
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(api.send_raw(wrong.as_bytes()).status, 400, "{wrong:?}");
    }
    let long = format!("/at/account/{}/token", "x".repeat(60_000));
    assert!((400..500).contains(&api.get(&api.acme, &long).status));
}

fn everybody_sees_health_and_docs(api: Api) {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(api.get("", path).status, 200, "{path}");
        let head = api.call("HEAD", "", path, None);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    assert_eq!(api.get("", "/docs").header("location"), Some("/docs/"));
    let page = api.get("", "/docs/");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html"))
    );
    let start = String::from_utf8(api.get("", "/docs/swagger-initializer.js").body).expect("UTF-8");
    assert!(start.contains("/openapi.json"), "{start}");
    // Nothing of the page comes from elsewhere.
    let text = String::from_utf8(page.body).expect("UTF-8");
    let elsewhere = text
        .split(['"', '\''])
        .find(|text| text.starts_with("http") || text.starts_with("//"));
    assert_eq!(elsewhere, None);
    for file in text.split('"').filter(|text| text.starts_with("./")) {
        assert_eq!(
            api.get("", &format!("/docs/{}", &file[2..])).status,
            200,
            "{file}"
        );
    }
}

fn every_documented_operation_is_there(api: Api) {
    let document = api.get("", "/openapi.json").with(200);
    let operations = operations(&document);
    for (path, method, _) in operations {
        let filled = path
            .replace("{tn}", "+12125551001")
            .replace("{id}", "x")
            .replace("{jti}", "x")
            .replace("{delivery}", "x")
            .replace("{sha256}", "0");
        let answer = api.call(&method.to_uppercase(), "", &filled, None);
        let expected: &[u16] = match path {
            // The facade, which is off, and what asks for no credentials.
            "/api/v1/auth/login"
            | "/api/v1/account/{id}/token"
            | "/certs/{sha256}.pem"
            | "/v1/grants/{jti}/status" => &[404],
            "/healthz" | "/readyz" | "/openapi.json" => &[200],
            _ => &[401],
        };
        assert!(
            expected.contains(&answer.status),
            "{method} {path}: {}",
            answer.status
        );
    }
}

fn a_failure_tells_strangers_nothing(api: Api) {
    api.world.db.execute("ALTER TABLE api_keys RENAME TO gone");
    let answer = api.get(&api.admin, "/v1/accounts");
    let problem = answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let members: Vec<&String> = problem.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["type", "title", "status", "code", "instance"]);
}

fn without_audit_there_is_no_token(api: Api) {
    // The event of a grant is part of its row.
    let renamed = "ALTER TABLE grants RENAME COLUMN event TO gone";
    api.world.db.execute(renamed);
    let answer = api.ask(&asking(&["one:12125551001"]));
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let renamed = "ALTER TABLE grants RENAME COLUMN gone TO event";
    api.world.db.execute(renamed);
    assert_eq!(
        api.get(&api.auditor, "/v1/grants").with(200)["items"],
        serde_json::json!([])
    );
}

fn without_signer_nothing_is_ready(kind: Kind) {
    let setup = Setup {
        signs: false,
        ..Setup::default()
    };
    let api = Api::over(World::new(kind, setup));
    assert_eq!(api.get("", "/healthz").status, 200);
    api.get("", "/readyz").problem(503, "unavailable");
    api.ask(&asking(&["one:12125551001"]))
        .problem(503, "unavailable");
}

fn a_background_task_that_has_ended_is_named_to_operators(api: Api) {
    drop(api.world.metrics.background.start("policies"));
    let problem = api.get("", "/readyz").problem(503, "unavailable");
    assert!(!problem.to_string().contains("policies"), "{problem}");
    let problem = api.operations().get("/readyz").problem(503, "unavailable");
    assert_eq!(
        problem["detail"],
        "background tasks have ended: policies; restart the service"
    );
    assert_eq!(api.get("", "/healthz").status, 200);
}

fn operators_see_metrics_by_pattern(api: Api) {
    let operations = api.operations();
    let get = |path: &str| operations.get(path);
    api.ask(&asking(&["one:12125551001"])).with(200);
    api.ask(&asking(&["one:12125551999"])).with(403);
    api.get("", "/secret/+12125551001")
        .problem(404, "not-found");
    assert_eq!((get("/healthz").status, get("/readyz").status), (200, 200));
    get("/v1/accounts").problem(404, "not-found");
    let metrics = get("/metrics");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = String::from_utf8(metrics.body).expect("UTF-8");
    for line in [
        "tn_authority_http_requests_total{method=\"POST\",route=\"/at/account/{id}/token\",status=\"200\"} 1",
        "tn_authority_http_requests_total{method=\"POST\",route=\"/at/account/{id}/token\",status=\"403\"} 1",
        "tn_authority_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 2",
        "tn_authority_tokens_total{outcome=\"granted\"} 1",
        "tn_authority_denials_total{code=\"not-authorized\"} 1",
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "{line} is missing in:\n{text}"
        );
    }
    assert!(!text.contains("+1212"), "{text}");
}
