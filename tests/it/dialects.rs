//! Dialects by account: strict by default; legacy takes and repeats what older clients write. And `jwk` for `fingerprint`.

use proptest::prelude::*;
use serde_json::{Value, json};
use tn_authority::domain::encoding::Spelling;
use tn_authority::domain::fingerprint::AskedFingerprint;
use tn_authority::domain::{Dialect, Fingerprint, TkType, TkValue};
use tn_authority::verifier::{LintError, lint};

use crate::domain::RFC7638_RSA;
use crate::fixtures::{self, hex, items, member};
use crate::service::{Api, asking, asking_tkvalue};
use crate::support::fingerprint;

both!(
    a_strict_account_is_refused_what_a_legacy_one_gets,
    a_legacy_account_gets_back_what_it_wrote,
    malformed_der_is_refused_in_every_dialect,
    a_complaint_speaks_of_the_form_that_was_meant,
    a_dialect_is_set_by_put_and_kept_otherwise,
    the_public_key_stands_in_place_of_its_fingerprint,
    no_other_key_does,
    a_key_beside_its_curve_is_no_key,
);

/// One number whose DER spells differently in the two alphabets: `+` and padding.
const PADDED: &str = "MA+iDRYLMTIxMjU1NTEwMDE=";
const URL: &str = "MA-iDRYLMTIxMjU1NTEwMDE";

fn claims(issued: &Value) -> Value {
    let token = member(issued, "token");
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&Spelling::Url.decode(payload).expect("base64url")).expect("JSON")
}

fn speaks(api: &Api, account: &str, dialect: &str) -> Value {
    let body = json!({ "dialect": dialect });
    api.put(&api.provisioner, &format!("/v1/accounts/{account}"), &body)
        .with(200)
}

fn grant_of(api: &Api, issued: &Value) -> Value {
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
            "padding `=` in base64url (RFC 7515 §2 has none)",
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

/// A request with a key in place of its fingerprint.
fn asking_with(key: &Value) -> Value {
    let mut body = asking(&["one:12125551001"]);
    body.as_object_mut()
        .expect("an object")
        .remove("fingerprint");
    body["jwk"] = key.clone();
    body
}

/// Public keys of EC, RSA and OKP.
fn keys() -> Vec<Value> {
    let vectors = fixtures::json("vectors/authority_tokens.json");
    let known = items(&vectors["account_keys"]).iter();
    let mut keys: Vec<Value> = known
        .filter_map(|known| known.get("jwk").cloned())
        .collect();
    keys.push(serde_json::from_str(RFC7638_RSA).expect("JSON"));
    // RFC 8037 A.2.
    keys.push(json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }));
    keys
}

fn the_public_key_stands_in_place_of_its_fingerprint(api: Api) {
    let keys = keys();
    let kinds: std::collections::BTreeSet<&str> =
        keys.iter().map(|key| member(key, "kty")).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["EC", "OKP", "RSA"]);
    for key in keys {
        let expected = Fingerprint::of_jwk(&key.to_string()).expect("a thumbprint");
        let issued = api.ask(&asking_with(&key)).with(200);
        let shown = json!(expected.to_string());
        assert_eq!(claims(&issued)["atc"]["fingerprint"], shown);
        assert!(claims(&issued)["atc"].get("jwk").is_none());
        assert_eq!(grant_of(&api, &issued)["fingerprint"], shown);
        // What plays no part in the key plays none in the thumbprint.
        let mut named = key;
        named["kid"] = json!("https://ca.example/account/1");
        named["alg"] = json!("ES256");
        let again = api.ask(&json!({ "atc": asking_with(&named) })).with(200);
        assert_eq!(claims(&again)["atc"]["fingerprint"], shown);
    }
}

fn no_other_key_does(api: Api) {
    let [ec, rsa, okp] = ["EC", "RSA", "OKP"].map(|kty| {
        let mut keys = keys().into_iter();
        keys.find(|key| key["kty"] == kty)
            .expect("a key of each kind")
    });
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let without = |key: &Value, name: &str| {
        let mut key = key.clone();
        key.as_object_mut().expect("an object").remove(name);
        key
    };
    let zeros = |n: usize| json!(Spelling::Url.encode(&vec![0; n]));
    for (key, why) in [
        (with(&ec, "d", json!("AA")), "private key"),
        (with(&rsa, "d", json!("AA")), "private key"),
        (with(&rsa, "p", json!(null)), "private key"),
        (with(&okp, "d", json!("AA")), "private key"),
        (json!({ "kty": "oct", "k": "AA" }), "private key"),
        (json!({ "kty": "oct" }), "type EC, RSA and OKP"),
        (json!({}), "type EC, RSA and OKP"),
        (with(&ec, "kty", json!("ec")), "type EC, RSA and OKP"),
        (with(&ec, "kty", json!(1)), "type EC, RSA and OKP"),
        (with(&ec, "crv", json!("secp256k1")), "`crv` is P-256"),
        (with(&ec, "crv", json!("P-384")), "`x` has 32 bytes"),
        (without(&ec, "y"), "`y`"),
        (with(&ec, "y", zeros(31)), "`y` has 31 bytes"),
        (with(&ec, "x", json!("AAAA=")), "`x`"),
        (
            with(&ec, "x", json!(format!("{}B", "A".repeat(42)))),
            "not base64url",
        ),
        (with(&okp, "crv", json!("X25519")), "`crv` is P-256"),
        (with(&okp, "x", zeros(33)), "`x` has 33 bytes"),
        (with(&rsa, "n", zeros(256)), "`n` starts with a zero byte"),
        (with(&rsa, "n", json!("AQAB")), "`n` has 3 bytes"),
        (
            with(&rsa, "n", json!(Spelling::Url.encode(&[0xff; 1025]))),
            "`n` has 1025 bytes",
        ),
        (
            with(&rsa, "n", json!(Spelling::Url.encode(&[0xfe; 256]))),
            "no possible value",
        ),
        (with(&rsa, "e", json!("AQ")), "no possible value"),
        (with(&rsa, "e", json!("BA")), "no possible value"),
        (with(&rsa, "e", json!("AAEAAQ")), "starts with a zero byte"),
        (
            with(&rsa, "e", json!(Spelling::Url.encode(&[0xff; 9]))),
            "`e` has 9 bytes",
        ),
    ] {
        let problem = api.ask(&asking_with(&key)).problem(400, "malformed-jwk");
        assert!(member(&problem, "detail").contains(why), "{problem}: {why}");
        assert!(
            !problem
                .to_string()
                .contains("urn:tn-authority:problem:internal")
        );
    }
    for key in [
        json!(null),
        json!("x"),
        json!(1),
        json!([ec]),
        json!(ec.to_string()),
    ] {
        api.ask(&asking_with(&key)).problem(400, "malformed-member");
    }
    let mut both = asking(&["one:12125551001"]);
    both["jwk"] = ec;
    api.ask(&both).problem(400, "malformed-member");
    both.as_object_mut().expect("an object").remove("jwk");
    both.as_object_mut()
        .expect("an object")
        .remove("fingerprint");
    api.ask(&both).problem(400, "missing-member");
    assert_eq!(api.world.grants(), []);
}

/// A CA cannot take such a key, so a token for it would be for nobody.
fn a_key_beside_its_curve_is_no_key(api: Api) {
    let octets = |n: usize, first: u8| {
        let mut octets = vec![0; n];
        octets[0] = first;
        json!(Spelling::Url.encode(&octets))
    };
    let ec = |crv: &str, n: usize| json!({ "kty": "EC", "crv": crv, "x": octets(n, 1), "y": octets(n, 1) });
    let okp =
        |crv: &str, n: usize, first: u8| json!({ "kty": "OKP", "crv": crv, "x": octets(n, first) });
    for (key, curve) in [
        (ec("P-256", 32), "P-256"),
        (ec("P-384", 48), "P-384"),
        (ec("P-521", 66), "P-521"),
        (okp("Ed25519", 32, 2), "Ed25519"),
        (okp("Ed448", 57, 2), "Ed448"),
    ] {
        let said = format!("`jwk`: the point is not on the curve {curve}");
        let problem = api.ask(&asking_with(&key)).problem(400, "malformed-jwk");
        assert!(
            member(&problem, "detail").starts_with(&said),
            "{problem}: {said}"
        );
    }
    assert_eq!(api.world.grants(), []);
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
