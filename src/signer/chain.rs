//! Certificate chains of signing keys, and how they are published for `x5u` (RFC 7515 §4.1.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::x509::{X509, X509VerifyResult};

use super::SignerError;
use crate::domain::hex::hex;
use crate::domain::signing::certificate::{Certificate, CertificateError};
use crate::domain::{Spc, Time};

/// The certificate of a signing key and those of its issuers, leaf first; the root may be left out.
#[derive(Debug, Clone)]
pub struct Chain {
    leaf: Certificate,
    leaf_key_der: Vec<u8>,
    issuers: Vec<Certificate>,
    pem: Arc<[u8]>,
    name: String,
}

impl Chain {
    /// Reads a chain and checks that each certificate is issued and signed by the next one.
    ///
    /// # Errors
    /// [`SignerError`] if a certificate cannot be read or the chain is broken.
    pub fn from_pem(pem: &str) -> Result<Self, SignerError> {
        let mut certificates = Certificate::chain_from_pem(pem)?.into_iter();
        let leaf = certificates.next().ok_or(CertificateError::None)?;
        let issuers: Vec<Certificate> = certificates.collect();

        let mut below = X509::from_der(leaf.as_der())?;
        let leaf_key_der = below.public_key()?.public_key_to_der()?;
        let mut published = below.to_pem()?;
        let mut subject = leaf.subject();
        for (number, next) in (1..).zip(&issuers) {
            let issuer = X509::from_der(next.as_der())?;
            if let Some(why) = why_not_issued(&below, &issuer, next.is_ca())? {
                return Err(SignerError::ChainOrder {
                    number,
                    subject,
                    next: next.subject(),
                    why,
                });
            }
            published.extend(issuer.to_pem()?);
            (below, subject) = (issuer, next.subject());
        }
        Ok(Self {
            leaf,
            leaf_key_der,
            issuers,
            name: hex(&sha256(&published)),
            pem: published.into(),
        })
    }

    /// The certificate of the signing key.
    #[must_use]
    pub const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The leaf's public key as DER of a `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn leaf_key_der(&self) -> &[u8] {
        &self.leaf_key_der
    }

    /// SHA-256 of the published bytes, in hex: a URL with this name never changes its content.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes that are published: the certificates in PEM, leaf first, and nothing between them.
    #[must_use]
    pub fn pem(&self) -> Arc<[u8]> {
        Arc::clone(&self.pem)
    }

    /// The certificates in DER, leaf first.
    pub fn ders(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.leaf)
            .chain(&self.issuers)
            .map(Certificate::as_der)
    }

    /// What a CA may stumble over, though it keeps nobody from signing.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let alone = self.issuers.is_empty() && self.leaf.issuer() != self.leaf.subject();
        if alone {
            warnings.push(format!(
                "the chain has the signing certificate alone, and its issuer `{}` is missing: a CA that does not know \
                 that issuer cannot build a path",
                self.leaf.issuer()
            ));
        }
        warnings
    }

    /// Where the chain is published (RFC 7515 §4.1.5).
    #[must_use]
    pub fn x5u(&self, public_url: &str) -> String {
        format!("{public_url}/certs/{}.pem", self.name)
    }

    /// The first second at which all certificates of the chain are valid.
    #[must_use]
    pub fn not_before(&self) -> Time {
        let starts = self.issuers.iter().map(Certificate::not_before);
        starts.fold(self.leaf.not_before(), Time::max)
    }

    /// The last second at which all certificates of the chain are valid; nothing that is signed may outlive it.
    #[must_use]
    pub fn not_after(&self) -> Time {
        let ends = self.issuers.iter().map(Certificate::not_after);
        ends.fold(self.leaf.not_after(), Time::min)
    }

    /// Whether the leaf may sign at `at` and its issuers are in force.
    ///
    /// # Errors
    /// [`SignerError`] names all faults of the leaf, or the first issuer that is not in force.
    pub fn usable_at(&self, at: Time) -> Result<(), SignerError> {
        let faults = self.leaf.signing_faults(at);
        if !faults.is_empty() {
            return Err(SignerError::LeafFaults {
                subject: self.leaf.subject(),
                faults,
            });
        }
        for (issuer, number) in self.issuers.iter().zip(2..) {
            let (from, until) = (issuer.not_before(), issuer.not_after());
            if !(from..=until).contains(&at) {
                return Err(SignerError::IssuerNotInForce {
                    number,
                    subject: issuer.subject(),
                    from,
                    until,
                });
            }
        }
        Ok(())
    }

    /// Whether the leaf's TNAuthList names a code of the carrier (RFC 8226 §9).
    ///
    /// # Errors
    /// [`SignerError`] names the codes of both sides if they have none in common.
    pub fn names_one_of(&self, own: &[Spc]) -> Result<(), SignerError> {
        if own.is_empty() {
            return Err(SignerError::NoSpc);
        }
        let list = self
            .leaf
            .tn_auth_list()
            .map_err(|error| SignerError::LeafFaults {
                subject: self.leaf.subject(),
                faults: vec![error.into()],
            })?;
        if list.spcs().any(|spc| own.contains(spc)) {
            return Ok(());
        }
        Err(SignerError::OtherSpc {
            subject: self.leaf.subject(),
            named: list.spcs().cloned().collect(),
            own: own.to_vec(),
        })
    }
}

/// The chains that the service publishes, by name, in memory: their own replica's and those of the others.
#[derive(Debug, Clone, Default)]
pub struct PublishedChains(BTreeMap<String, Published>);

/// What `GET /certs/{name}.pem` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// All certificates in PEM, leaf first.
    pub pem: Arc<[u8]>,
    /// The signing certificate alone, in DER.
    pub leaf_der: Arc<[u8]>,
}

impl PublishedChains {
    /// A chain, for `GET /certs/{name}.pem`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Published> {
        self.0.get(name).cloned()
    }

    /// The names of all chains.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Publishes a chain whose PEM another replica has recorded.
    ///
    /// # Errors
    /// [`SignerError`] if its bytes are not those that its name stands for.
    pub fn add_recorded(&mut self, name: &str, pem: &str) -> Result<(), SignerError> {
        let chain = Chain::from_pem(pem)?;
        if chain.name() != name {
            return Err(SignerError::OtherChain {
                wanted: name.to_owned(),
                own: chain.name().to_owned(),
            });
        }
        self.add(&chain);
        Ok(())
    }

    fn add(&mut self, chain: &Chain) {
        let published = Published {
            pem: chain.pem(),
            leaf_der: chain.leaf.as_der().into(),
        };
        self.0.insert(chain.name.clone(), published);
    }

    /// Takes over what another set has of this name already.
    pub fn keep(&mut self, name: &str, before: &Self) -> bool {
        let known = before.0.get(name);
        if let Some(published) = known {
            self.0.insert(name.to_owned(), published.clone());
        }
        known.is_some()
    }
}

impl<'a> FromIterator<&'a Chain> for PublishedChains {
    fn from_iter<I: IntoIterator<Item = &'a Chain>>(chains: I) -> Self {
        let mut published = Self::default();
        chains.into_iter().for_each(|chain| published.add(chain));
        published
    }
}

/// RFC 5280 §6.1.3: the issuer's name, key identifier and right to sign certificates, and the signature itself.
fn why_not_issued(
    certificate: &X509,
    issuer: &X509,
    is_ca: bool,
) -> Result<Option<String>, ErrorStack> {
    let verdict = issuer.issued(certificate);
    if verdict != X509VerifyResult::OK {
        return Ok(Some(verdict.error_string().to_owned()));
    }
    if !is_ca {
        return Ok(Some("that is no certificate of a CA".to_owned()));
    }
    let key = issuer.public_key()?;
    // An error here is a signature of another kind than the key's: no proof either.
    let signed = certificate.verify(&key).unwrap_or(false);
    Ok((!signed).then(|| "the signature is not by its key".to_owned()))
}
