//! Tokens, read as a CA reads them: the form, the signature, and what they are compared with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::{Dialect, Fingerprint, TkType, TkValue};
use tn_authority::verifier::{Expectations, StepOutcome, TrustList, verify};

use crate::support::fixtures::{self, items, member};
use crate::support::tokens::*;

fn list(tkvalue: &str) -> TkValue {
    TkValue::read(TkType::TnAuthList, tkvalue, Dialect::Strict).expect("a list")
}

#[test]
fn the_published_tokens_are_accepted_until_they_expire() {
    let vectors = fixtures::json("vectors/authority_tokens.json");
    let tokens = items(&vectors["tokens"]);
    assert_eq!(tokens.len(), 4);
    for vector in &tokens[..3] {
        let token = member(vector, "token");
        let atc = &vector["payload"]["atc"];
        let expected = Expectations {
            identifier: Some(list(member(atc, "tkvalue"))),
            ca: atc["ca"].as_bool(),
            ..expected()
        };
        let report = verify(token, &expected, at());
        assert!(report.accepted(), "{report}");
        assert_eq!(report.steps().len(), 9);
        assert_eq!(
            report.claims().map(|claims| json!(claims)).as_ref(),
            Some(&vector["payload"])
        );
        let skipped = report
            .steps()
            .iter()
            .filter(|step| step.outcome == StepOutcome::Skipped);
        assert_eq!(skipped.map(|step| step.number).collect::<Vec<_>>(), [3]);

        assert!(verify(token, &expected, from_unix(EXP - 1)).accepted());
        for late in [EXP, EXP + 1, EXP + 100_000_000] {
            refused_at(
                &[7],
                &verify(token, &expected, from_unix(late)),
                "expired at 2022-01-01T00:00:00Z",
            );
        }
    }
}

/// Its signer is not known, and its `tkvalue` is padded.
#[test]
fn the_token_of_an_unknown_signer_is_refused() {
    let vectors = fixtures::json("vectors/authority_tokens.json");
    let vector = &items(&vectors["tokens"])[3];
    let time = from_unix(1_689_919_062);
    for trust in [
        pinned(&[certificate()]),
        listed(&[certificate()]),
        TrustList::default(),
    ] {
        let report = verify(member(vector, "token"), &expecting(trust), time);
        refused_at(&[2, 4, 6, 8], &report, "which is not fetched");
        assert!(report.to_string().contains("padding"), "{report}");
    }
}

#[test]
fn a_changed_token_is_refused() {
    let good = token(&payload());
    assert!(verify(&good, &expected(), at()).accepted());
    for place in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        let report = verify(&changed, &expected(), at());
        assert!(!failures(&report).is_empty(), "byte {place}: {changed}");
    }
}

#[test]
fn what_is_not_a_strict_jwt_is_not_read() {
    let good = token(&payload());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts");
    };
    let der = {
        let signed = format!("{header}.{body}");
        super::tokens::signature(&authority(), &signed)
            .to_der()
            .expect("DER")
    };
    let huge = "A".repeat(65_537);
    let cases = [
        (String::new(), "three parts"),
        (format!("{header}.{body}"), "not 2"),
        (format!("{good}.AAAA"), "not 4"),
        (format!("{good}."), "not 4"),
        (format!(".{body}.{signature}"), "header"),
        (format!("{header}..{signature}"), "payload"),
        (format!("{header}.{body}."), "0 bytes"),
        (
            format!("{header}=.{body}.{signature}"),
            "header is not canonical base64url",
        ),
        (
            format!("{header}.{body}=.{signature}"),
            "payload is not canonical base64url",
        ),
        (
            format!("{header}.{body}.{signature}=="),
            "signature is not canonical base64url",
        ),
        (format!("{header}.{body}.{}", b64(&der)), "not the 64"),
        (
            format!("{header}.{body}.{}", STANDARD.encode([0xff; 64])),
            "signature is not canonical base64url",
        ),
        (format!("{good}\n"), "signature is not canonical base64url"),
        (format!(" {good}"), "header is not canonical base64url"),
        (huge, "65537 bytes"),
    ];
    for (text, word) in cases {
        refused_at(&[0], &verify(&text, &expected(), at()), word);
    }
    // The last of 86 characters carries four bits that are not used.
    let respelled = format!("{}{}", &good[..good.len() - 1], next_in_alphabet(&good));
    refused_at(
        &[0],
        &verify(&respelled, &expected(), at()),
        "not canonical base64url",
    );
}

/// The last character with an unused bit set.
fn next_in_alphabet(token: &str) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.chars().last().expect("a character");
    let place = alphabet.find(last).expect("of the alphabet");
    alphabet.chars().nth(place + 1).expect("a next one")
}

#[test]
fn headers_that_ask_for_anything_else_are_refused() {
    let x5u = r#""x5u":"https://authority.example.org/cert""#;
    let cases = [
        (format!(r#"{{"alg":"none",{x5u}}}"#), "alg"),
        (format!(r#"{{"alg":"HS256",{x5u}}}"#), "HS256"),
        (format!(r#"{{"alg":"es256",{x5u}}}"#), "es256"),
        (format!(r#"{{"alg":"ES384",{x5u}}}"#), "ES384"),
        (format!(r#"{{"alg":["ES256"],{x5u}}}"#), "alg"),
        (format!("{{{x5u}}}"), "missing"),
        (format!(r#"{{"alg":"ES256","typ":"JOSE",{x5u}}}"#), "typ"),
        (format!(r#"{{"alg":"ES256","typ":1,{x5u}}}"#), "typ"),
        (
            format!(r#"{{"alg":"ES256","crit":["exp"],"exp":1,{x5u}}}"#),
            "crit",
        ),
        (format!(r#"{{"alg":"ES256","crit":[],{x5u}}}"#), "crit"),
        (format!(r#"{{"alg":"ES256","b64":true,{x5u}}}"#), "b64"),
        (format!(r#"{{"alg":"none","alg":"ES256",{x5u}}}"#), "twice"),
        (format!(r#"{{"alg":"ES256",{x5u},{x5u}}}"#), "twice"),
        (
            format!(r#"{{"alg":"ES256","jwk":{{"x":1,"x":2}},{x5u}}}"#),
            "twice",
        ),
        (r#"["ES256"]"#.to_owned(), "not a JSON object"),
        (
            format!(r#"{{"alg":"ES256",{x5u}}} "#).replace("} ", "} x"),
            "JSON",
        ),
        ("\u{feff}{}".to_owned(), "JSON"),
    ];
    for (header, word) in cases {
        let token = token_of(&authority(), &header, payload().to_string());
        refused_at(&[0], &verify(&token, &expected(), at()), word);
    }
    for header in [
        format!(r#"{{"alg":"ES256",{x5u}}}"#),
        format!(r#"{{"alg":"ES256","typ":"jwt",{x5u}}}"#),
        format!(r#"{{"alg":"ES256","kid":"1","jwk":{{}},{x5u}}}"#),
    ] {
        let token = token_of(&authority(), &header, payload().to_string());
        assert!(verify(&token, &expected(), at()).accepted(), "{header}");
    }
}

#[test]
fn the_identifier_the_account_and_the_csr_are_compared() {
    let good = token(&payload());
    let other = |tkvalue| Expectations {
        identifier: Some(list(tkvalue)),
        ..expected()
    };
    assert!(verify(&good, &other("MAigBhYEMTIzNA"), at()).accepted());
    refused_at(
        &[6],
        &verify(&good, &other("MAigBhYEODE4SA"), at()),
        "MAigBhYEODE4SA",
    );
    // The same numbers in another order are another list.
    let one = token(&changed(
        "atc.tkvalue",
        Some(json!("MB6iDRYLMTIxMjU1NTE4MjSiDRYLMTIxMjU1NTE4MjY")),
    ));
    refused_at(
        &[6],
        &verify(
            &one,
            &other("MB6iDRYLMTIxMjU1NTE4MjaiDRYLMTIxMjU1NTE4MjQ"),
            at(),
        ),
        "identifier",
    );

    let account = Expectations {
        fingerprint: Fingerprint::from([7; 32]),
        ..expected()
    };
    refused_at(&[8], &verify(&good, &account, at()), "SHA256 07:");

    for (in_token, in_csr) in [(false, false), (false, true), (true, false), (true, true)] {
        let token = token(&changed("atc.ca", Some(json!(in_token))));
        let csr = Expectations {
            ca: Some(in_csr),
            ..expected()
        };
        let report = verify(&token, &csr, at());
        assert_eq!(failures(&report).is_empty(), in_token == in_csr, "{report}");
        assert_eq!(
            outcome(&verify(&token, &expected(), at()), 9),
            StepOutcome::Skipped
        );
    }
}

#[test]
fn signatures_of_no_value_are_refused() {
    let good = token(&payload());
    let (signed, _) = good.rsplit_once('.').expect("a signature");
    let order = fixtures::hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    for octets in [
        [0; 64].to_vec(),
        [0xff; 64].to_vec(),
        [order.clone(), order].concat(),
    ] {
        let token = format!("{signed}.{}", b64(octets));
        refused_at(
            &[4],
            &verify(&token, &expected(), at()),
            "does not verify with the trusted key",
        );
    }
}
