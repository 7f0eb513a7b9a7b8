//! What a token proves, and every way in which it proves nothing (RFC 8725, RFC 9068 §4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};
use tn_authority::callers::{AccountsFrom, ClaimPath, RoleFrom, TokenType};
use tn_authority::domain::Role;
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use super::{AUDIENCE, ISSUER, Key, claims, from_file, get, key_set, refused, settings};
use crate::support::World;
use crate::support::service::{Api, asking};

both!(
    every_algorithm_proves_a_caller,
    what_is_wrong_with_the_form_proves_nobody,
    what_is_wrong_with_the_claims_proves_nobody,
    a_signature_of_anything_else_proves_nobody,
    a_token_ends_when_it_says,
    a_role_speaks_for_what_it_may,
    claims_are_mapped_as_configured,
    the_audit_trail_names_the_subject,
);

/// An API that trusts one key.
fn with_key(world: World) -> (Api, Key) {
    let key = Key::new("k1", Algorithm::Es256);
    let api = Api::trusting(world, |world| {
        from_file(world, settings(), &key_set(&[&key]))
    });
    (api, key)
}

fn every_algorithm_proves_a_caller(world: World) {
    let keys = Algorithm::ALL.map(|algorithm| Key::new(algorithm.as_str(), algorithm));
    let set = key_set(&keys.iter().collect::<Vec<_>>());
    let api = Api::trusting(world, |world| from_file(world, settings(), &set));
    for key in &keys {
        let token = key.token(&claims(&api.world));
        // The second time from what is remembered.
        for _ in 0..2 {
            get(&api, &token).with(200);
        }
        let mut forged = token.clone();
        let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
        forged.push(last);
        assert_ne!(get(&api, &forged).status, 200, "{}", key.kid);
        // Without a name it is not clear which of two RSA keys is meant; of the others there is one.
        let header = json!({ "alg": key.algorithm.as_str(), "typ": "application/AT+JWT" });
        let unnamed = key.sign(&header.to_string(), &claims(&api.world).to_string());
        match key.algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => refused(&api, &unnamed, "unsuited-key"),
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => {
                get(&api, &unnamed).with(200);
            }
        }
    }
}

fn what_is_wrong_with_the_form_proves_nobody(world: World) {
    let (api, key) = with_key(world);
    let mut good = claims(&api.world);
    // Before the keys were loaded, so a key that is not among them is none of the issuer's.
    good["iat"] = json!(api.world.in_seconds(-60).timestamp());
    let good = good.to_string();
    let header = |name: &str, value: Value| {
        let mut header = key.header();
        header[name] = value;
        key.sign(&header.to_string(), &good)
    };
    let token = key.token(&claims(&api.world));
    let (head, rest) = token.split_once('.').expect("parts");
    let (body, signature) = rest.split_once('.').expect("parts");
    let public = key.private.public_key_to_pem().expect("PEM");
    let hmac = |secret: &[u8]| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": "k1" }).to_string();
        let signed = format!("{}.{}", part(&header), part(&good));
        let secret = PKey::hmac(secret).expect("a key");
        let mut mac = Signer::new(MessageDigest::sha256(), &secret).expect("a signer");
        let signature = mac.sign_oneshot_to_vec(signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    for (reason, wrong) in [
        ("algorithm", header("alg", json!("none"))),
        ("algorithm", header("alg", json!("None"))),
        ("algorithm", header("alg", json!("HS256"))),
        ("algorithm", hmac(&public)),
        ("algorithm", hmac(key.jwk().to_string().as_bytes())),
        ("algorithm", header("alg", json!("ES512"))),
        ("algorithm", header("alg", json!(["ES256"]))),
        (
            "algorithm",
            key.sign(r#"{"typ":"at+jwt","kid":"k1"}"#, &good),
        ),
        ("unsuited-key", header("alg", json!("RS256"))),
        ("unsuited-key", header("alg", json!("ES384"))),
        ("unknown-key", header("kid", json!("k2"))),
        ("unknown-key", header("kid", json!("../k1"))),
        ("unknown-key", header("kid", json!(1))),
        ("unknown-key", header("kid", json!(null))),
        ("type", header("typ", json!("JWT"))),
        ("type", header("typ", json!("dpop+jwt"))),
        ("type", header("typ", json!(null))),
        ("type", key.sign(r#"{"alg":"ES256","kid":"k1"}"#, &good)),
        ("header", header("crit", json!(["exp"]))),
        ("header", header("crit", json!([]))),
        ("header", header("b64", json!(false))),
        ("header", header("zip", json!("DEF"))),
        ("header", header("enc", json!("A256GCM"))),
        (
            "json",
            key.sign(
                r#"{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"k1"}"#,
                &good,
            ),
        ),
        ("json", key.sign("[]", &good)),
        ("json", key.sign("", &good)),
        ("json", key.sign(&key.header().to_string(), "7")),
        ("form", format!("{head}.{body}")),
        ("form", format!("{head}.{body}.")),
        (
            "form",
            format!("{head}.{body}.{signature}.{signature}.{signature}"),
        ),
        ("form", format!("{head}=.{body}.{signature}")),
        ("form", format!("{head}.{body}.{}", "A".repeat(2000))),
        ("form", ".".to_owned()),
        ("json", "..".to_owned()),
        (
            "signature",
            format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        ),
        ("signature", format!("{head}.{body}.AAAA")),
        (
            "long",
            format!("{head}.{body}.{signature}{}", "A".repeat(8_192)),
        ),
    ] {
        refused(&api, &wrong, reason);
    }
    let deep = key.sign(&key.header().to_string(), &"[".repeat(3_000));
    refused(&api, &deep, "json");
    get(&api, &token).with(200);
}

fn what_is_wrong_with_the_claims_proves_nobody(world: World) {
    let (api, key) = with_key(world);
    let now = api.world.now().timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = claims(&api.world);
        claims[name] = value;
        key.token(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims(&api.world);
        claims.as_object_mut().expect("an object").remove(name);
        key.token(&claims)
    };
    for (reason, wrong) in [
        (
            "issuer-slash",
            with("iss", json!("https://login.example/realms/carrier/")),
        ),
        ("issuer", with("iss", json!([ISSUER]))),
        ("issuer", without("iss")),
        ("audience", with("aud", json!("https://authority.example/"))),
        ("audience", with("aud", json!([]))),
        ("audience", with("aud", json!(["https://other.example"]))),
        ("audience", with("aud", json!([AUDIENCE, 7]))),
        ("audience", with("aud", json!({ "aud": AUDIENCE }))),
        ("audience", without("aud")),
        ("times", with("exp", json!((now + 3600).to_string()))),
        ("times", with("exp", json!(1e300))),
        ("times", with("exp", json!(null))),
        ("times", with("exp", json!(true))),
        ("times", with("exp", json!([now + 3600]))),
        ("times", with("exp", json!(-1))),
        ("times", with("exp", json!(u64::MAX))),
        ("times", without("exp")),
        ("times", without("iat")),
        ("times", with("iat", json!("now"))),
        ("times", with("exp", json!(now))),
        ("times", with("nbf", json!("tomorrow"))),
        ("lifetime", with("exp", json!(now + 86_401))),
        ("lifetime", with("iat", json!(now - 86_400))),
        ("not-yet-valid", with("nbf", json!(now + 31))),
        ("not-yet-valid", with("iat", json!(now + 31))),
        ("subject", without("sub")),
        ("subject", with("sub", json!(""))),
        ("subject", with("sub", json!(7))),
        ("bound", with("cnf", json!({ "jkt": "AAAA" }))),
        ("bound", with("cnf", json!(null))),
        ("role", without("roles")),
        ("role", with("roles", json!([]))),
        ("role", with("roles", json!("TN-ACCOUNT"))),
        ("role", with("roles", json!("tn-account tn-admin"))),
        ("role", with("roles", json!(["tn-account", "tn-admin"]))),
        ("role", with("roles", json!(["tn-account", 7]))),
        ("role", with("roles", json!({ "tn-account": true }))),
        ("accounts", without("tn_accounts")),
        ("accounts", with("tn_accounts", json!(["acme", "other"]))),
        ("accounts", with("tn_accounts", json!([]))),
        ("accounts", with("tn_accounts", json!(" "))),
        ("accounts", with("tn_accounts", json!(["acme", 7]))),
        ("accounts", with("tn_accounts", json!("a/b"))),
        ("accounts", with("tn_accounts", json!("acme other"))),
        ("accounts", with("tn_accounts", json!(null))),
        ("accounts", with("tn_accounts", json!(vec!["acme"; 257]))),
    ] {
        refused(&api, &wrong, reason);
    }
    let good = claims(&api.world).to_string();
    let twice = |text: &str| {
        let claims = format!("{}{text}}}", good.strip_suffix('}').expect("an object"));
        key.sign(&key.header().to_string(), &claims)
    };
    for text in [
        format!(",\"exp\":{}", now + 3600),
        ",\"sub\":\"somebody else\"".to_owned(),
        ",\"x\":{\"a\":1,\"\\u0061\":2}".to_owned(),
    ] {
        refused(&api, &twice(&text), "json");
    }
    get(&api, &twice(",\"x\":1")).with(200);
    get(
        &api,
        &with("aud", json!(["https://other.example", AUDIENCE])),
    )
    .with(200);
    get(&api, &with("tn_accounts", json!(["acme", "acme"]))).with(200);
    get(&api, &with("nbf", json!(now + 30))).with(200);
}

fn a_signature_of_anything_else_proves_nobody(world: World) {
    let (api, key) = with_key(world);
    let other = Key::new("k1", Algorithm::Es256);
    refused(&api, &other.token(&claims(&api.world)), "signature");
    // Claims of one token, signature of another.
    let (mine, mut theirs) = (key.token(&claims(&api.world)), claims(&api.world));
    theirs["tn_accounts"] = json!("other");
    let theirs = key.token(&theirs);
    let (head, _) = mine.rsplit_once('.').expect("parts");
    let (_, signature) = theirs.rsplit_once('.').expect("parts");
    refused(&api, &format!("{head}.{signature}"), "signature");
    get(&api, &mine).with(200);
    get(&api, &theirs).problem(403, "forbidden");
    // Not even in another case of the scheme, nor beside an API key.
    let twice = format!(
        "authorization: Bearer {mine}\r\nauthorization: Bearer {}\r\n",
        api.acme
    );
    api.send("GET", "/v1/grants", &twice, b"")
        .problem(403, "forbidden");
    for head in [
        format!("authorization: DPoP {mine}\r\n"),
        format!("authorization: {mine}\r\n"),
        format!("authorization: Basic {mine}\r\n"),
    ] {
        api.send("GET", "/v1/grants", &head, b"")
            .problem(403, "forbidden");
    }
}

fn a_token_ends_when_it_says(world: World) {
    let (api, key) = with_key(world);
    let token = key.token(&claims(&api.world));
    get(&api, &token).with(200);
    // The leeway of 30 seconds counts on both sides, also for what is remembered.
    api.world.seconds_pass(3629);
    get(&api, &token).with(200);
    api.world.seconds_pass(1);
    refused(&api, &token, "expired");
    api.world.seconds_pass(-3661);
    refused(&api, &token, "not-yet-valid");
}

fn a_role_speaks_for_what_it_may(world: World) {
    let (api, key) = with_key(world);
    let token = |role: &str, accounts: Value| {
        let mut claims = claims(&api.world);
        claims["roles"] = json!([role]);
        claims["tn_accounts"] = accounts;
        key.token(&claims)
    };
    let path = "/v1/grants";
    for (role, accounts) in [
        ("tn-admin", json!([])),
        ("tn-provisioner", json!([])),
        ("tn-provisioner", json!("acme")),
        ("tn-auditor", json!([])),
    ] {
        api.get(&token(role, accounts), path).with(200);
    }
    for (role, accounts) in [
        ("tn-admin", json!("acme")),
        ("tn-portal", json!([])),
        ("tn-provisioner", json!(["acme", "other"])),
        ("tn-auditor", json!(["acme", "other"])),
    ] {
        refused(&api, &token(role, accounts), "accounts");
    }
    // Only an admin may lack the claim: any other token would be confined to nothing.
    let lacking = |role: &str| {
        let mut claims = claims(&api.world);
        claims["roles"] = json!(role);
        claims
            .as_object_mut()
            .expect("an object")
            .remove("tn_accounts");
        key.token(&claims)
    };
    api.get(&lacking("tn-admin"), path).with(200);
    for role in ["tn-provisioner", "tn-auditor", "tn-portal"] {
        refused(&api, &lacking(role), "accounts");
    }
    // Another tenant, and one that does not exist, are answered alike.
    let asked = asking(&["one:12125551001"]);
    let at = |token: &str| api.post(token, "/at/account/acme/token", &asked);
    let other = at(&token("tn-account", json!("other")));
    other.problem(403, "forbidden");
    let nobody = at(&token("tn-account", json!("nobody")));
    assert_eq!(other.without_id(), nobody.without_id());
    assert_eq!(other.without_id(), at("nonsense.of.a-token").without_id());
    // A portal mints for those that it was given.
    let portal = token("tn-portal", json!(["acme", "nobody"]));
    at(&portal).with(200);
    api.post(&portal, "/at/account/other/token", &asked)
        .problem(403, "forbidden");
}

fn claims_are_mapped_as_configured(world: World) {
    let key = Key::new("k1", Algorithm::EdDsa);
    let mut settings = settings();
    let roles = [("tn:mint".to_owned(), Role::Account)];
    settings.role = RoleFrom::ClaimPath(ClaimPath("scope".to_owned()), roles.into());
    settings.accounts = AccountsFrom::ClaimPath(ClaimPath("/resource/tn~1accounts".to_owned()));
    settings.token_type = TokenType::Typ("JWT".to_owned());
    settings.algorithms = vec![Algorithm::EdDsa];
    let api = Api::trusting(world, |world| from_file(world, settings, &key_set(&[&key])));
    let token = |typ: &str, scope: Value, accounts: Value| {
        let mut claims = claims(&api.world);
        claims["scope"] = scope;
        claims["resource"] = json!({ "tn/accounts": accounts });
        let header = json!({ "alg": "EdDSA", "kid": "k1", "typ": typ });
        key.sign(&header.to_string(), &claims.to_string())
    };
    get(&api, &token("JWT", json!("openid tn:mint"), json!("acme"))).with(200);
    get(&api, &token("jwt", json!("tn:mint"), json!(["acme"]))).with(200);
    refused(
        &api,
        &token("at+jwt", json!("tn:mint"), json!("acme")),
        "type",
    );
    refused(&api, &token("JWT", json!("openid"), json!("acme")), "role");
    refused(
        &api,
        &token("JWT", json!("tn:mint"), json!({ "0": "acme" })),
        "accounts",
    );
    let es256 = Key::new("k1", Algorithm::Es256);
    let header = json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" });
    let other = es256.sign(&header.to_string(), &claims(&api.world).to_string());
    refused(&api, &other, "algorithm");
}

fn the_audit_trail_names_the_subject(world: World) {
    let (api, key) = with_key(world);
    let mut odd = claims(&api.world);
    odd["sub"] = json!("line\r\nbreak \u{1b}[31m");
    get(&api, &key.token(&claims(&api.world))).with(200);
    get(&api, &key.token(&odd)).with(200);
    let trail = api.world.trail("acme");
    let callers = trail.iter().map(|event| event.caller.as_str());
    let callers: Vec<&str> = callers
        .filter(|caller| caller.starts_with("oauth:"))
        .collect();
    assert_eq!(callers.len(), 2, "{callers:?}");
    assert!(
        callers.contains(&"oauth:corporate:5f7c@clients"),
        "{callers:?}"
    );
    let hashed = callers
        .iter()
        .filter_map(|caller| caller.strip_prefix("oauth:corporate:#"));
    assert_eq!(
        hashed.map(str::len).collect::<Vec<_>>(),
        [64],
        "{callers:?}"
    );
}
