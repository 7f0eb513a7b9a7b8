//! Real certificates of the STIR/SHAKEN ecosystem, compared with the profile of ATIS-1000080 §6.4.1. The manifest has what
//! a linter by others has found in each of them.

use std::collections::BTreeSet;

use serde_json::Value;
use tn_authority::domain::signing::certificate::Certificate;
use tn_authority::domain::signing::profile_fault::ProfileFault as Fault;

use crate::support::fixtures::{self, items, member};

/// What the other linter calls a fault; `None` for what it does not look for.
fn lint(fault: &Fault, ca: bool) -> Option<&'static str> {
    let of = |leaf, of_ca| Some(if ca { of_ca } else { leaf });
    match fault {
        Fault::ShortSerial(_) => of("e_atis_serial_number_size", "e_atis_serial_number_size_ca"),
        Fault::SignatureAlgorithm(_) => of("", "e_atis_signature_algorithm_ca"),
        Fault::IssuerKey(_) => of("", "e_atis_subject_public_key_ca"),
        Fault::Version => Some("e_atis_version"),
        Fault::SubjectLacks("organization (`O`)") => {
            of("e_atis_subject_o_required", "e_atis_subject_o_required_ca")
        }
        Fault::SubjectLacks(_) => of("e_atis_subject_dn", "e_atis_subject_dn_ca"),
        Fault::Country(_) => of("e_atis_subject_c_iso", "e_atis_subject_c_iso_ca"),
        Fault::CommonName { .. } => Some("e_atis_subject_cn_spc"),
        Fault::CaName { lacks: "ROOT", .. } => Some("e_atis_subject_cn_root"),
        Fault::CaName { .. } => Some("e_atis_subject_cn_ca"),
        Fault::OtherExtension(_) => Some("e_atis_ext_not_specified"),
        Fault::NoKeyUsage | Fault::KeyUsageNotCritical => Some("e_atis_ext_key_usage"),
        Fault::KeyUsage => Some("e_atis_ext_key_usage_ee"),
        Fault::NoBasicConstraints | Fault::BasicConstraintsNotCritical => {
            Some("e_atis_ext_basic_constraints")
        }
        Fault::NoSubjectKey => Some("e_atis_subject_key_identifier"),
        Fault::NoAuthorityKey => of(
            "e_atis_ext_authority_key_identifier",
            "e_atis_ext_authority_key_identifier_ca",
        ),
        Fault::NoCrl => of(
            "e_atis_ext_crl_distribution",
            "e_atis_ext_crl_distribution_ca",
        ),
        Fault::NoCrlIssuer => of(
            "e_atis_ext_crl_distribution_struct",
            "e_atis_ext_crl_distribution_struct_ca",
        ),
        Fault::NoPolicy => of(
            "e_atis_ext_certificate_policies",
            "e_atis_ext_certificate_policies_ca",
        ),
        Fault::OtherPolicy(_) => of(
            "e_shaken_certificate_policies_id",
            "e_shaken_certificate_policies_id_ca",
        ),
        _ => None,
    }
}

fn certificates() -> Vec<(Value, Certificate)> {
    let manifest = fixtures::json("certs/manifest.json");
    let read = |entry: &Value| {
        let file = member(entry, "file");
        let pem = fixtures::text(&format!("certs/{file}"));
        (
            entry.clone(),
            Certificate::first_from_pem(&pem).expect(file),
        )
    };
    items(&manifest).iter().map(read).collect()
}

/// Findings of the other linter that are none here, and why.
const NOT_LOOKED_FOR: [&str; 11] = [
    // A malformed list is a reason that it cannot sign; the letters of a code are the carrier's.
    "e_atis_tn_auth_list",
    "e_atis_tn_auth_list_spc_format",
    // The policy of the United States alone, in a version that is withdrawn.
    "e_us_cp_subject_sn_shall",
    "e_atis_subject_c_us_ca",
    // An earlier wording of the rule for `SHAKEN` and the code.
    "e_atis_subject_cn",
    // The same as another finding of its own.
    "e_ext_authority_key_identifier_missing",
    "e_ext_authority_key_identifier_no_key_identifier",
    "e_atis_subject_key_identifier_size",
    "w_ext_subject_key_identifier_missing_sub_cert",
    // No software stumbles over a zero bit too many.
    "e_incorrect_ku_encoding",
    "e_atis_subject_cn_root",
];

/// Whether the other linter derives this from another fault, which is reported here.
fn follows(lint: &str, entry: &Value, certificate: &Certificate, ours: &BTreeSet<&str>) -> bool {
    let lacks = |word: &str| {
        let faults = certificate.profile_faults();
        faults.iter().any(|fault| fault.to_string().contains(word))
    };
    match lint {
        // Without a list there is no code that the name could lack.
        "e_atis_subject_cn_spc" => certificate.tn_auth_list().is_err(),
        // Without a policy there is none that could be another; other countries have others.
        "e_shaken_certificate_policies_id" | "e_shaken_certificate_policies_id_ca" => {
            lacks("no certificate policy") || !member(entry, "subject").contains("C=US")
        }
        "e_atis_subject_c_iso" | "e_atis_subject_c_iso_ca" => lacks("no country"),
        // That the extension is critical.
        "e_atis_ext_certificate_policies" | "e_atis_ext_certificate_policies_ca" => {
            !lacks("no certificate policy") && !ours.contains(lint)
        }
        // It wants a word of its own, and here it is part of one.
        "e_atis_subject_cn_ca" => certificate.subject().contains("STIRSHAKEN"),
        _ => false,
    }
}

#[test]
fn what_another_linter_finds_in_real_certificates_is_found() {
    let mut compared = 0;
    for (entry, certificate) in certificates() {
        let file = member(&entry, "file");
        let faults = certificate.profile_faults();
        let lints = faults
            .iter()
            .filter_map(|fault| lint(fault, certificate.is_ca()));
        let ours: BTreeSet<&str> = lints.collect();
        let theirs = items(&entry["lints"]).iter();
        let theirs: BTreeSet<&str> = theirs.map(|lint| lint.as_str().expect("a name")).collect();
        for found in &theirs {
            let is_ours = ours.contains(found)
                || NOT_LOOKED_FOR.contains(found)
                || follows(found, &entry, &certificate, &ours);
            assert!(is_ours, "{file}: {found}: {faults:?}");
            compared += usize::from(ours.contains(found));
        }
        // The other linter knows of no rule before the version that has it, so only new certificates are compared; it
        // does not look at the hash, nor at the key of a CA, nor always for a `cRLIssuer`.
        if member(&entry, "not_before") >= "2024-07" {
            let unknown = [
                "",
                "e_atis_ext_crl_distribution_struct",
                "e_atis_subject_public_key_ca",
            ];
            let mut more = ours.difference(&theirs);
            let more = more.find(|lint| !unknown.contains(lint) && !lint.contains("signature"));
            assert_eq!(more, None, "{file}: {faults:?}");
        }
    }
    assert!(compared > 60, "{compared}");
}
