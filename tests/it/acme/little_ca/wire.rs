//! How requests come in: HTTP, and the signatures of RFC 8555 §6.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;
use openssl::ssl::SslStream;
use serde_json::{Value, json};

use super::{EAB_KEY, Faults, Reply, Shared};

impl Shared {
    /// The payload of a request whose nonce, URL and signature are right (RFC 8555 §6).
    pub fn signed(
        &self,
        name: &str,
        body: &[u8],
        faults: &mut Faults,
    ) -> Result<Value, Box<Reply>> {
        let jws: Value = serde_json::from_slice(body).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let decoded = |value: &Value| URL_SAFE_NO_PAD.decode(text(value)).expect("base64url");
        let header: Value = serde_json::from_slice(&decoded(&jws["protected"])).expect("JSON");
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["url"], format!("{}/{name}", self.base));
        let mut state = self.state.lock();
        let known = state.nonces.remove(&text(&header["nonce"]));
        if !known || faults.refused_nonces > 0 {
            faults.refused_nonces = faults.refused_nonces.saturating_sub(1);
            return Err(Box::new(Reply::problem(400, "badNonce", "used")));
        }
        if name == "account" {
            assert!(header.get("kid").is_none());
            state.jwk = header["jwk"].clone();
        } else {
            assert!(header.get("jwk").is_none());
            assert_eq!(header["kid"], format!("{}/accounts/1", self.base));
        }
        let coordinate =
            |name: &str| BigNum::from_slice(&decoded(&state.jwk[name])).expect("a number");
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key =
            EcKey::from_public_key_affine_coordinates(&group, &coordinate("x"), &coordinate("y"));
        let message = format!("{}.{}", text(&jws["protected"]), text(&jws["payload"]));
        let signature = decoded(&jws["signature"]);
        let half = |bytes: &[u8]| BigNum::from_slice(bytes).expect("a number");
        let signature =
            EcdsaSig::from_private_components(half(&signature[..32]), half(&signature[32..]));
        let right = signature
            .expect("a signature")
            .verify(&sha256(message.as_bytes()), &key.expect("a key"));
        assert!(
            right.expect("openssl"),
            "the request is not signed by the account"
        );
        let payload = decoded(&jws["payload"]);
        Ok(if payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&payload).expect("JSON")
        })
    }
}

/// RFC 8555 §7.3.4.
pub fn is_bound(payload: &Value, jwk: &Value, url: &str) -> bool {
    let Some(binding) = payload.get("externalAccountBinding") else {
        return false;
    };
    let text = |name: &str| binding[name].as_str().expect("a text").to_owned();
    let header = URL_SAFE_NO_PAD
        .decode(text("protected"))
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    let bound = URL_SAFE_NO_PAD.decode(text("payload")).expect("base64url");
    let bound: Value = serde_json::from_slice(&bound).expect("JSON");
    let key = PKey::hmac(&EAB_KEY).expect("a key");
    let mut mac = Signer::new(MessageDigest::sha256(), &key).expect("a MAC");
    mac.update(format!("{}.{}", text("protected"), text("payload")).as_bytes())
        .expect("a MAC");
    let mac = URL_SAFE_NO_PAD.encode(mac.sign_to_vec().expect("a MAC"));
    header == json!({ "alg": "HS256", "kid": "kid-1", "url": url })
        && bound == *jwk
        && mac == text("signature")
}

/// The path and the body of a request.
pub fn read(stream: &mut SslStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}
