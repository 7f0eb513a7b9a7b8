//! Certificate signing requests (RFC 2986) with the TNAuthList of RFC 8226 §9, for keys in files
//! and in HSMs.

use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode as _, Encode as _};
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::SignerError;
use super::key::{SIGNATURE_LENGTH, Signature, SigningKey};
use crate::domain::signing::certificate::ID_PE_TN_AUTH_LIST;
use crate::domain::text::for_people::text_for_people;
use crate::domain::text::printable::printable;
use crate::domain::{Spc, TnAuthList, TnEntry};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// What a carrier's CSR asks for beside its TNAuthList.
#[derive(Debug, Clone, Default)]
pub struct RequestedNames {
    /// The subject, in the form of RFC 4514.
    pub subject: String,
    /// Subject alternative names (RFC 5280 §4.2.1.6).
    pub alternative: Vec<AlternativeName>,
    /// Certificate policies (RFC 5280 §4.2.1.4).
    pub policies: Vec<PolicyId>,
}

/// A subject alternative name, as OpenSSL writes it: `DNS:`, `URI:`, `email:` or `IP:` and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlternativeName(GeneralName);

/// The OID of a certificate policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId(ObjectIdentifier);

impl FromStr for AlternativeName {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        let wrong = || SignerError::AlternativeName(printable(text));
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        let ascii = || Ia5String::new(value).map_err(|_| wrong());
        let is_one_of = |allowed: &[u8]| {
            let mut bytes = value.bytes();
            bytes.all(|byte| byte.is_ascii_alphanumeric() || allowed.contains(&byte))
        };
        match kind.to_ascii_lowercase().as_str() {
            "dns" if is_one_of(b"-._*") => Ok(Self(GeneralName::DnsName(ascii()?))),
            "uri" if value.contains(':') => {
                Ok(Self(GeneralName::UniformResourceIdentifier(ascii()?)))
            }
            "email" if value.contains('@') => Ok(Self(GeneralName::Rfc822Name(ascii()?))),
            "ip" => {
                let address: IpAddr = value.parse().map_err(|_| wrong())?;
                Ok(Self(address.into()))
            }
            _ => Err(wrong()),
        }
    }
}

impl FromStr for PolicyId {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        let id = ObjectIdentifier::new(text);
        id.map(Self)
            .map_err(|_| SignerError::Policy(printable(text)))
    }
}

/// The usual subject of a signing certificate (ATIS-1000080 §6.4.1): `SHAKEN` and the code, with
/// the organization before it if there is one.
pub fn usual_subject(spc: &Spc, organization: Option<&str>) -> Result<String, SignerError> {
    let Some(organization) = organization else {
        return Ok(format!("CN=SHAKEN {spc}"));
    };
    let escaped: String = organization
        .chars()
        .flat_map(|c| {
            let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#');
            special.then_some('\\').into_iter().chain([c])
        })
        .collect();
    if organization.trim() != organization || organization.chars().any(char::is_control) {
        return Err(SignerError::Subject(printable(organization)));
    }
    subject(&format!("CN=SHAKEN {spc},O={escaped}"))
}

/// Builds a carrier's CSR for one of its codes, in PEM, signed with `key`. Blocks until the key has
/// signed.
pub fn certificate_request(
    key: &dyn SigningKey,
    spc: &Spc,
    names: &RequestedNames,
) -> Result<String, SignerError> {
    let list = TnAuthList::from_entries(vec![TnEntry::Spc(spc.clone())])?;
    Ok(pem(&signed_request(key, &list, false, names)?))
}

/// Checks that a text is a distinguished name that a CSR can use as its subject.
pub fn subject(text: &str) -> Result<String, SignerError> {
    name(text).map(|_| text.to_owned())
}

fn name(text: &str) -> Result<Name, SignerError> {
    let wrong = || SignerError::Subject(printable(text));
    let text = text_for_people(text).map_err(|_| wrong())?;
    text.parse().map_err(|_| wrong())
}

/// Builds a CSR for a TNAuthList, in DER, signed with `key`. With `ca` it requests a certificate
/// that may issue others. Blocks until the key has signed.
pub fn request_der(
    key: &dyn SigningKey,
    list: &TnAuthList,
    ca: bool,
    subject: &str,
) -> Result<Vec<u8>, SignerError> {
    let names = RequestedNames {
        subject: subject.to_owned(),
        ..RequestedNames::default()
    };
    signed_request(key, list, ca, &names)
}

fn signed_request(
    key: &dyn SigningKey,
    list: &TnAuthList,
    ca: bool,
    names: &RequestedNames,
) -> Result<Vec<u8>, SignerError> {
    let subject = name(&names.subject)?;
    let usage = if ca {
        KeyUsages::KeyCertSign | KeyUsages::CRLSign
    } else {
        KeyUsages::DigitalSignature.into()
    };
    let mut extensions = vec![
        Extension {
            extn_id: KEY_USAGE,
            critical: true,
            extn_value: OctetString::new(KeyUsage(usage).to_der()?)?,
        },
        Extension {
            extn_id: ID_PE_TN_AUTH_LIST,
            critical: false,
            extn_value: OctetString::new(list.as_der())?,
        },
    ];
    if ca {
        let constraints = BasicConstraints {
            ca,
            path_len_constraint: None,
        };
        extensions.push(Extension {
            extn_id: BASIC_CONSTRAINTS,
            critical: true,
            extn_value: OctetString::new(constraints.to_der()?)?,
        });
    }
    if !names.alternative.is_empty() {
        let names: Vec<GeneralName> = names.alternative.iter().map(|san| san.0.clone()).collect();
        extensions.push(Extension {
            extn_id: SUBJECT_ALT_NAME,
            critical: false,
            extn_value: OctetString::new(SubjectAltName(names).to_der()?)?,
        });
    }
    if !names.policies.is_empty() {
        let policies = names.policies.iter().map(|policy| PolicyInformation {
            policy_identifier: policy.0,
            policy_qualifiers: None,
        });
        extensions.push(Extension {
            extn_id: CERTIFICATE_POLICIES,
            critical: false,
            extn_value: OctetString::new(CertificatePolicies(policies.collect()).to_der()?)?,
        });
    }
    let mut values = SetOfVec::new();
    values.insert(Any::encode_from(&extensions)?)?;
    let mut attributes = SetOfVec::new();
    attributes.insert(Attribute {
        oid: EXTENSION_REQUEST,
        values,
    })?;
    let info = CertReqInfo {
        version: Version::V1,
        subject,
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key_der())?,
        attributes,
    };
    let signature = key.sign(&info.to_der()?).wait()?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA256,
            parameters: None,
        },
        signature: BitString::from_bytes(&der_signature(&signature)?)?,
    };
    Ok(request.to_der()?)
}

/// X.509 encodes an ECDSA signature as a SEQUENCE of R and S (RFC 5480); a JWS concatenates them.
fn der_signature(signature: &Signature) -> Result<Vec<u8>, SignerError> {
    let (r, s) = signature.split_at(SIGNATURE_LENGTH / 2);
    let signature =
        EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    Ok(signature.to_der()?)
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, remainder) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = remainder;
    }
    pem.push_str("-----END CERTIFICATE REQUEST-----\n");
    pem
}
