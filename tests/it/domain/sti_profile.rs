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

#[test]
fn show() {
    for (entry, certificate) in certificates() {
        let faults = certificate.profile_faults();
        let ours: BTreeSet<&str> = faults
            .iter()
            .filter_map(|f| lint(f, certificate.is_ca()))
            .collect();
        let theirs: BTreeSet<&str> = items(&entry["lints"])
            .iter()
            .map(|l| l.as_str().expect("a name"))
            .collect();
        println!(
            "{} {} {}",
            member(&entry, "file"),
            member(&entry, "not_before"),
            certificate.subject()
        );
        println!(
            "    theirs only {:?}",
            theirs.difference(&ours).collect::<Vec<_>>()
        );
        println!(
            "    ours only {:?}",
            ours.difference(&theirs).collect::<Vec<_>>()
        );
        for fault in faults
            .iter()
            .filter(|f| lint(f, certificate.is_ca()).is_none())
        {
            println!("    other: {fault}");
        }
    }
}
