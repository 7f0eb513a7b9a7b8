//! Access tokens of an issuer, made with openssl alone, and an issuer that publishes its keys over HTTPS.

mod endpoint;
mod endpoint_cas;
mod issuers;
mod keys;
mod provider;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};
use tn_authority::callers::{
    AccountsFrom, ClaimPath, Endpoint, Issuer, IssuerSettings, KeySettings, Origin, RoleFrom,
    TokenType, Trust,
};
use tn_authority::domain::Role;
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use crate::support::World;
use crate::support::service::{Answer, Api};

pub const ISSUER: &str = "https://login.example/realms/carrier";
pub const AUDIENCE: &str = "https://authority.example";

/// A key of an issuer.
pub struct Key {
    pub kid: String,
    pub algorithm: Algorithm,
    pub private: PKey<Private>,
}

impl Key {
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let curve = |nid| {
            let group = EcGroup::from_curve_name(nid).expect("a curve");
            PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
        };
        let private = match algorithm {
            Algorithm::Es256 => curve(Nid::X9_62_PRIME256V1),
            Algorithm::Es384 => curve(Nid::SECP384R1),
            Algorithm::Rs256 | Algorithm::Ps256 => rsa(2048),
            Algorithm::EdDsa => PKey::generate_ed25519().expect("a key"),
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            private,
        }
    }

    /// The public part, as the issuer publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = public_jwk(&self.private);
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm.as_str(), "typ": "at+jwt", "kid": self.kid })
    }

    /// A token with this header and these claims, both as texts that need not be JSON.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    fn signature(&self, text: &[u8]) -> Vec<u8> {
        let sha = |digest| Signer::new(digest, &self.private).expect("a signer");
        let once = |mut signer: Signer<'_>| signer.sign_oneshot_to_vec(text).expect("signed");
        let fixed = |digest, length: i32| {
            let der = once(sha(digest));
            let signature = EcdsaSig::from_der(&der).expect("a signature");
            let number = |n: &openssl::bn::BigNumRef| n.to_vec_padded(length).expect("a number");
            [number(signature.r()), number(signature.s())].concat()
        };
        match self.algorithm {
            Algorithm::Es256 => fixed(MessageDigest::sha256(), 32),
            Algorithm::Es384 => fixed(MessageDigest::sha384(), 48),
            Algorithm::Rs256 => once(sha(MessageDigest::sha256())),
            Algorithm::Ps256 => {
                let mut signer = sha(MessageDigest::sha256());
                signer.set_rsa_padding(Padding::PKCS1_PSS).expect("PSS");
                signer
                    .set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)
                    .expect("PSS");
                once(signer)
            }
            Algorithm::EdDsa => once(Signer::new_without_digest(&self.private).expect("a signer")),
        }
    }
}

pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key")
}

/// The members that every JWK of the key has.
pub fn public_jwk(key: &PKey<Private>) -> Value {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    if let Ok(rsa) = key.rsa() {
        return json!({ "kty": "RSA", "n": text(&rsa.n().to_vec()), "e": text(&rsa.e().to_vec()) });
    }
    let Ok(ec) = key.ec_key() else {
        let x = key.raw_public_key().expect("a key");
        return json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&x) });
    };
    let (crv, length) = match ec.group().curve_name() {
        Some(Nid::SECP384R1) => ("P-384", 48),
        _ => ("P-256", 32),
    };
    let number = || openssl::bn::BigNum::new().expect("a number");
    let (mut x, mut y, mut context) = (number(), number(), BigNumContext::new().expect("one"));
    let point = ec.public_key();
    point
        .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
        .expect("a point");
    let padded = |n: &openssl::bn::BigNum| text(&n.to_vec_padded(length).expect("a number"));
    json!({ "kty": "EC", "crv": crv, "x": padded(&x), "y": padded(&y) })
}

pub fn key_set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// How the tokens of the issuer are taken: their role is in `roles`, their accounts in `tn_accounts`.
pub fn settings() -> IssuerSettings {
    let roles = Role::ALL.map(|role| (format!("tn-{role}"), role));
    IssuerSettings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        audience_claim: ClaimPath("aud".to_owned()),
        algorithms: Algorithm::ALL.to_vec(),
        token_type: TokenType::Typ("at+jwt".to_owned()),
        required_claims: Vec::new(),
        leeway: 30,
        max_lifetime: 86_400,
        max_token_bytes: 8_192,
        role: RoleFrom::ClaimPath(ClaimPath("roles".to_owned()), roles.into()),
        accounts: AccountsFrom::ClaimPath(ClaimPath("tn_accounts".to_owned())),
    }
}

pub fn key_settings(origin: Origin) -> KeySettings {
    KeySettings {
        name: "corporate".to_owned(),
        origin,
        algorithms: Algorithm::ALL.to_vec(),
        refetch_interval: 30,
        max_age: 600,
        max_stale: 3_600,
    }
}

/// Trusts the issuer, whose keys are in a file of the world's folder.
pub fn from_file(world: &World, settings: IssuerSettings, keys: &Value) -> Trust {
    let path = world.dir.path().join("issuer.jwks.json");
    std::fs::write(&path, keys.to_string()).expect("a file");
    trusting(world, settings, Origin::File(path))
}

/// Trusts the issuer, whose keys are behind an endpoint that the world's CA vouches for.
pub fn from_endpoint(world: &World, settings: IssuerSettings, url: &str) -> Trust {
    let root = world.ca.certificate_pem().expect("a root");
    let ca_file = world.dir.path().join("issuer-ca.pem");
    std::fs::write(&ca_file, root).expect("a file");
    let endpoint = Endpoint::new(url, Some(ca_file), Duration::from_secs(3)).expect("a URL");
    trusting(world, settings, Origin::Https(endpoint))
}

fn trusting(world: &World, settings: IssuerSettings, origin: Origin) -> Trust {
    let (clock, metrics) = (world.clock.clone(), Arc::clone(&world.metrics));
    let issuer = Issuer::new(settings, key_settings(origin), clock, metrics);
    Trust {
        issuers: vec![issuer.expect("an issuer")],
        ..Trust::default()
    }
}

/// Claims of a caller with role `account` for `acme`, in force now for an hour.
pub fn claims(world: &World) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "5f7c@clients", "client_id": "5f7c", "jti": "1",
        "iat": world.now().timestamp(), "exp": world.in_seconds(3600).timestamp(),
        "roles": ["offline_access", "tn-account"], "tn_accounts": "acme",
    })
}

/// The token proves nobody, for this reason and to the one answer for all.
#[track_caller]
pub fn refused(api: &Api, token: &str, reason: &str) {
    let name = format!("unproven_total{{proof=\"access-token\",reason=\"{reason}\"}}");
    let before = api.world.count(&name);
    get(api, token).problem(403, "forbidden");
    assert_eq!(
        api.world.count(&name),
        before + 1,
        "not {reason}:\n{}",
        unproven(api)
    );
}

/// The key may be newer than those that are loaded: the client shall retry when they can be loaded again.
#[track_caller]
pub fn not_loaded(api: &Api, token: &str, seconds: u32) {
    let name = "unproven_total{proof=\"access-token\",reason=\"key-not-loaded\"}";
    let before = api.world.count(name);
    let answer = get(api, token);
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some(&*seconds.to_string()));
    assert_eq!(api.world.count(name), before + 1, "{}", unproven(api));
}

/// What a caller of any role may ask, as far as its accounts go.
pub fn get(api: &Api, token: &str) -> Answer {
    let asked = crate::support::service::asking(&["one:12125551001"]);
    api.post(token, "/at/account/acme/token", &asked)
}

fn unproven(api: &Api) -> String {
    let text = api.world.metrics.render().expect("metrics");
    let lines = text.lines().filter(|line| line.contains("unproven_total{"));
    lines.collect::<Vec<_>>().join("\n")
}
