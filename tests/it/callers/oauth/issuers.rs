//! Issuers as they are: what large ones write into their tokens otherwise than RFC 9068 has it.

use serde_json::{Value, json};
use tn_authority::callers::{AccountsFrom, ClaimPath, IssuerSettings, RoleFrom, TokenType};
use tn_authority::domain::Role;
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use super::endpoint::{Behaviour, Endpoint};
use super::{ISSUER, Key, claims, from_file, get, key_set, refused, settings};
use crate::support::World;
use crate::support::service::Api;

both!(
    okta_writes_no_type,
    cognito_writes_no_audience,
    entra_writes_scopes_as_one_text,
    names_of_groups_have_spaces,
    accounts_are_words_or_a_list,
    two_kinds_of_keys_share_a_kid,
    keys_of_kinds_that_nobody_knows_are_ignored,
    times_have_fractions,
    headers_name_keys_that_nobody_fetches,
    issuers_end_with_a_slash_or_not,
    clocks_differ_by_seconds,
);

fn claim(name: &str) -> ClaimPath {
    ClaimPath(name.to_owned())
}

fn api(world: World, settings: IssuerSettings, keys: &[&Key]) -> Api {
    let set = key_set(keys);
    Api::trusting(world, |world| from_file(world, settings, &set))
}

fn with(world: &World, name: &str, value: Value) -> Value {
    let mut claims = claims(world);
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

/// An issuer that writes no `typ`: a claim has to tell its access tokens from its ID tokens.
fn okta_writes_no_type(world: World) {
    let key = Key::new("k1", Algorithm::Rs256);
    let settings = IssuerSettings {
        token_type: TokenType::None,
        required_claims: vec![(claim("scp"), "tn.mint".to_owned())],
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let access = with(&api.world, "scp", json!(["openid", "tn.mint"]));
    let header = r#"{"alg":"RS256","kid":"k1"}"#;
    let sign = |header: &str, claims: &Value| key.sign(header, &claims.to_string());
    get(&api, &sign(header, &access)).with(200);
    let words = with(&api.world, "scp", json!("tn.mint openid"));
    get(&api, &sign(header, &words)).with(200);
    // An ID token of the same issuer, for the same audience.
    let id = with(&api.world, "nonce", json!("n-1"));
    refused(&api, &sign(header, &id), "required-claim");
    for scope in [
        json!("tn.mint.not"),
        json!(["openid"]),
        json!(true),
        json!({ "tn.mint": 1 }),
    ] {
        let other = with(&api.world, "scp", scope);
        refused(&api, &sign(header, &other), "required-claim");
    }
    for typ in ["JWT", "at+jwt", "logout+jwt", ""] {
        let header = json!({ "alg": "RS256", "kid": "k1", "typ": typ }).to_string();
        refused(&api, &sign(&header, &access), "type");
    }
    refused(
        &api,
        &sign(r#"{"alg":"RS256","kid":"k1","typ":null}"#, &access),
        "type",
    );
}

/// An issuer that writes no `aud`: `client_id` stands for it, and `token_use` for the type.
fn cognito_writes_no_audience(world: World) {
    let key = Key::new("k1", Algorithm::EdDsa);
    let settings = IssuerSettings {
        token_type: TokenType::None,
        required_claims: vec![(claim("token_use"), "access".to_owned())],
        audience: "7example".to_owned(),
        audience_claim: claim("client_id"),
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let mut access = without(claims(&api.world), "aud");
    access["client_id"] = json!("7example");
    access["token_use"] = json!("access");
    let token = |claims: &Value| key.sign(r#"{"alg":"EdDSA","kid":"k1"}"#, &claims.to_string());
    get(&api, &token(&access)).with(200);
    let change = |name: &str, value: Value| {
        let mut claims = access.clone();
        claims[name] = value;
        token(&claims)
    };
    refused(&api, &change("client_id", json!("8example")), "audience");
    refused(
        &api,
        &token(&without(access.clone(), "client_id")),
        "audience",
    );
    refused(&api, &change("token_use", json!("id")), "required-claim");
    refused(
        &api,
        &token(&without(access.clone(), "token_use")),
        "required-claim",
    );
    // RFC 7519 §4.1.3: an `aud` that is there all the same is not ignored.
    refused(
        &api,
        &change("aud", json!("https://other.example")),
        "audience",
    );
    get(
        &api,
        &change("aud", json!(["https://other.example", "7example"])),
    )
    .with(200);
}

fn entra_writes_scopes_as_one_text(world: World) {
    let key = Key::new("k1", Algorithm::Rs256);
    let roles = [
        ("tn.mint".to_owned(), Role::Account),
        ("tn.read".to_owned(), Role::Auditor),
    ];
    let settings = IssuerSettings {
        token_type: TokenType::Typ("JWT".to_owned()),
        role: RoleFrom::ClaimPath(claim("scp"), roles.into()),
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let token = |scope: Value| {
        let claims = with(&api.world, "scp", scope).to_string();
        key.sign(r#"{"alg":"RS256","kid":"k1","typ":"JWT"}"#, &claims)
    };
    for scope in [
        json!("openid tn.mint"),
        json!("tn.mint"),
        json!(" tn.mint  tn.mint "),
    ] {
        get(&api, &token(scope)).with(200);
    }
    for scope in [
        "openid",
        "",
        " ",
        "tn.mint tn.read",
        "tn.mint,openid",
        "tn.mint\topenid",
    ] {
        refused(&api, &token(json!(scope)), "role");
    }
}

fn names_of_groups_have_spaces(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let roles = [
        ("TN Portal".to_owned(), Role::Account),
        ("Admin".to_owned(), Role::Admin),
    ];
    let settings = IssuerSettings {
        role: RoleFrom::ClaimPath(claim("groups"), roles.into()),
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let token = |groups: Value| key.token(&with(&api.world, "groups", groups));
    get(&api, &token(json!("TN Portal"))).with(200);
    get(&api, &token(json!(["Staff", "TN Portal"]))).with(200);
    // A name in a list is one value: nobody becomes an admin by the second word of it.
    refused(&api, &token(json!(["Not Admin"])), "role");
    refused(&api, &token(json!(["TN Portal", "Admin"])), "role");
}

fn accounts_are_words_or_a_list(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let settings = IssuerSettings {
        role: RoleFrom::Fixed(Role::Portal),
        accounts: AccountsFrom::ClaimPath(claim("tn_accounts")),
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let token = |accounts: Value| key.token(&with(&api.world, "tn_accounts", accounts));
    for accounts in [json!("acme"), json!("other acme"), json!(["other", "acme"])] {
        get(&api, &token(accounts)).with(200);
    }
    get(&api, &token(json!("other"))).problem(403, "forbidden");
    let many = "acme ".repeat(257);
    for wrong in [
        json!(""),
        json!("acme,other"),
        json!(["acme other"]),
        json!(many),
    ] {
        refused(&api, &token(wrong), "accounts");
    }
}

/// RFC 7517 §4.5: keys of different types may share a `kid`.
fn two_kinds_of_keys_share_a_kid(world: World) {
    let (rsa, ec) = (
        Key::new("1", Algorithm::Rs256),
        Key::new("1", Algorithm::Es256),
    );
    let another = Key::new("1", Algorithm::Es256);
    let api = api(world, settings(), &[&rsa, &ec, &another]);
    for key in [&rsa, &ec] {
        get(&api, &key.token(&claims(&api.world))).with(200);
    }
    // Of two that cannot be told apart, the first counts, as everywhere.
    refused(&api, &another.token(&claims(&api.world)), "signature");
    let third = Key::new("1", Algorithm::EdDsa);
    refused(&api, &third.token(&claims(&api.world)), "unsuited-key");
    assert_eq!(api.world.count("issuer_keys{issuer=\"corporate\"}"), 2);
}

fn keys_of_kinds_that_nobody_knows_are_ignored(world: World) {
    let key = Key::new("k1", Algorithm::Rs256);
    let set = json!({ "keys": [
        { "kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA" },
        { "kty": "OKP", "crv": "Ed448", "x": "AAAA" },
        { "kty": "RSA" },
        7,
        key.jwk(),
    ], "more": [] });
    let api = Api::trusting(world, |world| from_file(world, settings(), &set));
    get(&api, &key.token(&claims(&api.world))).with(200);
}

fn times_have_fractions(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let api = api(world, settings(), &[&key]);
    let now = api.world.now().timestamp();
    let token = |iat: &str, exp: &str| {
        let claims = without(without(claims(&api.world), "iat"), "exp").to_string();
        let claims = claims.strip_suffix('}').expect("an object").to_owned();
        let claims = format!("{claims},\"iat\":{iat},\"exp\":{exp}}}");
        key.sign(&key.header().to_string(), &claims)
    };
    let at = |seconds: i64, fraction: &str| format!("{}{fraction}", now + seconds);
    for (iat, exp) in [
        (at(0, ".123"), at(600, ".5")),
        (at(0, ".0"), at(600, ".999")),
        (at(-60, ".5"), "1.7672262e9".to_owned()),
    ] {
        get(&api, &token(&iat, &exp)).with(200);
    }
    // `exp` downwards, `iat` upwards; the leeway is 30 seconds.
    refused(&api, &token(&at(-90, ""), &at(-30, ".9")), "expired");
    get(&api, &token(&at(-90, ""), &at(-29, ".1"))).with(200);
    refused(&api, &token(&at(30, ".1"), &at(600, "")), "not-yet-valid");
    get(&api, &token(&at(29, ".9"), &at(600, ""))).with(200);
    refused(&api, &token(&at(0, ".1"), &at(0, ".9")), "times");
    refused(&api, &token(&at(0, ""), "1e300"), "times");
    refused(&api, &token(&at(0, ""), "\"1.7672262e9\""), "times");
    refused(&api, &token("-0.5", &at(600, "")), "times");
}

/// RFC 7515 §4: what is not understood, and not critical, is ignored.
fn headers_name_keys_that_nobody_fetches(world: World) {
    let (key, theirs) = (
        Key::new("k1", Algorithm::Es256),
        Key::new("k1", Algorithm::Es256),
    );
    let elsewhere = Endpoint::of(&world, Behaviour::Publish(key_set(&[&theirs])));
    let api = api(world, settings(), &[&key]);
    for (name, value) in [
        ("jku", json!(elsewhere.url)),
        ("x5u", json!(elsewhere.url)),
        ("jwk", theirs.jwk()),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("nonce", json!("n-1")),
        ("cty", json!("JWT")),
    ] {
        let with = |key: &Key, critical: bool| {
            let mut header = key.header();
            header[name] = value.clone();
            if critical {
                header["crit"] = json!([name]);
            }
            key.sign(&header.to_string(), &claims(&api.world).to_string())
        };
        get(&api, &with(&key, false)).with(200);
        refused(&api, &with(&theirs, false), "signature");
        refused(&api, &with(&key, true), "header");
    }
    assert_eq!(elsewhere.requests(), 0);
}

/// RFC 7519 §4.1.1: byte for byte. The log names the difference.
fn issuers_end_with_a_slash_or_not(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let slash = format!("{ISSUER}/");
    let settings = IssuerSettings {
        issuer: slash.clone(),
        ..settings()
    };
    let api = api(world, settings, &[&key]);
    let token = |issuer: Value| key.token(&with(&api.world, "iss", issuer));
    get(&api, &token(json!(slash))).with(200);
    refused(&api, &token(json!(ISSUER)), "issuer-slash");
    refused(&api, &token(json!(format!("{slash}/"))), "issuer-slash");
    refused(&api, &token(json!("https://other.example/")), "issuer");
    refused(&api, &token(json!([slash])), "issuer");
}

fn clocks_differ_by_seconds(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let api = api(world, settings(), &[&key]);
    let now = api.world.now().timestamp();
    for (ahead, reason) in [(20, None), (30, None), (31, Some("not-yet-valid"))] {
        let token = key.token(&with(&api.world, "iat", json!(now + ahead)));
        match reason {
            None => drop(get(&api, &token).with(200)),
            Some(reason) => refused(&api, &token, reason),
        }
    }
}
