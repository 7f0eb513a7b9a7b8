//! `jwk` in place of `fingerprint`.

use serde_json::{Value, json};
use tn_authority::domain::Fingerprint;
use tn_authority::domain::text::strict_encoding::Spelling;

use super::dialects::{claims, grant_of};
use crate::domain::values::RFC7638_RSA;
use crate::support::fixtures::{self, items, member};
use crate::support::service::{Api, asking};

both!(
    the_public_key_stands_in_place_of_its_fingerprint,
    no_other_key_does,
    a_key_beside_its_curve_is_no_key,
);

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
        (json!({ "kty": "oct" }), "use EC, RSA or OKP"),
        (json!({}), "use EC, RSA or OKP"),
        (with(&ec, "kty", json!("ec")), "use EC, RSA or OKP"),
        (with(&ec, "kty", json!(1)), "use EC, RSA or OKP"),
        (with(&ec, "crv", json!("secp256k1")), "`crv` must be P-256"),
        (with(&ec, "crv", json!("P-384")), "`x` has 32 bytes"),
        (without(&ec, "y"), "`y`"),
        (with(&ec, "y", zeros(31)), "`y` has 31 bytes"),
        (with(&ec, "x", json!("AAAA=")), "`x`"),
        (
            with(&ec, "x", json!(format!("{}B", "A".repeat(42)))),
            "not base64url",
        ),
        (with(&okp, "crv", json!("X25519")), "`crv` must be P-256"),
        (with(&okp, "x", zeros(33)), "`x` has 33 bytes"),
        (with(&rsa, "n", zeros(256)), "`n` starts with a zero byte"),
        (with(&rsa, "n", json!("AQAB")), "`n` has 3 bytes"),
        (
            with(&rsa, "n", json!(Spelling::Url.encode(&[0xff; 1025]))),
            "`n` has 1025 bytes",
        ),
        (
            with(&rsa, "n", json!(Spelling::Url.encode(&[0xfe; 256]))),
            "not a possible value",
        ),
        (
            // 2,041 bits.
            with(&rsa, "n", json!(Spelling::Url.encode(&[1; 256]))),
            "not a possible value",
        ),
        (with(&rsa, "e", json!("AQ")), "not a possible value"),
        (with(&rsa, "e", json!("BA")), "not a possible value"),
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
    let ec = |crv: &str, n: usize| {
        let mut octets = vec![0; n];
        octets[0] = 1;
        let octets = json!(Spelling::Url.encode(&octets));
        json!({ "kty": "EC", "crv": crv, "x": octets, "y": octets })
    };
    for (key, curve) in [
        (ec("P-256", 32), "P-256"),
        (ec("P-384", 48), "P-384"),
        (ec("P-521", 66), "P-521"),
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
