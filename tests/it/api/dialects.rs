//! Dialects by account: strict by default; legacy takes and repeats what older clients write.

use proptest::prelude::*;
use serde_json::{Value, json};
use tn_authority::domain::text::strict_encoding::Spelling;
use tn_authority::domain::tokens::fingerprint::AskedFingerprint;
use tn_authority::domain::{Dialect, Fingerprint, TkType, TkValue};
use tn_authority::verifier::{LintError, lint};

use crate::support::fingerprint;
use crate::support::fixtures::{self, hex, items, member};
use crate::support::service::{Api, asking_tkvalue};

both!(
    a_strict_account_is_refused_what_a_legacy_one_gets,
    a_legacy_account_gets_back_what_it_wrote,
    malformed_der_is_refused_in_every_dialect,
    a_complaint_speaks_of_the_form_that_was_meant,
    a_dialect_is_set_by_put_and_kept_otherwise,
);

/// One number whose DER spells differently in the two alphabets: `+` and padding.
const PADDED: &str = "MA+iDRYLMTIxMjU1NTEwMDE=";
const URL: &str = "MA-iDRYLMTIxMjU1NTEwMDE";

pub fn claims(issued: &Value) -> Value {
    let token = member(issued, "token");
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&Spelling::Url.decode(payload).expect("base64url")).expect("JSON")
}

fn speaks(api: &Api, account: &str, dialect: &str) -> Value {
    let body = json!({ "dialect": dialect });
    api.put(&api.provisioner, &format!("/v1/accounts/{account}"), &body)
        .with(200)
}

pub fn grant_of(api: &Api, issued: &Value) -> Value {
    api.get(
        &api.auditor,
        &format!("/v1/grants/{}", member(issued, "jti")),
    )
    .with(200)
}

fn a_strict_account_is_refused_what_a_legacy_one_gets(api: Api) {
    let problem = api
        .ask(&asking_tkvalue(PADDED))
        .problem(400, "malformed-tkvalue");
    assert!(
        member(&problem, "detail").starts_with("`tkvalue`: "),
        "{problem}"
    );
    let mut lower = asking_tkvalue(URL);
    lower["fingerprint"] = json!(lower_case());
    api.ask(&lower).problem(400, "malformed-fingerprint");
    assert_eq!(api.world.grants(), []);
    // Somebody else's account says nothing about its dialect.
    speaks(&api, "other", "legacy");
    let other = |body: &Value| api.post(&api.acme, "/at/account/other/token", body);
    let (one, another) = (other(&asking_tkvalue(PADDED)), other(&asking_tkvalue(URL)));
    one.problem(403, "forbidden");
    assert_eq!(one.without_id(), another.without_id());

    let issued = api.ask(&asking_tkvalue(URL)).with(200);
    let grant = grant_of(&api, &issued);
    assert_eq!(
        (&grant["dialect"], &grant["tktype"]),
        (&json!("strict"), &json!("TNAuthList"))
    );
}

fn lower_case() -> String {
    let shown = fingerprint().to_string();
    let (name, digits) = shown.split_once(' ').expect("two parts");
    format!("{name} {}", digits.to_lowercase())
}

fn a_legacy_account_gets_back_what_it_wrote(api: Api) {
    speaks(&api, "acme", "legacy");
    for asked in [PADDED, URL] {
        let issued = api.ask(&asking_tkvalue(asked)).with(200);
        assert_eq!(claims(&issued)["atc"], asking_tkvalue(asked));
        let grant = grant_of(&api, &issued);
        assert_eq!(grant["tkvalue"], asked);
        assert_eq!(grant["dialect"], "legacy");
        assert_eq!(
            grant["numbers"],
            json!([{ "start": "+12125551001", "count": 1 }])
        );
        // What is read back before it goes out is read in the dialect, and a strict CA would not take it.
        let token = member(&issued, "token");
        lint(token, Dialect::Legacy).expect("a token");
        let strict = lint(token, Dialect::Strict);
        assert_eq!(
            matches!(strict, Err(LintError::Claims(_))),
            asked == PADDED,
            "{strict:?}"
        );
    }
    // The number is found whatever its spelling was.
    let found = api
        .get(&api.auditor, "/v1/grants?tn=%2B12125551001")
        .with(200);
    assert_eq!(items(&found["items"]).len(), 2);

    let mut lower = asking_tkvalue(PADDED);
    lower["fingerprint"] = json!(lower_case());
    let issued = api.ask(&lower).with(200);
    let canonical = json!(fingerprint().to_string());
    assert_eq!(claims(&issued)["atc"]["fingerprint"], canonical);
    assert_eq!(grant_of(&api, &issued)["fingerprint"], canonical);

    // Each request of a bulk is read in the dialect of its own account.
    api.world.lends("other", "+12125551950+10");
    let of = |account: &str, tkvalue: &str| {
        let mut item = asking_tkvalue(tkvalue);
        item["account"] = json!(account);
        item
    };
    let other = "MA+iDRYLMTIxMjU1NTE5NTA=";
    let bulk = json!({ "requests": [of("acme", PADDED), of("other", other)] });
    let answers = api.post(&api.admin, "/v1/tokens", &bulk).with(200);
    assert_eq!(claims(&answers["items"][0])["atc"]["tkvalue"], PADDED);
    assert_eq!(
        answers["items"][1]["problem"]["code"], "malformed-tkvalue",
        "{answers}"
    );
}

fn malformed_der_is_refused_in_every_dialect(api: Api) {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    for dialect in ["legacy", "strict"] {
        speaks(&api, "acme", dialect);
        for vector in items(&vectors["negative"]) {
            let der = hex(member(vector, "der_hex"));
            for spelling in [Spelling::Padded, Spelling::Url] {
                api.ask(&asking_tkvalue(&spelling.encode(&der)))
                    .problem(400, "malformed-tkvalue");
            }
        }
        for text in [
            "MA+iDRYLMTIxMjU1NTEwMDE",
            "MA-iDRYLMTIxMjU1NTEwMDE=",
            "MA+iDRYLMTIxMjU1NTEwMDE==",
            "MA+iDRYLMTIxMjU1NTEwMDF=",
            "MA+iDRYLMTIxMjU1NTEwMDE=\n",
            " MA+iDRYLMTIxMjU1NTEwMDE=",
            "MA+iDRYLMTIxMjU1NTEwMD-=",
            "====",
            "",
        ] {
            api.ask(&asking_tkvalue(text))
                .problem(400, "malformed-tkvalue");
        }
    }
    assert_eq!(api.world.grants(), []);
}

fn a_complaint_speaks_of_the_form_that_was_meant(api: Api) {
    speaks(&api, "acme", "legacy");
    for (text, why) in [
        (
            "MA+iDRYLMTIxMjU1NTEwMDE",
            "the padding `=` of padded base64 is missing or wrong",
        ),
        (
            "MA+iDRYLMTIxMjU1NTEwMDE==",
            "the padding `=` of padded base64 is missing or wrong",
        ),
        (
            "MA+iDRYLMTIxMjU1NTEwMDE=\n",
            "byte 0x0a at offset 24 is not in the alphabet of padded base64",
        ),
        (
            "MA+iDRYLMTIxMjU1NTEwMDF=",
            "the bits after the last byte are not zero: a second spelling of the same value",
        ),
        (
            "MA-iDRYLMTIxMjU1NTEwMDE=",
            "base64url has no padding `=` (RFC 7515 §2)",
        ),
        (
            "MA-iDRYLMTIxMjU1NTEwMDE\n",
            "byte 0x0a at offset 23 is not in the alphabet of base64url",
        ),
    ] {
        let problem = api
            .ask(&asking_tkvalue(text))
            .problem(400, "malformed-tkvalue");
        assert_eq!(problem["detail"], format!("`tkvalue`: {why}"), "{text:?}");
    }
}

fn a_dialect_is_set_by_put_and_kept_otherwise(api: Api) {
    let show = || api.get(&api.auditor, "/v1/accounts/acme").with(200)["dialect"].clone();
    assert_eq!(show(), "strict");
    assert_eq!(speaks(&api, "acme", "legacy")["dialect"], "legacy");
    // Another name, or nothing, leaves it.
    for body in [
        json!({ "name": "Acme" }),
        json!({}),
        json!({ "dialect": null }),
    ] {
        api.put(&api.provisioner, "/v1/accounts/acme", &body)
            .with(200);
        assert_eq!(show(), "legacy");
    }
    api.post(&api.provisioner, "/v1/accounts/acme/suspend", &json!({}))
        .with(200);
    api.post(&api.provisioner, "/v1/accounts/acme/resume", &json!({}))
        .with(200);
    assert_eq!(show(), "legacy");
    speaks(&api, "acme", "legacy");
    let told = api.world.trail("acme");
    let told = told
        .iter()
        .filter(|event| event.detail["dialect"] == "legacy");
    assert_eq!(told.count(), 2, "set once, and named anew once");
    speaks(&api, "acme", "strict");
    assert_eq!(show(), "strict");
    api.ask(&asking_tkvalue(PADDED))
        .problem(400, "malformed-tkvalue");

    let new = json!({ "dialect": "legacy" });
    let made = api
        .put(&api.provisioner, "/v1/accounts/fresh", &new)
        .with(201);
    assert_eq!(made["dialect"], "legacy");
    for wrong in [
        json!("Legacy"),
        json!(""),
        json!(1),
        json!(true),
        json!(["legacy"]),
    ] {
        let body = json!({ "dialect": wrong });
        api.put(&api.provisioner, "/v1/accounts/acme", &body)
            .problem(400, "malformed-member");
    }
    api.put(&api.acme, "/v1/accounts/acme", &new)
        .problem(403, "forbidden");
}

proptest! {
    /// Whatever is taken is written back as it was read.
    #[test]
    fn what_is_read_is_written_back(text in "[A-Za-z0-9+/_=-]{0,40}") {
        for dialect in Dialect::ALL {
            for tktype in TkType::ALL {
                if let Ok(read) = TkValue::read(tktype, &text, dialect) {
                    prop_assert_eq!(read.text(), text.clone());
                }
            }
        }
    }

    #[test]
    fn a_value_keeps_its_spelling(numbers in prop::collection::vec(1_000_000_u64..999_999_999_999_999, 1..5)) {
        use tn_authority::domain::TnAuthList;
        let entries = numbers.iter().map(|n| format!("one:{n}").parse().expect("an entry"));
        let list = TnAuthList::from_entries(entries.collect()).expect("a list");
        for spelling in [Spelling::Url, Spelling::Padded] {
            let text = spelling.encode(list.as_der());
            let legacy = TkValue::read(TkType::TnAuthList, &text, Dialect::Legacy).expect("a list");
            prop_assert_eq!(legacy.text(), text.clone());
            let strict = TkValue::read(TkType::TnAuthList, &text, Dialect::Strict);
            // Where both spellings are one text, it is a strict one.
            prop_assert_eq!(strict.is_ok(), text == list.to_tkvalue());
            prop_assert_eq!(legacy.is_strict().is_ok(), strict.is_ok());
        }
    }

    #[test]
    fn a_fingerprint_in_any_case_has_one_canonical_form(digest in any::<[u8; 32]>(), lower in any::<u64>()) {
        let canonical = Fingerprint::from(digest).to_string();
        let (name, digits) = canonical.split_once(' ').expect("two parts");
        let digits: String = digits
            .chars()
            .zip(0..)
            .map(|(c, n)| if lower >> (n % 64) & 1 == 1 { c.to_ascii_lowercase() } else { c })
            .collect();
        let text = format!("{name} {digits}");
        let asked: AskedFingerprint = text.parse().expect("a fingerprint");
        prop_assert_eq!(asked.get(), Fingerprint::from(digest));
        prop_assert_eq!(asked.is_strict().is_ok(), text == canonical);
        let small = text.replace("SHA", "sha");
        prop_assert!(small.parse::<AskedFingerprint>().is_err());
    }
}
