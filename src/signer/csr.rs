//! Certificate signing requests (RFC 2986) with the TNAuthList of RFC 8226 §9, for keys in files
//! and in HSMs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode as _, Encode as _};
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
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
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

/// Builds a carrier's CSR for one of its codes, in PEM, signed with `key`. Blocks until the key has
/// signed.
pub fn certificate_request(
    key: &dyn SigningKey,
    spc: &Spc,
    subject: &str,
) -> Result<String, SignerError> {
    let list = TnAuthList::from_entries(vec![TnEntry::Spc(spc.clone())])?;
    Ok(pem(&request_der(key, &list, false, subject)?))
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
    let subject = name(subject)?;
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
