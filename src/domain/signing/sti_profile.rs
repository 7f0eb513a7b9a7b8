//! The profile of STI certificates: ATIS-1000080 §6.4.1, on the base of RFC 8226 and RFC 5280.
//!
//! Whether a certificate can sign at all is decided in [`super::certificate`]; this is about what
//! CAs and the verifiers of calls expect beyond that. A certificate whose TNAuthList has no service
//! provider code, such as a delegate's (ATIS-1000092), is compared with RFC 5280 and RFC 8226 only.

use der::Decode;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::CertificatePolicies;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, KeyUsage, KeyUsages,
    SubjectKeyIdentifier,
};
use x509_cert::time::Time as CertificateTime;

use super::certificate::{
    Certificate, ID_BASIC_CONSTRAINTS, ID_KEY_USAGE, ID_PE_TN_AUTH_LIST, KeyKind,
};
use super::profile_fault::ProfileFault as Fault;

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ID_SUBJECT_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const ID_CRL_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const ID_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const ID_AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
/// Extensions that are not in the profile, and that software for X.509 knows (RFC 5280 §4.2): names
/// of subject and issuer, name constraints, policy mappings and constraints, extended key usage.
const KNOWN_OTHERS: [&str; 7] = [
    "2.5.29.17",
    "2.5.29.18",
    "2.5.29.30",
    "2.5.29.33",
    "2.5.29.36",
    "2.5.29.37",
    "2.5.29.54",
];
/// The extensions of the profile.
const PROFILE: [ObjectIdentifier; 7] = [
    ID_PE_TN_AUTH_LIST,
    ID_KEY_USAGE,
    ID_BASIC_CONSTRAINTS,
    ID_SUBJECT_KEY,
    ID_AUTHORITY_KEY,
    ID_CRL_POINTS,
    ID_POLICIES,
];
/// The policies of the STI-PA of the United States have one more arc: the version.
const US_POLICIES: &str = "2.16.840.1.114569.1.1.";
/// Versions before this one are withdrawn.
const FIRST_US_POLICY: u32 = 3;
const MIN_SERIAL_BITS: u32 = 64;
const MAX_SERIAL_BYTES: usize = 20;
const FIRST_GENERALIZED_YEAR: u16 = 2050;

/// What a certificate is in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    EndEntity,
    Intermediate,
    Root,
}

impl Certificate {
    /// Everything that differs from the profile; empty if nothing does.
    #[must_use]
    pub fn profile_faults(&self) -> Vec<Fault> {
        let part = match (self.is_ca(), self.is_self_issued()) {
            (false, _) => Part::EndEntity,
            (true, false) => Part::Intermediate,
            (true, true) => Part::Root,
        };
        let is_delegate = part == Part::EndEntity
            && self
                .tn_auth_list()
                .is_ok_and(|list| list.spcs().next().is_none());
        let mut faults = Vec::new();
        self.fields(part, &mut faults);
        self.subject_name(part, &mut faults);
        self.all_extensions(&mut faults);
        self.usage(part, &mut faults);
        self.key_identifiers(part, &mut faults);
        self.crl_points(part, &mut faults);
        self.policies(part, &mut faults);
        if is_delegate {
            faults.retain(|fault| !fault.is_of_shaken());
        }
        faults
    }

    /// Whether it says that it follows a policy of the STI-PA of the United States, and so
    /// ATIS-1000080.
    #[must_use]
    pub fn claims_shaken_policy(&self) -> bool {
        let policies = self.extension::<CertificatePolicies>(ID_POLICIES);
        let mut all = policies
            .and_then(Result::ok)
            .into_iter()
            .flat_map(|all| all.0);
        all.any(|one| one.policy_identifier.to_string().starts_with(US_POLICIES))
    }

    /// Whether its issuer has its name, as a root has.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    fn fields(&self, part: Part, faults: &mut Vec<Fault>) {
        let tbs = self.inner.tbs_certificate();
        if !self.has_extensions() {
            faults.push(Fault::Version);
        }
        faults.extend(serial_fault(tbs.serial_number().as_bytes()));
        let algorithm = self.inner.signature_algorithm();
        if algorithm != tbs.signature() {
            faults.push(Fault::TwoAlgorithms);
        }
        if algorithm.oid != ECDSA_WITH_SHA256 {
            faults.push(Fault::SignatureAlgorithm(algorithm.oid));
        }
        // The key of a signing certificate is a matter of whether it can sign.
        if part != Part::EndEntity && self.key_kind() != KeyKind::EcP256 {
            faults.push(Fault::IssuerKey(self.key_kind()));
        }
        let validity = tbs.validity();
        if self.not_after() < self.not_before() {
            faults.push(Fault::Never);
        }
        let is_early = |time: &CertificateTime| match time {
            CertificateTime::UtcTime(_) => false,
            CertificateTime::GeneralTime(_) => time.to_date_time().year() < FIRST_GENERALIZED_YEAR,
        };
        if is_early(&validity.not_before) || is_early(&validity.not_after) {
            faults.push(Fault::DateEncoding);
        }
    }

    fn subject_name(&self, part: Part, faults: &mut Vec<Fault>) {
        let subject = self.inner.tbs_certificate().subject();
        match subject.country() {
            Ok(None) => faults.push(Fault::SubjectLacks("country (`C`)")),
            Ok(Some(country)) if is_country(country.as_str()) => {}
            Ok(Some(country)) => faults.push(Fault::Country(country.to_string())),
            Err(_) => faults.push(Fault::Country(subject.to_string())),
        }
        if !matches!(subject.organization(), Ok(Some(_))) {
            faults.push(Fault::SubjectLacks("organization (`O`)"));
        }
        let Ok(Some(name)) = subject.common_name() else {
            faults.push(Fault::SubjectLacks("common name (`CN`)"));
            return;
        };
        let name: &str = &name.value();
        let ca_lacks = |lacks: &'static str| Fault::CaName {
            name: name.to_owned(),
            lacks,
        };
        match part {
            Part::EndEntity => {
                let list = self.tn_auth_list();
                let spc = list.ok().and_then(|list| list.spcs().next().cloned());
                if let Some(spc) = spc.filter(|spc| !names(name, spc.as_str())) {
                    faults.push(Fault::CommonName {
                        name: name.to_owned(),
                        spc: spc.to_string(),
                    });
                }
            }
            Part::Intermediate | Part::Root => {
                if !name.contains("SHAKEN") {
                    faults.push(ca_lacks("SHAKEN"));
                }
                if part == Part::Root && !name.to_ascii_uppercase().contains("ROOT") {
                    faults.push(ca_lacks("ROOT"));
                }
            }
        }
    }

    fn all_extensions(&self, faults: &mut Vec<Fault>) {
        let all: Vec<&Extension> = self.all().collect();
        for (number, extension) in all.iter().enumerate() {
            let id = extension.extn_id;
            if all[..number].iter().any(|other| other.extn_id == id) {
                faults.push(Fault::Repeated(id));
            } else if id == ID_PE_TN_AUTH_LIST && extension.critical {
                faults.push(Fault::CriticalTnAuthList);
            } else if PROFILE.contains(&id) {
                // Its own checks follow.
            } else if extension.critical && !KNOWN_OTHERS.contains(&id.to_string().as_str()) {
                faults.push(Fault::UnknownCritical(id));
            } else {
                faults.push(Fault::OtherExtension(id));
            }
        }
        let list = self.tn_auth_list();
        if list.is_ok_and(|list| list.entries().len() > 1) && !self.is_ca() {
            faults.push(Fault::SeveralEntries);
        }
    }

    fn usage(&self, part: Part, faults: &mut Vec<Fault>) {
        match self.extension::<KeyUsage>(ID_KEY_USAGE) {
            None => faults.push(Fault::NoKeyUsage),
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(usage)) => {
                let is_right = match part {
                    Part::EndEntity => usage.0 == KeyUsages::DigitalSignature,
                    Part::Intermediate | Part::Root => {
                        let may = KeyUsages::KeyCertSign
                            | KeyUsages::CRLSign
                            | KeyUsages::DigitalSignature;
                        usage.key_cert_sign() && may.contains(usage.0)
                    }
                };
                faults.extend((!is_right).then_some(match part {
                    Part::EndEntity => Fault::KeyUsage,
                    Part::Intermediate | Part::Root => Fault::CaKeyUsage,
                }));
                if !self.is_critical(ID_KEY_USAGE) {
                    faults.push(Fault::KeyUsageNotCritical);
                }
            }
        }
        match self.extension::<BasicConstraints>(ID_BASIC_CONSTRAINTS) {
            None => faults.push(Fault::NoBasicConstraints),
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(_)) if !self.is_critical(ID_BASIC_CONSTRAINTS) => {
                faults.push(Fault::BasicConstraintsNotCritical);
            }
            Some(Ok(_)) => {}
        }
    }

    fn key_identifiers(&self, part: Part, faults: &mut Vec<Fault>) {
        match self.extension::<SubjectKeyIdentifier>(ID_SUBJECT_KEY) {
            None => faults.push(Fault::NoSubjectKey),
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(_)) => {}
        }
        match self.extension::<AuthorityKeyIdentifier>(ID_AUTHORITY_KEY) {
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(id)) if id.key_identifier.is_some() => {}
            // A root is its own issuer (RFC 5280 §4.2.1.1).
            None if part == Part::Root => {}
            None | Some(Ok(_)) => faults.push(Fault::NoAuthorityKey),
        }
    }

    fn crl_points(&self, part: Part, faults: &mut Vec<Fault>) {
        match self.extension::<CrlDistributionPoints>(ID_CRL_POINTS) {
            None if part == Part::Root => {}
            None => faults.push(Fault::NoCrl),
            Some(_) if part == Part::Root => faults.push(Fault::RootCrl),
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(points)) => match &points.0[..] {
                [one] if is_fetchable(one.distribution_point.as_ref()) => {
                    if one.crl_issuer.is_none() {
                        faults.push(Fault::NoCrlIssuer);
                    }
                }
                _ => faults.push(Fault::CrlPoint),
            },
        }
    }

    fn policies(&self, part: Part, faults: &mut Vec<Fault>) {
        if part == Part::Root {
            return;
        }
        match self.extension::<CertificatePolicies>(ID_POLICIES) {
            None => faults.push(Fault::NoPolicy),
            Some(Err(fault)) => faults.push(fault),
            Some(Ok(policies)) => match &policies.0[..] {
                [] => faults.push(Fault::NoPolicy),
                [one] => {
                    let id = one.policy_identifier;
                    // Other countries have STI-PAs, and policies, of their own.
                    let country = self.inner.tbs_certificate().subject().country();
                    let is_us = matches!(country, Ok(Some(country)) if country.as_str() == "US");
                    if is_us && !is_us_policy(id) {
                        faults.push(Fault::OtherPolicy(id));
                    }
                }
                [_, _, ..] => faults.push(Fault::SeveralPolicies),
            },
        }
    }

    /// The first extension of this kind, or why it cannot be read.
    fn extension<'a, T: Decode<'a>>(&'a self, id: ObjectIdentifier) -> Option<Result<T, Fault>> {
        let value = self.all().find(|extension| extension.extn_id == id)?;
        let read = T::from_der(value.extn_value.as_bytes());
        Some(read.map_err(|_| Fault::Unreadable(id)))
    }

    fn is_critical(&self, id: ObjectIdentifier) -> bool {
        self.all()
            .any(|extension| extension.extn_id == id && extension.critical)
    }

    fn all(&self) -> impl Iterator<Item = &Extension> {
        self.inner
            .tbs_certificate()
            .extensions()
            .into_iter()
            .flatten()
    }
}

fn serial_fault(bytes: &[u8]) -> Option<Fault> {
    // The sign bit: a positive number has a zero byte before it.
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let first = bytes.iter().position(|byte| *byte != 0);
    let Some(magnitude) = first.map(|at| &bytes[at..]).filter(|_| !is_negative) else {
        return Some(Fault::Serial);
    };
    if bytes.len() > MAX_SERIAL_BYTES {
        return Some(Fault::Serial);
    }
    let length = u32::try_from(magnitude.len()).unwrap_or(u32::MAX);
    let bits = length * 8 - magnitude[0].leading_zeros();
    (bits < MIN_SERIAL_BITS).then_some(Fault::ShortSerial(bits))
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether a name has `SHAKEN`, a space and the code, with nothing attached to either.
fn names(name: &str, spc: &str) -> bool {
    let wanted = format!("SHAKEN {spc}");
    let is_inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut found = name.match_indices(&wanted);
    found.any(|(at, text)| {
        !is_inside(name[..at].chars().next_back())
            && !is_inside(name[at + text.len()..].chars().next())
    })
}

fn is_fetchable(point: Option<&DistributionPointName>) -> bool {
    match point {
        Some(DistributionPointName::FullName(names)) => names.iter().any(|name| {
            matches!(name, GeneralName::UniformResourceIdentifier(url)
                if url.as_str().starts_with("https://") || url.as_str().starts_with("http://"))
        }),
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => false,
    }
}

fn is_us_policy(id: ObjectIdentifier) -> bool {
    let text = id.to_string();
    let version = text
        .strip_prefix(US_POLICIES)
        .and_then(|rest| rest.parse().ok());
    version.is_some_and(|version: u32| version >= FIRST_US_POLICY)
}
