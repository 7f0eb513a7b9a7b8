//! What the payload of a token says: each claim, what may stand besides, and how strictly it is read.

use serde_json::json;
use tn_authority::domain::clock::from_unix;
use tn_authority::verifier::{Expectations, claims, verify};

use crate::support::tokens::*;

/// Seconds since 1970 that have a fraction.
fn exact(seconds: i64) -> f64 {
    seconds.to_string().parse().expect("a number")
}

#[test]
fn payloads_are_read_strictly() {
    let text = payload().to_string();
    for (payload, word) in [
        (text.replacen('{', r#"{"exp":1,"#, 1), "twice"),
        (
            text.replace(r#""ca":false"#, r#""ca":false,"ca":true"#),
            "twice",
        ),
        (
            text.replace(r#""ca":false"#, r#""ca":false,"c\u0061":true"#),
            "twice",
        ),
        ("[]".to_owned(), "not a JSON object"),
        (String::new(), "JSON"),
        (format!("{text}{text}"), "JSON"),
        ("[".repeat(40_000), "JSON"),
    ] {
        let token = token_of(&authority(), HEADER, payload);
        refused_at(&[0], &verify(&token, &expected(), at()), word);
    }
    let token = token_of(&authority(), HEADER, b"{\"jti\":\"\xff\"}");
    refused_at(&[0], &verify(&token, &expected(), at()), "JSON");
}

#[test]
fn each_claim_fails_its_own_step() {
    let one = "SHA256 00".to_owned() + &":00".repeat(31);
    let lower = json!(account_key())
        .as_str()
        .map(|text| json!(text.to_lowercase()));
    let cases = [
        ("atc", None, vec![1], "`atc` is missing"),
        ("atc", Some(json!("x")), vec![1], "not an object"),
        ("atc.tktype", None, vec![1], "`tktype` is missing"),
        ("atc.tkvalue", None, vec![1], "`tkvalue` is missing"),
        ("atc.fingerprint", None, vec![1], "`fingerprint` is missing"),
        (
            "atc.fingerprint",
            Some(json!(["x"])),
            vec![1],
            "not a string",
        ),
        ("atc.ca", Some(json!("false")), vec![1], "`true` or `false`"),
        ("atc.ca", Some(json!(null)), vec![1], "`true` or `false`"),
        ("atc.scope\n", Some(json!(1)), vec![1], r"scope\n"),
        (
            "atc.tktype",
            Some(json!("TnAuthList")),
            vec![5],
            "`TnAuthList`",
        ),
        ("atc.tktype", Some(json!("dns")), vec![5], "`dns`"),
        (
            "atc.tkvalue",
            Some(json!("MAigBhYEMTIzNA==")),
            vec![6],
            "padding",
        ),
        (
            "atc.tkvalue",
            Some(json!("MAA")),
            vec![6],
            "at least one entry",
        ),
        ("atc.tkvalue", Some(json!("")), vec![6], "empty"),
        ("exp", None, vec![7], "`exp` is missing"),
        ("exp", Some(json!("1640995200")), vec![7], "JSON number"),
        ("exp", Some(json!(-1)), vec![7], "JSON number"),
        ("exp", Some(json!(u64::MAX)), vec![7], "JSON number"),
        ("exp", Some(json!(i64::MAX)), vec![7], "JSON number"),
        ("exp", Some(json!(null)), vec![7], "JSON number"),
        ("exp", Some(json!(AT)), vec![7], "expired"),
        (
            "nbf",
            Some(json!(AT + 61)),
            vec![7],
            "`nbf` is in the future",
        ),
        // A fraction never lengthens a token (RFC 7519 §2): `exp` is rounded down, the others up.
        ("exp", Some(json!(exact(AT) + 0.9)), vec![7], "expired"),
        (
            "nbf",
            Some(json!(exact(AT) + 60.1)),
            vec![7],
            "`nbf` is in the future",
        ),
        (
            "iat",
            Some(json!(exact(AT) + 60.1)),
            vec![7],
            "`iat` is in the future",
        ),
        ("nbf", Some(json!(1e300)), vec![7], "JSON number"),
        (
            "iat",
            Some(json!(AT + 61)),
            vec![7],
            "`iat` is in the future",
        ),
        ("iat", Some(json!("now")), vec![7], "`iat`"),
        ("iss", Some(json!(7)), vec![7], "`iss`"),
        ("jti", None, vec![7], "`jti` is missing"),
        ("jti", Some(json!("")), vec![7], "`jti` is empty"),
        ("jti", Some(json!(6)), vec![7], "`jti` is not a string"),
        (
            "aud",
            Some(json!("https://other.example")),
            vec![7],
            "https://other.example",
        ),
        ("aud", Some(json!([])), vec![7], "`aud`"),
        (
            "atc.fingerprint",
            Some(json!(one)),
            vec![8],
            "bound to SHA256 00",
        ),
        ("atc.fingerprint", lower, vec![8], "upper-case"),
    ];
    for (path, value, numbers, word) in cases {
        let token = token(&changed(path, value));
        refused_at(&numbers, &verify(&token, &expected(), at()), word);
    }
}

#[test]
fn what_a_token_may_say_besides_is_ignored_or_checked() {
    for (path, value) in [
        ("iss", None),
        ("atc.ca", None),
        ("sub", Some(json!({ "any": 1.5 }))),
        ("iat", Some(json!(AT + 60))),
        ("nbf", Some(json!(AT + 60))),
        ("iat", Some(json!(0))),
        ("exp", Some(json!(AT + 1))),
        ("exp", Some(json!(exact(AT) + 1.5))),
        ("exp", Some(json!(1.8e9))),
        ("nbf", Some(json!(exact(AT) + 59.5))),
        ("iat", Some(json!(0.5))),
        ("exp", Some(json!(253_402_300_799_i64))),
    ] {
        let token = token(&changed(path, value));
        let report = verify(&token, &expected(), at());
        assert!(report.accepted(), "{report}");
    }
    let ours = Expectations {
        audience: Some("https://ca.example".into()),
        ..expected()
    };
    for aud in [
        json!("https://ca.example"),
        json!(["x", "https://ca.example"]),
    ] {
        assert!(verify(&token(&changed("aud", Some(aud))), &ours, at()).accepted());
    }
}

/// The issuing side reads back what it is about to sign.
#[test]
fn a_payload_is_read_without_a_token() {
    let claims = claims::parse(payload().to_string().as_bytes()).expect("a payload");
    assert_eq!(claims.tkvalue.text(), "MAigBhYEMTIzNA");
    assert_eq!(claims.registered.exp, from_unix(EXP));
    assert_eq!((claims.ca, claims.fingerprint), (false, account_key()));
    for (path, value) in [
        ("exp", Some(json!(true))),
        ("jti", None),
        ("atc.tktype", Some(json!("x"))),
        ("atc.tkvalue", Some(json!("MAA"))),
        ("atc.fingerprint", Some(json!("x"))),
        ("atc", None),
    ] {
        assert!(
            claims::parse(changed(path, value).to_string().as_bytes()).is_err(),
            "{path}"
        );
    }
}
