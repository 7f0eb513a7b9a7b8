//! An ACME client that sends whatever a test writes, rightly signed (RFC 8555 §6).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::Private;
use openssl::sha::sha256;
use serde_json::{Value, json};
use tn_authority::acme::AccountKey;
use tn_authority::domain::Fingerprint;
use tn_authority::outgoing::{HttpReply, HttpRequest, Outgoing, Way};
use tn_authority::signer::FileKey;

use super::carrier::LIMITS;

/// An account at a CA.
pub struct RawClient {
    http: Outgoing,
    key: EcKey<Private>,
    pub fingerprint: Fingerprint,
    directory: Value,
    account: Option<String>,
}

/// An answer: its status, its JSON, and the `Location`.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub json: Value,
    pub location: String,
}

impl RawClient {
    pub fn new(directory: &str, roots: &str) -> Self {
        let (key, pem) = FileKey::generate().expect("a key");
        let mut client = Self {
            http: Outgoing::new(Some(roots), LIMITS, Way::Direct).expect("a client"),
            key: EcKey::private_key_from_pem(pem.as_bytes()).expect("a key"),
            fingerprint: AccountKey::new(key).expect("an account").fingerprint(),
            directory: Value::Null,
            account: None,
        };
        let reply = client.send(directory, HttpRequest::Get);
        client.directory = serde_json::from_slice(&reply.body).expect("JSON");
        let made = client.post(&client.at("newAccount"), "{}");
        assert_eq!(made.status, 201, "{made:?}");
        client.account = Some(made.location);
        client
    }

    /// A URL of the directory.
    pub fn at(&self, name: &str) -> String {
        self.directory[name].as_str().expect("a URL").to_owned()
    }

    /// Sends a payload as it is; the empty one is a POST-as-GET.
    pub fn post(&self, url: &str, payload: &str) -> Answer {
        let reply = self.send(&self.at("newNonce"), HttpRequest::Head);
        let nonce = reply.header("Replay-Nonce").expect("a nonce");
        let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        match &self.account {
            Some(account) => header["kid"] = json!(account),
            None => header["jwk"] = self.jwk(),
        }
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let digest = sha256(format!("{header}.{payload}").as_bytes());
        let signature = EcdsaSig::sign(&digest, &self.key).expect("a signature");
        let half = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).expect("32 bytes");
        let signature = [half(signature.r()), half(signature.s())].concat();
        let body = json!({ "protected": header, "payload": payload,
            "signature": URL_SAFE_NO_PAD.encode(signature) })
        .to_string();
        let request = HttpRequest::Post {
            media_type: "application/jose+json",
            body: body.as_bytes(),
        };
        let reply = self.send(url, request);
        Answer {
            status: reply.status,
            json: serde_json::from_slice(&reply.body).unwrap_or_default(),
            location: reply.header("Location").unwrap_or_default().to_owned(),
        }
    }

    fn send(&self, url: &str, request: HttpRequest<'_>) -> HttpReply {
        let url = url.parse().expect("a URL");
        let time = Duration::from_secs(60);
        self.http.send(&url, request, &[], time).expect("an answer")
    }

    fn jwk(&self) -> Value {
        let mut context = BigNumContext::new().expect("a context");
        let (mut x, mut y) = (
            BigNum::new().expect("a number"),
            BigNum::new().expect("a number"),
        );
        let (group, point) = (self.key.group(), self.key.public_key());
        point
            .affine_coordinates(group, &mut x, &mut y, &mut context)
            .expect("a point");
        let text =
            |number: &BigNum| URL_SAFE_NO_PAD.encode(number.to_vec_padded(32).expect("32 bytes"));
        json!({ "kty": "EC", "crv": "P-256", "x": text(&x), "y": text(&y) })
    }
}
