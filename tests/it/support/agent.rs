//! An agent that answers for an enterprise: it signs the nonce that a number got with an ACME account key. Made with
//! openssl alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::sha::sha256;
use serde_json::{Value, json};
use tn_authority::domain::Fingerprint;

pub struct Agent {
    key: EcKey<Private>,
    pub jwk: Value,
}

/// An answer before it is signed, so that anything can be changed.
pub struct Unsigned {
    pub protected: Value,
    pub payload: Value,
}

impl Agent {
    pub fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key = EcKey::generate(&group).expect("a key");
        let [mut x, mut y] = [BigNum::new(), BigNum::new()].map(|number| number.expect("a number"));
        let mut context = BigNumContext::new().expect("a context");
        key.public_key()
            .affine_coordinates(&group, &mut x, &mut y, &mut context)
            .expect("coordinates");
        let [x, y] = [x, y].map(|n| URL_SAFE_NO_PAD.encode(n.to_vec_padded(32).expect("octets")));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        Self { key, jwk }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_jwk(&self.jwk.to_string()).expect("a fingerprint")
    }

    /// What is to be signed for a URL.
    pub fn unsigned(&self, url: &str, nonce: &str) -> Unsigned {
        Unsigned {
            protected: json!({ "alg": "ES256", "jwk": self.jwk, "typ": "control-answer+jwt", "url": url }),
            payload: json!({ "nonce": nonce }),
        }
    }

    pub fn sign(&self, answer: &Unsigned) -> Value {
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let (protected, payload) = (encoded(&answer.protected), encoded(&answer.payload));
        let digest = sha256(format!("{protected}.{payload}").as_bytes());
        let signature = EcdsaSig::sign(&digest, &self.key).expect("a signature");
        let part = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).expect("octets");
        let signature = [part(signature.r()), part(signature.s())].concat();
        json!({ "protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) })
    }

    /// The answer for a URL.
    pub fn answers(&self, url: &str, nonce: &str) -> Value {
        self.sign(&self.unsigned(url, nonce))
    }
}
