//! A throw-away certification authority, made with openssl when it is needed: for `demo`, for trying things out, and for
//! tests, which also ask it for certificates that nobody should issue.
//!
//! Its keys live in memory and die with the process. Nothing here takes part in serving a real carrier.

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

/// From the first to the last second of a certificate.
pub type Validity = RangeInclusive<Time>;

/// The curve of a key: P-256 is right, P-384 is for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

/// What a carrier's certificate shall say.
#[derive(Debug, Clone)]
pub struct SpcCertificate {
    /// Goes into the subject: `CN=SHAKEN 1234`.
    pub spc: Spc,
    /// The DER of the TNAuthList extension, which may be malformed; without the extension when it is `None`.
    pub tn_auth_list: Option<Vec<u8>>,
    pub curve: Curve,
    pub digital_signature: bool,
    pub validity: Validity,
}

impl SpcCertificate {
    /// A certificate as it should be: P-256, for signing, with the code in its TNAuthList.
    ///
    /// # Errors
    /// [`SignerError`] if the list cannot be written.
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

/// The chain alone.
impl fmt::Debug for IssuedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("chain_pem", &self.chain_pem)
            .finish_non_exhaustive()
    }
}

/// A certification authority: a root, or one below another.
#[derive(Debug)]
pub struct DevelopmentCa {
    key: PKey<Private>,
    certificate: X509,
    /// What follows behind a certificate that this CA issues.
    chain: Vec<X509>,
}

impl DevelopmentCa {
    /// Makes a root.
    ///
    /// # Errors
    /// [`SignerError`] if openssl fails.
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

    /// Makes a CA below this one. The root is not repeated in the chains of what it issues.
    ///
    /// # Errors
    /// [`SignerError`] if openssl fails.
    pub fn intermediate(&self, name: &str, validity: Validity) -> Result<Self, SignerError> {
        let key = new_key(Curve::P256)?;
        let certificate = self.issue(&key, &subject(name, name)?, &validity, ca_extensions)?;
        let is_root = |ca: &&X509| {
            ca.issuer_name()
                .try_cmp(ca.subject_name())
                .is_ok_and(Ordering::is_eq)
        };
        let above = self.chain.iter().filter(|ca| !is_root(ca)).cloned();
        Ok(Self {
            key,
            chain: std::iter::once(certificate.clone()).chain(above).collect(),
            certificate,
        })
    }

    /// The CA's own certificate in PEM, for those who trust it.
    ///
    /// # Errors
    /// [`SignerError`] if openssl fails.
    pub fn certificate_pem(&self) -> Result<String, SignerError> {
        Ok(pem(&self.certificate.to_pem()?))
    }

    /// Makes a key and its certificate for a carrier, with the TNAuthList of RFC 8226 §9.
    ///
    /// # Errors
    /// [`SignerError`] if openssl fails.
    pub fn issue_spc_certificate(
        &self,
        wanted: &SpcCertificate,
    ) -> Result<IssuedChain, SignerError> {
        let key = new_key(wanted.curve)?;
        let name = subject(
            "tn-authority development",
            &format!("SHAKEN {}", wanted.spc),
        )?;
        let certificate = self.issue(&key, &name, &wanted.validity, |builder| {
            builder.append_extension(BasicConstraints::new().critical().build()?)?;
            let mut usage = KeyUsage::new();
            usage.critical();
            if wanted.digital_signature {
                usage.digital_signature();
            } else {
                usage.key_encipherment();
            }
            builder.append_extension(usage.build()?)?;
            if let Some(der) = &wanted.tn_auth_list {
                let id = Asn1Object::from_str(&ID_PE_TN_AUTH_LIST.to_string())?;
                let value = Asn1OctetString::new_from_bytes(der)?;
                builder.append_extension(X509Extension::new_from_der(&id, false, &value)?)?;
            }
            Ok(())
        })?;
        self.issued(&key, &certificate)
    }

    /// Makes a key and a certificate of a TLS server with these DNS names and IP addresses.
    ///
    /// # Errors
    /// [`SignerError`] if openssl fails.
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

    /// Makes the certificate of a request, with the extensions that it asks for. Answers with the chain in PEM.
    ///
    /// # Errors
    /// [`SignerError`] if the request cannot be read or is not signed by its key.
    pub fn sign_request(
        &self,
        request_pem: &str,
        validity: &Validity,
    ) -> Result<String, SignerError> {
        let request = X509Req::from_pem(request_pem.as_bytes())?;
        let key = request.public_key()?;
        if !request.verify(&key)? {
            return Err(SignerError::KeyMalformed(
                "the request is not signed by its key".to_owned(),
            ));
        }
        let name = request.subject_name().to_owned()?;
        let asked = request.extensions()?;
        let certificate = build(
            &key,
            &name,
            validity,
            Some(&self.certificate),
            &self.key,
            |builder| {
                asked
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

/// Makes the account key of an ACME client, as a JWK (RFC 7517): its public part, which is all that a fingerprint needs.
///
/// # Errors
/// [`SignerError`] if openssl fails.
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

/// Builds a certificate that `issuer` signs with its key, or one that signs itself.
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
    // openssl writes ASCII alone.
    String::from_utf8_lossy(bytes).into_owned()
}
