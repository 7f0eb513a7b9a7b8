//! `/v1/signers` and `/certs/`, over HTTP.

use base64::Engine as _;
use serde_json::{Value, json};
use tn_authority::domain::signing::certificate::Certificate;

use crate::signer::sources::certificates;
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World};

both!(
    signers_are_shown_and_reloaded,
    only_who_may_can_reload,
    a_chain_is_for_ever_and_one_certificate_by_accept,
    tokens_carry_their_chain_if_they_shall,
    an_account_gets_another_lifetime,
);

fn with(kind: Kind, x5c: bool) -> Api {
    Api::over(World::new(
        kind,
        Setup {
            publication_delay: 60,
            x5c,
            ..Setup::default()
        },
    ))
}

fn signers_are_shown_and_reloaded(kind: Kind) {
    let api = with(kind, false);
    let shown = api.get(&api.auditor, "/v1/signers").with(200);
    assert_eq!(shown["items"].as_array().map(Vec::len), Some(1));
    let first = &shown["items"][0];
    assert_eq!(
        json!([
            first["state"],
            first["spcs"],
            first["key"],
            first["retired_at"]
        ]),
        json!(["active", ["1234"], "file", null])
    );
    assert_eq!(
        first["subject"],
        "CN=SHAKEN 1234,O=tn-authority development,C=US"
    );
    let path = first["x5u"]
        .as_str()
        .expect("x5u")
        .strip_prefix("https://authority.example");
    assert_eq!(api.get("", path.expect("ours")).status, 200);

    api.world.certificate_comes("next", "1234", 86_400);
    std::fs::write(api.world.signers.join("bad.pem"), "hello").expect("a file");
    let reloaded = api
        .call("POST", &api.provisioner, "/v1/signers/reload", None)
        .with(200);
    let states: Vec<&Value> = reloaded["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["active", "published", "refused"]);
    let bad = &reloaded["items"][2];
    assert!(
        bad["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("bad.pem")),
        "{bad}"
    );
    assert!(
        bad["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("neither")),
        "{bad}"
    );
    let next = reloaded["items"][1]["chain"].as_str().expect("a name");
    assert_eq!(api.world.trail(next)[0].caller, caller_of(&api.provisioner));
    // Page by page.
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api
            .get(&api.auditor, &format!("/v1/signers?limit=2{cursor}"))
            .with(200);
        all.extend(page["items"].as_array().expect("items").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(Value::from(all), reloaded["items"]);
    api.get(&api.auditor, "/v1/signers?state=active")
        .problem(400, "malformed-query");
}

/// The id of an API key in the audit trail: what stands before its secret.
fn caller_of(key: &str) -> String {
    let id = key.strip_prefix("tna_").unwrap_or(key);
    id.split('_').next().unwrap_or(id).to_owned()
}

fn only_who_may_can_reload(kind: Kind) {
    let api = with(kind, false);
    for key in [&api.auditor, &api.acme] {
        api.call("POST", key, "/v1/signers/reload", None)
            .problem(403, "forbidden");
    }
    api.call("POST", "", "/v1/signers/reload", None)
        .problem(401, "unauthorized");
    api.get(&api.acme, "/v1/signers").problem(403, "forbidden");
    let body = Some(r#"{"force":true}"#);
    api.call("POST", &api.admin, "/v1/signers/reload", body)
        .problem(400, "unknown-member");
}

fn a_chain_is_for_ever_and_one_certificate_by_accept(kind: Kind) {
    let api = with(kind, false);
    let shown = api.get(&api.auditor, "/v1/signers").with(200);
    let path = format!(
        "/certs/{}.pem",
        shown["items"][0]["chain"].as_str().expect("a name")
    );
    let pem = api.get("", &path);
    assert_eq!(
        pem.header("content-type"),
        Some("application/pem-certificate-chain")
    );
    assert_eq!(
        pem.header("cache-control"),
        Some("public, max-age=300, immutable")
    );
    assert_eq!(
        pem.header("vary").map(str::to_ascii_lowercase).as_deref(),
        Some("accept")
    );
    let chain = certificates(std::str::from_utf8(&pem.body).expect("ASCII"));
    assert_eq!(chain.len(), 2, "leaf first, then its issuer");
    let one = api.send("GET", &path, "accept: application/pkix-cert\r\n", b"");
    assert_eq!(one.header("content-type"), Some("application/pkix-cert"));
    assert_eq!(one.body, chain[0].to_der().expect("DER"));
    assert!(Certificate::from_der(&one.body).is_ok_and(|leaf| leaf.tn_auth_list().is_ok()));
    for name in ["0".repeat(64), "A".repeat(64), "0".repeat(63)] {
        api.get("", &format!("/certs/{name}.pem"))
            .problem(404, "not-found");
    }
}

fn tokens_carry_their_chain_if_they_shall(kind: Kind) {
    for x5c in [false, true] {
        let api = with(kind, x5c);
        let answer = api.ask(&asking(&["one:12125551001"])).with(200);
        let token = answer["token"].as_str().expect("a token");
        let part = token.split('.').next().expect("a header");
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
        let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
        let members: Vec<&String> = header.as_object().expect("an object").keys().collect();
        if !x5c {
            assert_eq!(members, ["alg", "typ", "x5u"]);
            continue;
        }
        assert_eq!(members, ["alg", "typ", "x5u", "x5c"]);
        let path = header["x5u"]
            .as_str()
            .expect("x5u")
            .strip_prefix("https://authority.example");
        let pem = api.get("", path.expect("ours")).body;
        let chain = certificates(std::str::from_utf8(&pem).expect("ASCII"));
        let carried = header["x5c"].as_array().expect("x5c").iter().map(|one| {
            let text = one.as_str().expect("base64");
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
        });
        let published = chain.iter().map(|one| one.to_der().expect("DER"));
        assert!(carried.eq(published), "the same, leaf first");
    }
}

fn an_account_gets_another_lifetime(kind: Kind) {
    let api = with(kind, false);
    let path = "/v1/accounts/acme/lifetime";
    let set = |mode: &str| api.put(&api.provisioner, path, &json!({ "mode": mode }));
    assert_eq!(set("grant-horizon").with(200)["lifetime"], "grant-horizon");
    let shown = api.get(&api.auditor, "/v1/accounts/acme").with(200);
    assert_eq!(shown["lifetime"], "grant-horizon");
    let answer = api.ask(&asking(&["one:12125551001"])).with(200);
    // The certificate of the signer ends before the longest horizon.
    assert_eq!(answer["expires"], "2026-01-08T00:00:00Z");
    assert_eq!(set("proof").with(200)["lifetime"], "proof");
    assert_eq!(set("for-ever").status, 400);
    api.put(&api.provisioner, path, &json!({}))
        .problem(400, "missing-member");
    api.put(&api.acme, path, &json!({ "mode": "proof" }))
        .problem(403, "forbidden");
    let nobody = api.put(
        &api.admin,
        "/v1/accounts/nobody/lifetime",
        &json!({ "mode": "proof" }),
    );
    assert_eq!(nobody.status, 404);
}
