//! Tests of signed tokens, which only openssl verifies. The public interface is tested in
//! `tests/it/signer/`.

use std::future::Future as _;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::sha::sha256;
use openssl::x509::X509;
use uuid::Uuid;

use super::development::{DevelopmentCa, SpcCertificate};
use super::*;
use crate::domain::clock::from_unix;
use crate::domain::tokens::grant::Jti;
use crate::domain::{Dialect, Fingerprint, TnAuthList};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn signer() -> Signer {
    let validity = from_unix(NOW - DAY)..=from_unix(NOW + 7 * DAY);
    let ca = DevelopmentCa::new("Development Root", validity.clone()).expect("a CA");
    let spc: Spc = "1234".parse().expect("a code");
    let wanted = SpcCertificate::new(spc.clone(), validity).expect("a list");
    let issued = ca.issue_spc_certificate(&wanted).expect("a certificate");
    let key = FileKey::from_pem(issued.key_pem.as_bytes()).expect("a key");
    let chain = Chain::from_pem(&issued.chain_pem).expect("a chain");
    Signer::new(
        Arc::new(key),
        chain,
        "https://authority.example.org",
        false,
        &[spc],
        from_unix(NOW),
    )
    .expect("a signer")
}

/// A key in a file signs synchronously, so the future is ready at the first poll.
fn sign(signer: &Signer, grant: Grant) -> Result<String, SignerError> {
    let grant = Recorded::after_commit(grant);
    let signing = std::pin::pin!(signer.sign(&grant));
    match signing.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(token) => token,
        Poll::Pending => panic!("a key in a file was not ready"),
    }
}

fn grant(signer: &Signer) -> Grant {
    Grant {
        jti: Jti::from_text("id6098364921"),
        account: "acme".parse().expect("an id"),
        tkvalue: TnAuthList::from_tkvalue("MA-iDRYLMTIxMjU1NTE4MjQ")
            .expect("a list")
            .into(),
        dialect: Dialect::Strict,
        ca: false,
        fingerprint: Fingerprint::from([0xab; 32]),
        issued_at: from_unix(NOW),
        expires_at: from_unix(NOW + 3600),
        chain: signer.chain().name().to_owned(),
        iss: None,
        caller: "key".to_owned(),
        request_id: Uuid::nil(),
        justified_by: Vec::new(),
        policies: crate::domain::decision::policy_trace::PolicyTrace::default(),
        withdrawal: None,
    }
}

fn part(token: &str, index: usize) -> Vec<u8> {
    let text = token.split('.').nth(index).expect("three parts");
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[test]
fn a_token_contains_exactly_the_grant() {
    let signer = signer();
    let token = sign(&signer, grant(&signer)).expect("a token");
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(
        String::from_utf8(part(&token, 0)).expect("text"),
        format!(
            r#"{{"alg":"ES256","typ":"JWT","x5u":"https://authority.example.org/certs/{}.pem"}}"#,
            signer.chain().name()
        )
    );
    let fingerprint = "AB:".repeat(31) + "AB";
    assert_eq!(
        String::from_utf8(part(&token, 1)).expect("text"),
        format!(
            r#"{{"iss":"https://authority.example.org","exp":1800003600,"iat":1800000000,"jti":"id6098364921","atc":{{"tktype":"TNAuthList","tkvalue":"MA-iDRYLMTIxMjU1NTE4MjQ","ca":false,"fingerprint":"SHA256 {fingerprint}"}}}}"#
        )
    );
}

#[test]
fn openssl_verifies_tokens_with_the_published_certificate() {
    let signer = signer();
    let pem = signer.chain().pem();
    let leaf = X509::stack_from_pem(&pem).expect("a chain").remove(0);
    let key = leaf
        .public_key()
        .and_then(|key| key.ec_key())
        .expect("an EC key");
    // Enough rounds for a few short values of R or S, which test the padding.
    for n in 0..600 {
        let mut grant = grant(&signer);
        grant.jti = Jti::from_text(&n.to_string());
        let token = sign(&signer, grant).expect("a token");
        let (message, _) = token.rsplit_once('.').expect("a signature");
        let signature = part(&token, 2);
        assert_eq!(signature.len(), 64);
        let (r, s) = signature.split_at(32);
        let number = |bytes| BigNum::from_slice(bytes).expect("a number");
        let signature =
            EcdsaSig::from_private_components(number(r), number(s)).expect("a signature");
        assert!(
            signature
                .verify(&sha256(message.as_bytes()), &key)
                .expect("checked")
        );
        assert!(
            !signature
                .verify(&sha256(b"another message"), &key)
                .expect("checked")
        );
    }
}

#[test]
fn a_grant_for_another_chain_is_not_signed() {
    let (signer, other) = (signer(), signer());
    let error = sign(&signer, grant(&other)).expect_err("signed");
    let message = format!(
        "the grant was made for the chain `{}`, but this signer has `{}`",
        other.chain().name(),
        signer.chain().name()
    );
    assert_eq!(error.to_string(), message);
}

#[test]
fn no_token_outlives_its_chain() {
    let signer = signer();
    let mut grant = grant(&signer);
    grant.expires_at = signer.authority_ends();
    assert!(sign(&signer, grant.clone()).is_ok());
    grant.expires_at = from_unix(signer.authority_ends().timestamp() + 1);
    let error = sign(&signer, grant).expect_err("signed");
    assert!(
        error
            .to_string()
            .starts_with("the grant expires at 2027-01-22T08:00:01Z, after"),
        "{error}"
    );
}
