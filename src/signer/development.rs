//! A throw-away certification authority, for `demo`, for experiments, and for tests, which also
//! need certificates that no real CA should issue.
//!
//! Its keys exist only in memory and are lost when the process ends. Nothing here is used in
//! production.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, BigNumContext, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509Req};

use super::SignerError;
use crate::domain::signing::certificate::ID_PE_TN_AUTH_LIST;
use crate::domain::{Spc, Time, TnAuthList, TnEntry};

/// The validity period of a certificate: its first and last second.
pub type Validity = RangeInclusive<Time>;

/// The curve of a key. ES256 needs P-256; P-384 is for tests of the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

/// The contents of a carrier's certificate.
#[derive(Debug, Clone)]
pub struct SpcCertificate {
    /// The code in the subject, `CN=SHAKEN 1234`.
    pub spc: Spc,
    /// The DER of the TNAuthList extension, malformed in some tests; `None` omits the extension.
    pub tn_auth_list: Option<Vec<u8>>,
    pub curve: Curve,
    pub digital_signature: bool,
    pub validity: Validity,
}

impl SpcCertificate {
    /// A correct certificate: P-256, for signing, with the code in its TNAuthList.
    pub fn new(spc: Spc, validity: Validity) -> Result<Self, SignerError> {
        let list = TnAuthList::from_entries(vec![TnEntry::Spc(spc.clone())])?;
        Ok(Self {
            spc,
            tn_auth_list: Some(list.as_der().to_vec()),
            curve: Curve::P256,
            digital_signature: true,
            validity,
        })
    }
}

/// A new key and the chain of its certificate, both in PEM.
#[derive(Clone)]
pub struct IssuedChain {
    /// The private key, PKCS #8.
    pub key_pem: String,
    /// The certificate, then those of its issuers.
    pub chain_pem: String,
}

/// Shows the chain without the private key.
impl fmt::Debug for IssuedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("chain_pem", &self.chain_pem)
            .finish_non_exhaustive()
    }
}

/// A certification authority: a root or an intermediate.
#[derive(Debug)]
pub struct DevelopmentCa {
    key: PKey<Private>,
    certificate: X509,
    /// The certificates that follow an issued certificate in its chain.
    chain: Vec<X509>,
}

impl DevelopmentCa {
    /// Creates a root CA.
    pub fn new(name: &str, validity: Validity) -> Result<Self, SignerError> {
        let key = new_key(Curve::P256)?;
        let certificate = build(
            &key,
            &subject(name, name)?,
            &validity,
            None,
            &key,
            ca_extensions,
        )?;
        Ok(Self {
            key,
            chain: vec![certificate.clone()],
            certificate,
        })
    }

    /// Creates an intermediate CA below this one. Chains that it issues do not include the root.
    pub fn intermediate(&self, name: &str, validity: Validity) -> Result<Self, SignerError> {
        let key = new_key(Curve::P256)?;
        let certificate = self.issue(&key, &subject(name, name)?, &validity, ca_extensions)?;
        let is_root = |ca: &&X509| {
            ca.issuer_name()
                .try_cmp(ca.subject_name())
                .is_ok_and(Ordering::is_eq)
        };
        let intermediates = self.chain.iter().filter(|ca| !is_root(ca)).cloned();
        Ok(Self {
            key,
            chain: std::iter::once(certificate.clone())
                .chain(intermediates)
                .collect(),
            certificate,
        })
    }

    /// The CA's own certificate in PEM, for trust lists.
    pub fn certificate_pem(&self) -> Result<String, SignerError> {
        Ok(pem(&self.certificate.to_pem()?))
    }

    /// Generates a key and issues a carrier certificate for it, with the TNAuthList of RFC 8226 §9.
    pub fn issue_spc_certificate(
        &self,
        contents: &SpcCertificate,
    ) -> Result<IssuedChain, SignerError> {
        let key = new_key(contents.curve)?;
        let name = subject(
            "tn-authority development",
            &format!("SHAKEN {}", contents.spc),
        )?;
        let certificate = self.issue(&key, &name, &contents.validity, |builder| {
            builder.append_extension(BasicConstraints::new().critical().build()?)?;
            let mut usage = KeyUsage::new();
            usage.critical();
            if contents.digital_signature {
                usage.digital_signature();
            } else {
                usage.key_encipherment();
            }
            builder.append_extension(usage.build()?)?;
            if let Some(der) = &contents.tn_auth_list {
                let id = Asn1Object::from_str(&ID_PE_TN_AUTH_LIST.to_string())?;
                let value = Asn1OctetString::new_from_bytes(der)?;
                builder.append_extension(X509Extension::new_from_der(&id, false, &value)?)?;
            }
            Ok(())
        })?;
        self.issued(&key, &certificate)
    }

    /// Generates a key and issues a TLS server certificate with these DNS names and IP addresses.
    pub fn issue_tls_certificate(
        &self,
        names: &[&str],
        validity: &Validity,
    ) -> Result<IssuedChain, SignerError> {
        let key = new_key(Curve::P256)?;
        let common_name = names.first().copied().unwrap_or("localhost");
        let name = subject("tn-authority development", common_name)?;
        let certificate = self.issue(&key, &name, validity, |builder| {
            builder.append_extension(BasicConstraints::new().critical().build()?)?;
            builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
            builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                if name.parse::<IpAddr>().is_ok() {
                    alternatives.ip(name);
                } else {
                    alternatives.dns(name);
                }
            }
            let alternatives =
                alternatives.build(&builder.x509v3_context(Some(&self.certificate), None))?;
            builder.append_extension(alternatives)
        })?;
        self.issued(&key, &certificate)
    }

    /// Issues a certificate for a CSR, with the extensions that it requests. Returns the chain in
    /// PEM.
    pub fn sign_request(
        &self,
        request_pem: &str,
        validity: &Validity,
    ) -> Result<String, SignerError> {
        let request = X509Req::from_pem(request_pem.as_bytes())?;
        let key = request.public_key()?;
        if !request.verify(&key)? {
            return Err(SignerError::KeyMalformed(
                "the CSR is not signed with its own key".to_owned(),
            ));
        }
        let name = request.subject_name().to_owned()?;
        let requested = request.extensions()?;
        let certificate = build(
            &key,
            &name,
            validity,
            Some(&self.certificate),
            &self.key,
            |builder| {
                requested
                    .iter()
                    .try_for_each(|extension| builder.append_extension2(extension))
            },
        )?;
        let mut chain = certificate.to_pem()?;
        for issuer in &self.chain {
            chain.extend(issuer.to_pem()?);
        }
        Ok(pem(&chain))
    }

    fn issue(
        &self,
        key: &PKey<Private>,
        name: &X509Name,
        validity: &Validity,
        extensions: impl FnOnce(&mut X509Builder) -> Result<(), ErrorStack>,
    ) -> Result<X509, ErrorStack> {
        build(
            key,
            name,
            validity,
            Some(&self.certificate),
            &self.key,
            extensions,
        )
    }

    fn issued(&self, key: &PKey<Private>, certificate: &X509) -> Result<IssuedChain, SignerError> {
        let mut chain = certificate.to_pem()?;
        for issuer in &self.chain {
            chain.extend(issuer.to_pem()?);
        }
        Ok(IssuedChain {
            key_pem: pem(&key.private_key_to_pem_pkcs8()?),
            chain_pem: pem(&chain),
        })
    }
}

/// Generates an ACME account key and returns its public part as a JWK (RFC 7517), which is all that
/// a fingerprint needs.
pub fn account_key() -> Result<String, SignerError> {
    let key = new_key(Curve::P256)?.ec_key()?;
    let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
    let mut context = BigNumContext::new()?;
    key.public_key()
        .affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
    let coordinate =
        |number: &BigNum| Ok::<_, ErrorStack>(URL_SAFE_NO_PAD.encode(number.to_vec_padded(32)?));
    let (x, y) = (coordinate(&x)?, coordinate(&y)?);
    Ok(serde_json::json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }).to_string())
}

fn new_key(curve: Curve) -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(match curve {
        Curve::P256 => Nid::X9_62_PRIME256V1,
        Curve::P384 => Nid::SECP384R1,
    })?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn subject(organization: &str, common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COUNTRYNAME, "US")?;
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, organization)?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

fn ca_extensions(builder: &mut X509Builder) -> Result<(), ErrorStack> {
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(
        KeyUsage::new()
            .critical()
            .key_cert_sign()
            .crl_sign()
            .build()?,
    )
}

/// Builds a certificate signed by `issuer`, or a self-signed one if there is no issuer.
fn build<K: HasPublic>(
    key: &PKey<K>,
    name: &X509Name,
    validity: &Validity,
    issuer: Option<&X509>,
    issuer_key: &PKey<Private>,
    extensions: impl FnOnce(&mut X509Builder) -> Result<(), ErrorStack>,
) -> Result<X509, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(Asn1Integer::from_bn(&serial)?.as_ref())?;
    builder.set_subject_name(name)?;
    builder.set_issuer_name(issuer.map_or(name, |issuer| issuer.subject_name()))?;
    builder.set_not_before(Asn1Time::from_unix(validity.start().timestamp())?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(validity.end().timestamp())?.as_ref())?;
    builder.set_pubkey(key)?;
    let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(id)?;
    if issuer.is_some() {
        let context = builder.x509v3_context(issuer.map(AsRef::as_ref), None);
        let id = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(id)?;
    }
    extensions(&mut builder)?;
    builder.sign(issuer_key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn pem(bytes: &[u8]) -> String {
    // PEM is ASCII, so nothing is lost.
    String::from_utf8_lossy(bytes).into_owned()
}
