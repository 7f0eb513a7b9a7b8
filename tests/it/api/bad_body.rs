//! Bad bodies at the token endpoint: each is told what is wrong with it, and none is more than a 4xx.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tn_authority::domain::{Tn, TnAuthList};

use crate::support::fingerprint;
use crate::support::fixtures::{self, items, member};
use crate::support::service::{Api, LIMIT, asking, asking_tkvalue};

both!(
    every_malformed_list_is_a_400,
    members_are_strict,
    counts_and_widths_that_cannot_be,
    odd_media_types_and_sizes,
    a_body_that_does_not_come_is_given_up,
    a_long_list_that_is_refused_does_not_fill_the_trail,
);

fn every_malformed_list_is_a_400(api: Api) {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    for list in ["negative", "text_negative"] {
        assert!(!items(&vectors[list]).is_empty());
        for vector in items(&vectors[list]) {
            let answer = api.ask(&asking_tkvalue(member(vector, "tkvalue")));
            let problem = answer.problem(400, "malformed-tkvalue");
            assert!(
                member(&problem, "detail").starts_with("`tkvalue`: "),
                "{problem}"
            );
        }
    }
    for vector in items(&vectors["positive"]) {
        let answer = api.ask(&asking_tkvalue(member(vector, "tkvalue")));
        assert!(
            [200, 400, 403].contains(&answer.status),
            "{vector}: {answer:?}"
        );
    }
}

fn members_are_strict(api: Api) {
    let asked = asking(&["one:12125551001"]);
    let with = |name: &str, value: Value| {
        let mut body = asked.clone();
        body[name] = value;
        body
    };
    for name in [
        "iss", "exp", "alg", "x5u", "iat", "jti", "nbf", "aud", "TKTYPE", "",
    ] {
        let problem = api
            .ask(&with(name, json!(1)))
            .problem(400, "unknown-member");
        assert!(
            member(&problem, "detail").contains(&format!("`{name}`")),
            "{problem}"
        );
    }
    for name in ["tktype", "tkvalue", "fingerprint"] {
        let mut body = asked.clone();
        body.as_object_mut().expect("an object").remove(name);
        let problem = api.ask(&body).problem(400, "missing-member");
        assert!(member(&problem, "detail").contains(name), "{problem}");
        for value in [json!(null), json!(1), json!(["x"]), json!({})] {
            let problem = api.ask(&with(name, value)).problem(400, "malformed-member");
            assert!(member(&problem, "detail").contains(name), "{problem}");
        }
    }
    for value in ["JWTClaimConstraints", "tnauthlist", "TNAuthList ", ""] {
        api.ask(&with("tktype", json!(value)))
            .problem(400, "unsupported-tktype");
    }
    let good = fingerprint().to_string();
    for value in [
        good.to_lowercase(),
        good.replace(':', ""),
        format!("{good}:00"),
        good.replace("SHA256", "SHA512"),
        String::new(),
    ] {
        api.ask(&with("fingerprint", json!(value)))
            .problem(400, "malformed-fingerprint");
    }
    for value in [json!("false"), json!(0), json!(null), json!([])] {
        api.ask(&with("ca", value)).problem(400, "malformed-member");
    }
    for value in [
        json!(-1),
        json!(1.5),
        json!(600.0),
        json!("600"),
        json!(null),
        json!(true),
        json!(1e300),
    ] {
        api.ask(&with("lifetime", value))
            .problem(400, "malformed-member");
    }
    let text = asked.to_string();
    for wrong in [
        String::new(),
        "{".to_owned(),
        format!("{text}{text}"),
        format!("{text} x"),
        text.replacen('{', "{\"ca\":false,", 1),
        text.replacen('{', "{\"\\u0063a\":true,", 1),
        text.replacen('{', "{\"x\":\"\\ud800\",", 1),
        format!("\u{feff}{text}"),
        format!("// comment\n{text}"),
        "NaN".to_owned(),
        "[".repeat(200_000),
        "{\"a\":".repeat(40_000),
    ] {
        let answer = api.call("POST", &api.acme, "/at/account/acme/token", Some(&wrong));
        let shown: String = wrong.chars().take(60).collect();
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        answer.problem(400, "malformed-json");
    }
    // What a caller sent comes back short and harmless.
    let evil = format!("\u{1b}[31m\r\n{}", "x".repeat(5000));
    for answer in [
        api.ask(&with(&evil, json!(1))),
        api.ask(&with("ca", json!(evil))),
        api.ask(&with("tktype", json!(evil))),
    ] {
        let detail = answer.with(400)["detail"]
            .as_str()
            .expect("a detail")
            .to_owned();
        assert!(
            detail.len() < 400 && detail.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
            "{detail}"
        );
    }
}

/// A list with one range, as DER says it: any count, of any length.
fn range_of(start: &str, count: &[u8]) -> String {
    let wrap = |tag: u8, inner: Vec<u8>| {
        [vec![tag, u8::try_from(inner.len()).expect("short")], inner].concat()
    };
    let start = wrap(0x16, start.as_bytes().to_vec());
    let range = wrap(0x30, [start, wrap(0x02, count.to_vec())].concat());
    URL_SAFE_NO_PAD.encode(wrap(0x30, wrap(0xa1, range)))
}

fn counts_and_widths_that_cannot_be(api: Api) {
    let start = "12125551000";
    assert!(TnAuthList::from_tkvalue(&range_of(start, &[2])).is_ok());
    let counts: [&[u8]; 7] = [
        &[0],
        &[1],
        &[0xff],
        &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x40, 0, 0, 0, 0, 0, 0, 0],
        &[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x01, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for count in counts {
        api.ask(&asking_tkvalue(&range_of(start, count)))
            .problem(400, "malformed-tkvalue");
    }
    // 2^31 numbers are a range; they are not this account's.
    let problem = api
        .ask(&asking_tkvalue(&range_of(start, &[0x00, 0x80, 0, 0, 0])))
        .with(403);
    assert_eq!(problem["code"], "list-too-large");
    for (start, count) in [
        ("999999999999999", 2_u8),
        ("99999999999", 2),
        ("9", 2),
        ("0", 2),
    ] {
        api.ask(&asking_tkvalue(&range_of(start, &[count])))
            .problem(400, "malformed-tkvalue");
    }
    api.ask(&asking(&["one:999999999999999"]))
        .problem(403, "not-authorized");
    assert!("+999999999999999".parse::<Tn>().is_ok());

    for count in [
        "0",
        "-1",
        "2147483648000",
        "9223372036854775808",
        "18446744073709551616",
        "1.0",
        "\"1\"",
        "null",
    ] {
        let body = format!("{{\"start\":\"+12125551000\",\"count\":{count},\"reason\":\"aging\"}}");
        api.call("POST", &api.provisioner, "/v1/exclusions", Some(&body))
            .problem(400, "malformed-member");
    }
}

fn odd_media_types_and_sizes(api: Api) {
    let path = "/at/account/acme/token";
    let asked = asking(&["one:12125551001"]).to_string();
    let key = format!("authorization: Bearer {}\r\n", api.acme);
    let send = |head: &str| api.send("POST", path, &format!("{key}{head}"), asked.as_bytes());
    for head in [
        "content-type: application/json; charset=utf-8\r\n",
        "Content-Type: Application/JSON\r\n",
    ] {
        send(head).with(200);
    }
    for head in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/jsonx\r\n",
        "content-type: application/problem+json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
    ] {
        send(head).problem(415, "unsupported-media-type");
    }
    let padded = |to: usize| format!("{asked}{}", " ".repeat(to - asked.len()));
    let post = |body: &str| api.call("POST", &api.acme, path, Some(body));
    post(&padded(LIMIT)).with(200);
    post(&padded(LIMIT + 1)).problem(413, "body-too-large");
    post(&"[".repeat(1_000_000)).problem(413, "body-too-large");
    // The same without a word on its length.
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", LIMIT + 1, padded(LIMIT + 1));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{key}content-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    api.send_raw(format!("{head}{chunk}").as_bytes())
        .problem(413, "body-too-large");
}

/// Half a body is not waited for without an end.
fn a_body_that_does_not_come_is_given_up(api: Api) {
    let key = &api.acme;
    let head = format!(
        "POST /v1/explain HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\nconnection: close\r\n\r\n{{"
    );
    api.send_raw(head.as_bytes()).problem(408, "body-too-slow");
}

/// What is refused is kept in the trail, but not as much of it as anybody cares to send.
fn a_long_list_that_is_refused_does_not_fill_the_trail(api: Api) {
    let entries: Vec<String> = (0..2_000_u64)
        .map(|n| format!("one:{}", 12_125_551_000 + n % 900))
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    api.post(
        &api.acme,
        "/at/account/other/token",
        &crate::support::service::asking(&entries),
    )
    .problem(403, "forbidden");
    let trail = api.world.trail("other");
    let refused = trail
        .iter()
        .find(|event| event.action == "issue")
        .expect("an event");
    let kept = refused.detail.to_string();
    assert!(kept.len() < 1_500 && kept.contains("SHA-256"), "{kept}");
}
