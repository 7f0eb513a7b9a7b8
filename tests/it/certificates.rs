//! Real certificates of the STIR/SHAKEN ecosystem, read by the domain.

use chrono::TimeDelta;
use openssl::sha::sha256;
use serde_json::{Value, json};
use tn_authority::domain::signing::certificate::{
    Certificate, CertificateError, ExtensionError, KeyKind, SigningFault,
};

use crate::fixtures::{self, hex, items, member};

/// The manifest's certificates of one folder.
fn certificates(folder: &str) -> Vec<(Value, Certificate)> {
    let manifest = fixtures::json("certs/manifest.json");
    let of_folder = items(&manifest)
        .iter()
        .filter(|entry| member(entry, "file").starts_with(folder));
    let read = |entry: &Value| {
        let file = member(entry, "file");
        let chain =
            Certificate::chain_from_pem(&fixtures::text(&format!("certs/{file}"))).expect(file);
        (entry.clone(), chain[0].clone())
    };
    of_folder.map(read).collect()
}

#[test]
fn every_certificate_keeps_its_bytes_and_its_dates() {
    for (entry, certificate) in certificates("") {
        let file = member(&entry, "file");
        assert_eq!(
            sha256(certificate.as_der())[..],
            hex(member(&entry, "sha256")),
            "{file}"
        );
        let date = |time: chrono::DateTime<chrono::Utc>| time.format("%F %T+00:00").to_string();
        assert_eq!(
            date(certificate.not_before()),
            member(&entry, "not_before"),
            "{file}"
        );
        assert_eq!(
            date(certificate.not_after()),
            member(&entry, "not_after"),
            "{file}"
        );
        let is_p256 = member(&entry, "key") == "EC-secp256r1";
        assert_eq!(certificate.key_kind() == KeyKind::EcP256, is_p256, "{file}");
    }
}

#[test]
fn carriers_certificates_name_their_code_and_can_sign() {
    let mut carriers = certificates("ok/");
    carriers.extend(certificates("odd/"));
    assert_eq!(carriers.len(), 28);
    for (entry, certificate) in carriers {
        let file = member(&entry, "file");
        let list = certificate.tn_auth_list().expect(file);
        assert_eq!(list.as_der(), hex(member(&entry, "tn_raw")), "{file}");
        let spcs: Vec<Value> = list.spcs().map(|spc| json!(["spc", spc])).collect();
        assert_eq!(json!(spcs), entry["tn"], "{file}");

        let (start, end) = (certificate.not_before(), certificate.not_after());
        for at in [start, end] {
            assert_eq!(certificate.signing_faults(at), [], "{file}");
        }
        let (before, after) = (start - TimeDelta::seconds(1), end + TimeDelta::seconds(1));
        assert_eq!(
            certificate.signing_faults(before),
            [SigningFault::NotYetValid(start)],
            "{file}"
        );
        assert_eq!(
            certificate.signing_faults(after),
            [SigningFault::Expired(end)],
            "{file}"
        );
        assert!(!certificate.is_ca(), "{file}");
    }
}

#[test]
fn a_malformed_list_is_refused_for_what_is_wrong_with_it() {
    let bad = certificates("bad_tnauthlist/");
    assert_eq!(bad.len(), 5);
    for (entry, certificate) in bad {
        let file = member(&entry, "file");
        let words = if member(&entry, "why") == "trunc body" {
            ["malformed", "past the end"]
        } else {
            ["EXPLICIT tag", "PrintableString"]
        };
        let faults = certificate.signing_faults(certificate.not_before());
        assert!(
            matches!(
                faults[..],
                [SigningFault::TnAuthList(ExtensionError::Malformed(_))]
            ),
            "{file}: {faults:?}"
        );
        for word in words {
            assert!(
                faults[0].to_string().contains(word),
                "{file}: {}",
                faults[0]
            );
        }
    }
}

#[test]
fn certificates_of_cas_sign_no_tokens() {
    let cas = certificates("ca/");
    assert_eq!(cas.len(), 56);
    for (entry, certificate) in cas {
        let file = member(&entry, "file");
        // Two of them are of nobody but themselves: version 1, or without basicConstraints.
        let stray = [
            "ca/VOSLogic_com_3dd37becdcfe.pem",
            "ca/VoiceCarrier_1415b6414cfb.pem",
        ]
        .contains(&file);
        assert_eq!(certificate.is_ca(), !stray, "{file}");
        let faults = certificate.signing_faults(certificate.not_before());
        assert!(
            faults.contains(&SigningFault::TnAuthList(ExtensionError::Absent)),
            "{file}: {faults:?}"
        );
        let wrong_key = faults
            .iter()
            .any(|fault| matches!(fault, SigningFault::Key(_)));
        assert_eq!(wrong_key, member(&entry, "key") != "EC-secp256r1", "{file}");
    }
}

#[test]
fn what_is_no_certificate_is_refused() {
    let good = fixtures::text("vectors/housley_rfc8226_cert.pem");
    assert!(Certificate::chain_from_pem(&good).is_ok());
    for none in ["", "-----BEGIN PRIVATE KEY-----", "certificate"] {
        assert_eq!(
            Certificate::chain_from_pem(none),
            Err(CertificateError::None),
            "{none:?}"
        );
    }
    let half = &good[..good.len() / 2];
    let twice = format!("{good}{half}");
    for (wrong, number) in [(half, 1), (twice.as_str(), 2)] {
        let error = Certificate::chain_from_pem(wrong).expect_err("half a certificate");
        assert!(
            error
                .to_string()
                .starts_with(&format!("certificate {number} ")),
            "{error}"
        );
    }
    let (head, body) = good.split_at(good.find("MII").expect("base64") + 40);
    assert!(Certificate::chain_from_pem(&format!("{head}!{body}")).is_err());
}
