//! Whom the verifier trusts: `x5u`, `x5c`, chains and trust lists.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde_json::json;
use tn_authority::verifier::{StepOutcome, TrustList, verify};

use crate::support::tokens::*;

#[test]
fn a_key_that_the_token_brings_is_not_believed() {
    let key = stranger();
    let header = HEADER.replace(
        '}',
        r#","jwk":{"kty":"EC"},"jku":"https://authority.example.org/cert"}"#,
    );
    let token = token_of(&key, &header, payload().to_string());
    refused_at(
        &[4],
        &verify(&token, &expected(), at()),
        "does not verify with the trusted key",
    );
}

#[test]
fn an_x5u_is_https_and_known() {
    for (x5u, word) in [
        ("http://authority.example.org/cert", "not an https URL"),
        ("HTTPS://authority.example.org/cert", "not an https URL"),
        ("https://", "not an https URL"),
        ("https:///cert", "not an https URL"),
        ("https://a@authority.example.org/cert", "not an https URL"),
        ("https://authority.example.org/cert#1", "not an https URL"),
        ("https://authority.example.org/ce rt", "not an https URL"),
        ("file:///etc/passwd", "not an https URL"),
        ("", "not an https URL"),
        (
            "https://authority.example.org/cert/",
            "which is not fetched",
        ),
        ("https://authority.example.org/CERT", "which is not fetched"),
        (
            "https://authority.example.org:443/cert",
            "which is not fetched",
        ),
    ] {
        let header = json!({ "alg": "ES256", "x5u": x5u }).to_string();
        let token = token_of(&authority(), &header, payload().to_string());
        refused_at(&[2, 4], &verify(&token, &expected(), at()), word);
    }
    let kinds = [json!(null), json!(1), json!([URL])];
    for x5u in kinds {
        let header = json!({ "alg": "ES256", "x5u": x5u }).to_string();
        let token = token_of(&authority(), &header, payload().to_string());
        refused_at(&[2, 4], &verify(&token, &expected(), at()), "not a string");
    }
    let bare = token_of(&authority(), r#"{"alg":"ES256"}"#, payload().to_string());
    refused_at(&[4], &verify(&bare, &expected(), at()), "neither");
    assert!(
        TrustList::default()
            .publish_pem("http://a.example/", &pem(&[certificate()]))
            .is_err()
    );
    assert!(TrustList::default().trust_pem("").is_err());
}

#[test]
fn a_pinned_or_listed_certificate_is_an_anchor_and_its_dates_are_not_asked() {
    let key = authority();
    let old = Made {
        days: (-900, -800),
        ..Made::new("old", &key)
    };
    let old = old.make();
    let mut both = pinned(&[&old]);
    both.trust_pem(&pem(&[&old])).expect("a certificate");
    let good = token(&payload());
    // Pinned; listed and published; listed and known by its signature.
    for trust in [pinned(&[&old]), both, listed(&[&old])] {
        let report = verify(&good, &expecting(trust), at());
        assert!(report.accepted(), "{report}");
        assert!(
            report
                .to_string()
                .contains("validity period was not checked"),
            "{report}"
        );
    }
    // With a trust list, what is published alone is not enough.
    let mut other = pinned(&[&old]);
    other
        .trust_pem(&pem(&[&Made::new("other", &stranger()).make()]))
        .expect("a certificate");
    refused_at(
        &[2, 4],
        &verify(&good, &expecting(other), at()),
        "does not lead to the trust list",
    );
    refused_at(
        &[2, 4],
        &verify(&good, &expecting(TrustList::default()), at()),
        "which is not fetched",
    );
}

#[test]
fn a_key_that_cannot_be_an_authoritys_is_refused() {
    let p384 = ec_key(Nid::SECP384R1);
    let secp256k1 = ec_key(Nid::SECP256K1);
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).expect("a key")).expect("a key");
    let good = token(&payload());
    for (key, word) in [
        (&p384, "EC P-384"),
        (&secp256k1, "another curve"),
        (&rsa, "RSA"),
    ] {
        let trust = pinned(&[&Made::new("other", key).make()]);
        refused_at(&[2, 4], &verify(&good, &expecting(trust), at()), word);
    }
    let key = authority();
    let with_usage = |signs| Made {
        signs: Some(signs),
        ..Made::new("usage", &key)
    };
    assert!(verify(&good, &expecting(pinned(&[&with_usage(true).make()])), at()).accepted());
    refused_at(
        &[2, 4],
        &verify(
            &good,
            &expecting(pinned(&[&with_usage(false).make()])),
            at(),
        ),
        "digitalSignature",
    );
    refused_at(
        &[2, 4],
        &verify(
            &good,
            &expecting(listed(&[&with_usage(false).make()])),
            at(),
        ),
        "which is not fetched",
    );
}

#[test]
fn a_chain_leads_to_the_trust_list_at_the_time_of_the_check() {
    let (root_key, middle_key, key) = (stranger(), stranger(), authority());
    let root = Made {
        ca: true,
        days: (-100, 100),
        ..Made::new("root", &root_key)
    }
    .make();
    let middle = Made {
        ca: true,
        issuer: Some((&root, &root_key)),
        ..Made::new("middle", &middle_key)
    }
    .make();
    let leaf = |days| {
        Made {
            issuer: Some((&middle, &middle_key)),
            days,
            ..Made::new("leaf", &key)
        }
        .make()
    };
    let good = token(&payload());
    let check = |chain: &[&X509], list: &[&X509]| {
        let mut trust = pinned(chain);
        trust.trust_pem(&pem(list)).expect("certificates");
        verify(&good, &expecting(trust), at())
    };

    let leaf_now = leaf((-1, 1));
    for list in [&[&root][..], &[&middle], &[&leaf_now], &[&middle, &root]] {
        let report = check(&[&leaf_now, &middle], list);
        assert!(report.accepted(), "{report}");
    }
    refused_at(&[2, 4], &check(&[&leaf_now], &[&root]), "does not lead");
    for (days, word) in [((-3, -2), "expired"), ((1, 2), "not yet valid")] {
        refused_at(&[2, 4], &check(&[&leaf(days), &middle], &[&root]), word);
    }
    // Another root of the same name, and a leaf that plays the CA.
    let false_key = stranger();
    let false_root = Made {
        ca: true,
        ..Made::new("root", &false_key)
    }
    .make();
    refused_at(
        &[2, 4],
        &check(&[&leaf_now, &middle], &[&false_root]),
        "does not lead",
    );
    let no_ca = Made {
        issuer: Some((&root, &root_key)),
        ..Made::new("middle", &middle_key)
    }
    .make();
    refused_at(&[2, 4], &check(&[&leaf_now, &no_ca], &[&root]), "CA");
}

fn with_x5c(chain: &[&X509], x5u: bool) -> String {
    let der = chain
        .iter()
        .map(|x509| STANDARD.encode(x509.to_der().expect("DER")));
    let mut header = json!({ "alg": "ES256", "x5c": der.collect::<Vec<_>>() });
    if x5u {
        header["x5u"] = json!(URL);
    }
    token_of(&authority(), &header.to_string(), payload().to_string())
}

#[test]
fn an_x5c_leads_to_the_trust_list() {
    let (root_key, key) = (stranger(), authority());
    let root = Made {
        ca: true,
        ..Made::new("root", &root_key)
    }
    .make();
    let leaf = Made {
        issuer: Some((&root, &root_key)),
        ..Made::new("leaf", &key)
    }
    .make();
    for list in [&root, &leaf] {
        let report = verify(
            &with_x5c(&[&leaf], false),
            &expecting(listed(&[list])),
            at(),
        );
        assert!(report.accepted(), "{report}");
        assert_eq!(outcome(&report, 2), StepOutcome::Skipped);
    }
    let itself = with_x5c(&[&leaf, &root], false);
    refused_at(
        &[3, 4],
        &verify(&itself, &expecting(TrustList::default()), at()),
        "no trust list",
    );
    refused_at(
        &[3, 4],
        &verify(&itself, &expecting(listed(&[certificate()])), at()),
        "does not lead",
    );
    // What was handed in for an `x5u` says nothing of a token without it.
    refused_at(
        &[3, 4],
        &verify(&itself, &expecting(pinned(&[&leaf])), at()),
        "no trust list",
    );
    // The chain is of the trust list, the signature of another key.
    let others = Made {
        issuer: Some((&root, &root_key)),
        ..Made::new("other", &root_key)
    }
    .make();
    refused_at(
        &[4],
        &verify(
            &with_x5c(&[&others], false),
            &expecting(listed(&[&root])),
            at(),
        ),
        "does not verify with the trusted key",
    );

    let der = leaf.to_der().expect("DER");
    for (x5c, word) in [
        (json!([]), "array"),
        (json!("x"), "array"),
        (json!([1]), "array"),
        (json!(vec![STANDARD.encode(&der); 11]), "array"),
        // Wrong for any length of the DER, which varies with the signature.
        (json!([STANDARD.encode(&der) + "="]), "padded base64"),
        (
            json!([STANDARD.encode(&der[..1]).replace('=', "")]),
            "padded base64",
        ),
        (
            json!([STANDARD.encode(&der).replacen('M', "-", 1)]),
            "padded base64",
        ),
        (
            json!([STANDARD.encode(&der).replacen('M', "M\n", 1)]),
            "padded base64",
        ),
        (
            json!([STANDARD.encode([&der[..], &[0]].concat())]),
            "certificate 1",
        ),
        (json!([STANDARD.encode(&der), "AAAA"]), "certificate 2"),
    ] {
        let header = json!({ "alg": "ES256", "x5c": x5c }).to_string();
        let token = token_of(&key, &header, payload().to_string());
        refused_at(
            &[3, 4],
            &verify(&token, &expecting(listed(&[&root])), at()),
            word,
        );
    }
}

#[test]
fn an_x5u_and_an_x5c_agree() {
    let both = with_x5c(&[certificate()], true);
    assert!(verify(&both, &expected(), at()).accepted());
    // The same key in another certificate of the trust list is the same signer.
    let again = Made::new("again", &authority()).make();
    let mut trust = pinned(&[certificate()]);
    trust
        .trust_pem(&pem(&[certificate(), &again]))
        .expect("certificates");
    assert!(verify(&with_x5c(&[&again], true), &expecting(trust), at()).accepted());

    let other = Made::new("other", &stranger()).make();
    refused_at(
        &[3, 4],
        &verify(&with_x5c(&[&other], true), &expected(), at()),
        "no trust list",
    );
    let mut trust = pinned(&[certificate()]);
    trust
        .trust_pem(&pem(&[certificate(), &other]))
        .expect("certificates");
    refused_at(
        &[4],
        &verify(&with_x5c(&[&other], true), &expecting(trust), at()),
        "different keys",
    );
}
