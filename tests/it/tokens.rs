//! Tokens and certificates of every kind, made with OpenSSL alone.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::x509::extension::{BasicConstraints, KeyUsage};
use openssl::x509::{X509, X509Extension, X509Name};
use serde_json::{Value, json};
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::{Dialect, Fingerprint, Time, TkType};
use tn_authority::verifier::{Expectations, StepOutcome, TrustList, VerificationReport};

use crate::fixtures::{self, items};

pub const URL: &str = "https://authority.example.org/cert";
pub const HEADER: &str =
    r#"{"typ":"JWT","alg":"ES256","x5u":"https://authority.example.org/cert"}"#;
/// `exp` of the vectors: 2022-01-01.
pub const EXP: i64 = 1_640_995_200;
/// The day before.
pub const AT: i64 = EXP - 86_400;

pub fn at() -> Time {
    from_unix(AT)
}

/// RFC 7515 A.3.
pub fn authority() -> PKey<Private> {
    let d = URL_SAFE_NO_PAD
        .decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")
        .expect("base64url");
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let d = BigNum::from_slice(&d).expect("a number");
    let mut public = EcPoint::new(&group).expect("a point");
    let mut context = BigNumContext::new_secure().expect("a context");
    public
        .mul_generator2(&group, &d, &mut context)
        .expect("a public key");
    let key = EcKey::from_private_components(&group, &d, &public).expect("a key");
    PKey::from_ec_key(key).expect("a key")
}

pub fn ec_key(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

pub fn stranger() -> PKey<Private> {
    ec_key(Nid::X9_62_PRIME256V1)
}

/// What a certificate is to be.
pub struct Made<'a> {
    pub name: &'a str,
    pub key: &'a PKey<Private>,
    /// Self-signed without an issuer.
    pub issuer: Option<(&'a X509, &'a PKey<Private>)>,
    pub ca: bool,
    pub signs: Option<bool>,
    pub days: (i64, i64),
    /// The DER of its TNAuthList.
    pub tn_auth_list: Option<&'a [u8]>,
}

impl<'a> Made<'a> {
    pub fn new(name: &'a str, key: &'a PKey<Private>) -> Self {
        Self {
            name,
            key,
            issuer: None,
            ca: false,
            signs: None,
            days: (-10, 10),
            tn_auth_list: None,
        }
    }

    pub fn make(&self) -> X509 {
        let mut name = X509Name::builder().expect("a name");
        name.append_entry_by_text("CN", self.name).expect("a name");
        let name = name.build();
        let mut x509 = X509::builder().expect("a certificate");
        x509.set_version(2).expect("v3");
        let serial = BigNum::from_u32(7)
            .and_then(|n| n.to_asn1_integer())
            .expect("a serial");
        x509.set_serial_number(&serial).expect("a serial");
        x509.set_subject_name(&name).expect("a name");
        x509.set_issuer_name(
            self.issuer
                .map_or(&*name, |(issuer, _)| issuer.subject_name()),
        )
        .expect("a name");
        x509.set_pubkey(self.key).expect("a key");
        let day = |n: i64| Asn1Time::from_unix(AT + n * 86_400).expect("a time");
        x509.set_not_before(&day(self.days.0)).expect("a time");
        x509.set_not_after(&day(self.days.1)).expect("a time");
        if self.ca {
            let constraints = BasicConstraints::new()
                .critical()
                .ca()
                .build()
                .expect("constraints");
            x509.append_extension(constraints).expect("constraints");
        }
        if let Some(signs) = self.signs {
            let mut usage = KeyUsage::new();
            let usage = if signs {
                usage.digital_signature()
            } else {
                usage.key_agreement()
            };
            x509.append_extension(usage.build().expect("a usage"))
                .expect("a usage");
        }
        if let Some(der) = self.tn_auth_list {
            let id = Asn1Object::from_str("1.3.6.1.5.5.7.1.26").expect("an identifier");
            let der = Asn1OctetString::new_from_bytes(der).expect("octets");
            let list = X509Extension::new_from_der(&id, false, &der).expect("an extension");
            x509.append_extension(list).expect("an extension");
        }
        let signer = self.issuer.map_or(self.key, |(_, key)| key);
        x509.sign(signer, MessageDigest::sha256())
            .expect("a signature");
        x509.build()
    }
}

pub fn pem(chain: &[&X509]) -> String {
    let pem = chain
        .iter()
        .map(|x509| String::from_utf8(x509.to_pem().expect("PEM")).expect("UTF-8"));
    pem.collect()
}

/// The certificate of the authority's key that the tests trust.
pub fn certificate() -> &'static X509 {
    static CERTIFICATE: OnceLock<X509> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Made::new("authority", &authority()).make())
}

pub fn pinned(chain: &[&X509]) -> TrustList {
    let mut trust = TrustList::default();
    trust.publish_pem(URL, &pem(chain)).expect("a chain");
    trust
}

pub fn listed(certificates: &[&X509]) -> TrustList {
    let mut trust = TrustList::default();
    trust.trust_pem(&pem(certificates)).expect("certificates");
    trust
}

pub fn account_key() -> Fingerprint {
    let vectors = fixtures::json("vectors/authority_tokens.json");
    let key = items(&vectors["account_keys"])
        .iter()
        .find(|key| key["source"] == "RFC 7517 A.1");
    Fingerprint::of_jwk(&key.expect("A.1")["jwk"].to_string()).expect("a JWK")
}

pub fn expecting(trust: TrustList) -> Expectations {
    Expectations {
        trust,
        fingerprint: account_key(),
        tktype: TkType::TnAuthList,
        dialect: Dialect::Strict,
        identifier: None,
        ca: None,
        audience: None,
    }
}

pub fn expected() -> Expectations {
    expecting(pinned(&[certificate()]))
}

pub fn payload() -> Value {
    json!({
        "iss": "https://authority.example.org",
        "exp": EXP,
        "jti": "id6098364921",
        "atc": {
            "tktype": "TNAuthList",
            "tkvalue": "MAigBhYEMTIzNA",
            "ca": false,
            "fingerprint": account_key(),
        },
    })
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn signature(key: &PKey<Private>, signed: &str) -> EcdsaSig {
    let key = key.ec_key().expect("an EC key");
    EcdsaSig::sign(&sha256(signed.as_bytes()), &key).expect("a signature")
}

/// Signs any header and payload.
pub fn token_of(key: &PKey<Private>, header: &str, payload: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = signature(key, &signed);
    let mut octets = signature.r().to_vec_padded(32).expect("R");
    octets.extend(signature.s().to_vec_padded(32).expect("S"));
    format!("{signed}.{}", b64(octets))
}

pub fn token(payload: &Value) -> String {
    token_of(&authority(), HEADER, payload.to_string())
}

/// A payload with one value changed, or taken away.
pub fn changed(path: &str, value: Option<Value>) -> Value {
    let mut payload = payload();
    let (object, name) = match path.split_once('.') {
        Some((object, name)) => (&mut payload[object], name),
        None => (&mut payload, path),
    };
    let object = object.as_object_mut().expect("an object");
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
    payload
}

pub fn failures(report: &VerificationReport) -> Vec<usize> {
    assert_eq!(
        report.accepted(),
        report.failures().next().is_none(),
        "{report}"
    );
    report.failures().map(|step| step.number).collect()
}

pub fn outcome(report: &VerificationReport, number: usize) -> StepOutcome {
    let step = report.steps().iter().find(|step| step.number == number);
    step.expect("a step").outcome
}

#[track_caller]
pub fn refused_at(numbers: &[usize], report: &VerificationReport, word: &str) {
    assert_eq!(failures(report), numbers, "{report}");
    assert!(
        report.failures().any(|step| step.detail.contains(word)),
        "`{word}` is not in:\n{report}"
    );
    assert_eq!(
        report.to_string().lines().count(),
        report.steps().len() + 1,
        "{report}"
    );
}
