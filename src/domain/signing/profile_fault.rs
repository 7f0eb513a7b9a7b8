//! What a certificate does that its profile forbids: the rule, and what to do about it.

use der::asn1::ObjectIdentifier;
use thiserror::Error;

use super::certificate::KeyKind;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::text::printable::printable;

/// A rule that a certificate breaks. It prevents no signing; others may refuse the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileFault {
    #[error(
        "the serial number has {0} bits (ATIS-1000080 §6.4.1: 64 or more); ask the CA for another certificate"
    )]
    ShortSerial(u32),
    #[error(
        "the serial number is zero, negative or longer than 20 octets (RFC 5280 §4.1.2.2); ask the CA for another \
         certificate"
    )]
    Serial,
    #[error(
        "the signature algorithm is `{0}` (ATIS-1000080 §6.4.1: ecdsa-with-SHA256, `1.2.840.10045.4.3.2`); ask the CA \
         for a certificate by a P-256 key of its own"
    )]
    SignatureAlgorithm(ObjectIdentifier),
    #[error(
        "the algorithm inside the certificate differs from that of its signature (RFC 5280 §4.1.1.2); ask the CA for \
         another certificate"
    )]
    TwoAlgorithms,
    #[error(
        "the key is {0} (RFC 8226 §4, ATIS-1000080 §6.4.1: EC P-256); verifiers of calls may not follow the path"
    )]
    IssuerKey(KeyKind),
    #[error(
        "it has an old version of X.509 (RFC 5280 §4.1.2.1: version 3 for extensions); ask the CA for another"
    )]
    Version,
    #[error(
        "it starts after it ends, so it is never valid (RFC 5280 §4.1.2.5); ask the CA for another certificate"
    )]
    Never,
    #[error(
        "a date before 2050 is a GeneralizedTime (RFC 5280 §4.1.2.5: UTCTime); ask the CA for another certificate"
    )]
    DateEncoding,
    #[error("it is valid until {}, after its issuer ends at {} (RFC 5280 §6.1.3); renew the issuer's first", rfc3339(.own), rfc3339(.issuer))]
    OutlivesIssuer { own: Time, issuer: Time },
    #[error(
        "the subject has no {0} (ATIS-1000080 §6.4.1: C, O and CN); request one with `certificate request --subject`"
    )]
    SubjectLacks(&'static str),
    #[error(
        "`C` of the subject is `{}` (ATIS-1000080 §6.4.1: two capital letters of ISO 3166-1); request another with \
         `certificate request --subject`", printable(.0)
    )]
    Country(String),
    #[error(
        "`CN` of the subject is `{}` (ATIS-1000080 §6.4.1: `SHAKEN {spc}` in it); request it with `certificate request \
         --subject`", printable(.name)
    )]
    CommonName { name: String, spc: String },
    #[error(
        "`CN` of the CA is `{}` (ATIS-1000080 §6.4.1: `{}` in it); ask the CA whether it is a CA for STI certificates",
        printable(.name), .lacks
    )]
    CaName { name: String, lacks: &'static str },
    #[error(
        "the extension `{0}` is there twice (RFC 5280 §4.2); ask the CA for another certificate"
    )]
    Repeated(ObjectIdentifier),
    #[error(
        "the extension `{0}` cannot be read (RFC 5280 §4.2); ask the CA for another certificate"
    )]
    Unreadable(ObjectIdentifier),
    #[error(
        "the extension `{0}` is critical, and software that does not know it refuses the certificate (RFC 5280 §4.2); ask \
         the CA for one without it"
    )]
    UnknownCritical(ObjectIdentifier),
    #[error(
        "the TNAuthList is critical, and software that does not know it refuses the certificate (RFC 5280 §4.2); ask the \
         CA for one where it is not"
    )]
    CriticalTnAuthList,
    #[error(
        "the extension `{0}` is not in the profile (ATIS-1000080 §6.4.1); ask the CA for a certificate without it"
    )]
    OtherExtension(ObjectIdentifier),
    #[error(
        "the TNAuthList has other entries than one service provider code (ATIS-1000080 §6.4.1); request a certificate \
         for each code"
    )]
    SeveralEntries,
    #[error(
        "there is no key usage (ATIS-1000080 §6.4.1: `digitalSignature`, critical); ask the CA for it"
    )]
    NoKeyUsage,
    #[error("the key usage is not critical (ATIS-1000080 §6.4.1); ask the CA for a critical one")]
    KeyUsageNotCritical,
    #[error(
        "the key usage is not `digitalSignature` alone (ATIS-1000080 §6.4.1); ask the CA for no other"
    )]
    KeyUsage,
    #[error(
        "the key usage of the CA is not `keyCertSign` (ATIS-1000080 §6.4.1: with nothing but `digitalSignature` and \
         `cRLSign` beside it); verifiers of calls may not follow the path"
    )]
    CaKeyUsage,
    #[error(
        "there are no basic constraints (ATIS-1000080 §6.4.1: `cA`, critical); ask the CA for them"
    )]
    NoBasicConstraints,
    #[error(
        "the basic constraints are not critical (ATIS-1000080 §6.4.1); ask the CA for critical ones"
    )]
    BasicConstraintsNotCritical,
    #[error(
        "there is no subject key identifier (RFC 5280 §4.2.1.2, ATIS-1000080 §6.4.1); ask the CA for it"
    )]
    NoSubjectKey,
    #[error(
        "there is no key identifier of the issuer (RFC 5280 §4.2.1.1, ATIS-1000080 §6.4.1), so a renewed CA may be \
         confused with the old one; ask the CA for it"
    )]
    NoAuthorityKey,
    #[error(
        "there is no CRL distribution point (ATIS-1000080 §6.4.1: the CRL of the STI-PA), so no one notices that it was \
         revoked; ask the CA for it"
    )]
    NoCrl,
    #[error(
        "the CRL distribution points are not one with an http(s) URL (ATIS-1000080 §6.4.1); ask the CA for that of the \
         STI-PA"
    )]
    CrlPoint,
    #[error(
        "the CRL distribution point has no `cRLIssuer` (ATIS-1000080 §6.4.1), so the CRL of the STI-PA does not count \
         (RFC 5280 §6.3.3); ask the CA for it"
    )]
    NoCrlIssuer,
    #[error("the root has a CRL distribution point (ATIS-1000080 §6.4.1: none); no one checks it")]
    RootCrl,
    #[error(
        "there is no certificate policy (ATIS-1000080 §6.4.1: that of the STI-PA); request it with `certificate request \
         --policy`"
    )]
    NoPolicy,
    #[error(
        "there is more than one certificate policy (ATIS-1000080 §6.4.1: that of the STI-PA); request one with \
         `certificate request --policy`"
    )]
    SeveralPolicies,
    #[error(
        "the certificate policy `{0}` is not one of the STI-PA of the United States (`2.16.840.1.114569.1.1.3` or a \
         later one; ATIS-1000080 §6.4.1); request it with `certificate request --policy`"
    )]
    OtherPolicy(ObjectIdentifier),
}

impl ProfileFault {
    /// Whether the rule is of the SHAKEN ecosystem alone, and not one for every certificate.
    #[must_use]
    pub const fn is_of_shaken(&self) -> bool {
        match self {
            Self::ShortSerial(_)
            | Self::SignatureAlgorithm(_)
            | Self::SubjectLacks(_)
            | Self::Country(_)
            | Self::CommonName { .. }
            | Self::CaName { .. }
            | Self::OtherExtension(_)
            | Self::SeveralEntries
            | Self::NoKeyUsage
            | Self::KeyUsageNotCritical
            | Self::KeyUsage
            | Self::CaKeyUsage
            | Self::NoBasicConstraints
            | Self::BasicConstraintsNotCritical
            | Self::NoCrl
            | Self::CrlPoint
            | Self::NoCrlIssuer
            | Self::RootCrl
            | Self::NoPolicy
            | Self::SeveralPolicies
            | Self::OtherPolicy(_) => true,
            Self::Serial
            | Self::TwoAlgorithms
            | Self::IssuerKey(_)
            | Self::Version
            | Self::Never
            | Self::DateEncoding
            | Self::OutlivesIssuer { .. }
            | Self::Repeated(_)
            | Self::Unreadable(_)
            | Self::UnknownCritical(_)
            | Self::CriticalTnAuthList
            | Self::NoSubjectKey
            | Self::NoAuthorityKey => false,
        }
    }
}
