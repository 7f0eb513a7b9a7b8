//! Certificate chains of signing keys, and how they are published for `x5u` (RFC 7515 §4.1.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::x509::{X509, X509VerifyResult};

use super::SignerError;
use super::p256::canonical_spki;
use crate::domain::signing::certificate::{Certificate, CertificateError};
use crate::domain::signing::profile_fault::ProfileFault;
use crate::domain::{Spc, Time};

/// The longest chain that is made by completing a shorter one.
const MAX_COMPLETED: usize = 8;

/// The certificate of a signing key and those of its issuers, leaf first; the root is optional.
#[derive(Debug, Clone)]
pub struct Chain {
    leaf: Certificate,
    leaf_key_der: Vec<u8>,
    issuers: Vec<Certificate>,
    pem: Arc<[u8]>,
    name: String,
}

impl Chain {
    /// Parses a chain and checks that each certificate is issued and signed by the next one.
    pub fn from_pem(pem: &str) -> Result<Self, SignerError> {
        Self::new(Certificate::chain_from_pem(pem)?)
    }

    /// A chain of these certificates, leaf first.
    ///
    /// # Errors
    /// [`SignerError`] if one of them is not issued and signed by the next one.
    pub(super) fn new(certificates: Vec<Certificate>) -> Result<Self, SignerError> {
        let mut certificates = certificates.into_iter();
        let leaf = certificates.next().ok_or(CertificateError::None)?;
        let issuers: Vec<Certificate> = certificates.collect();

        let mut current = X509::from_der(leaf.as_der())?;
        let leaf_key_der = current.public_key()?.public_key_to_der()?;
        let mut published = current.to_pem()?;
        let mut subject = leaf.subject();
        for (number, next) in (1..).zip(&issuers) {
            let issuer = X509::from_der(next.as_der())?;
            if let Some(why) = why_not_issued(&current, &issuer, next.is_ca())? {
                return Err(SignerError::ChainOrder {
                    number,
                    subject,
                    next: next.subject(),
                    why,
                });
            }
            published.extend(issuer.to_pem()?);
            (current, subject) = (issuer, next.subject());
        }
        Ok(Self {
            leaf,
            leaf_key_der,
            issuers,
            name: hex::encode(sha256(&published)),
            pem: published.into(),
        })
    }

    /// The chain, continued with those of the `known` certificates of CAs that issued its last
    /// certificate, that one's issuer, and so on. A root is left out, unless it issued the leaf.
    /// Only certificates that are valid at `at` are added, so that no chain loses by it.
    #[must_use]
    pub(super) fn completed(self, known: &[Certificate], at: Time) -> Self {
        let mut all = vec![self.leaf.clone()];
        all.extend(self.issuers.iter().cloned());
        let own = all.len();
        while all.len() < MAX_COMPLETED
            && let Some(last) = all.last()
            && let Some(issuer) = issuer_of(last, known, at)
            && (!issuer.is_self_issued() || all.len() == 1)
            && !all.contains(issuer)
        {
            all.push(issuer.clone());
        }
        if all.len() == own {
            return self;
        }
        // Each link has been checked, so this succeeds.
        Self::new(all).unwrap_or(self)
    }

    /// How many certificates the chain has.
    pub(super) const fn length(&self) -> usize {
        1 + self.issuers.len()
    }

    /// The certificate of the signing key.
    #[must_use]
    pub const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The leaf's public key, as a DER-encoded `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn leaf_key_der(&self) -> &[u8] {
        &self.leaf_key_der
    }

    /// SHA-256 of the signing certificate, in hex.
    #[must_use]
    pub fn leaf_sha256(&self) -> String {
        hex::encode(sha256(self.leaf.as_der()))
    }

    /// SHA-256 of the published bytes, in hex, so the content of a URL with this name never
    /// changes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The published bytes: the certificates in PEM, leaf first, with no text between them.
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

    /// Problems that a CA might have with the chain. They do not prevent signing.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_leaf_only = self.issuers.is_empty() && !self.leaf.is_self_issued();
        if is_leaf_only {
            warnings.push(format!(
                "the chain contains only the signing certificate; a CA that does not have its issuer `{}` cannot build \
                 a path: append the issuer's certificate to the file",
                self.leaf.issuer()
            ));
        }
        warnings
    }

    /// What differs from the profile of STI certificates: the number of the certificate, from 1 for
    /// the leaf, and the fault.
    pub fn profile_faults(&self) -> impl Iterator<Item = (usize, ProfileFault)> {
        let all: Vec<&Certificate> = std::iter::once(&self.leaf).chain(&self.issuers).collect();
        (0..all.len()).flat_map(move |at| {
            let mut faults = all[at].profile_faults();
            if let Some(issuer) = all.get(at + 1)
                && all[at].not_after() > issuer.not_after()
            {
                faults.push(ProfileFault::OutlivesIssuer {
                    own: all[at].not_after(),
                    issuer: issuer.not_after(),
                });
            }
            faults.into_iter().map(move |fault| (at + 1, fault))
        })
    }

    /// The URL at which the chain is published (RFC 7515 §4.1.5).
    #[must_use]
    pub fn x5u(&self, public_url: &str) -> String {
        format!("{public_url}/certs/{}.pem", self.name)
    }

    /// The first second at which every certificate of the chain is valid.
    #[must_use]
    pub fn not_before(&self) -> Time {
        let starts = self.issuers.iter().map(Certificate::not_before);
        starts.fold(self.leaf.not_before(), Time::max)
    }

    /// The last second at which every certificate of the chain is valid. No token may outlive it.
    #[must_use]
    pub fn not_after(&self) -> Time {
        let ends = self.issuers.iter().map(Certificate::not_after);
        ends.fold(self.leaf.not_after(), Time::min)
    }

    /// Checks that the leaf may sign at `at` and that its issuers are within their validity
    /// periods.
    ///
    /// # Errors
    /// [`SignerError`] lists all faults of the leaf, or names the first issuer that is not valid.
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

    /// Checks that the leaf's TNAuthList contains a code of the carrier (RFC 8226 §9).
    ///
    /// # Errors
    /// [`SignerError`] lists the codes of both sides if they have none in common.
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

/// The chains that the service publishes, by name: this replica's own and those of other replicas.
#[derive(Debug, Clone, Default)]
pub struct PublishedChains(BTreeMap<String, Published>);

/// What `GET /certs/{name}.pem` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// All certificates in PEM, leaf first.
    pub pem: Arc<[u8]>,
    /// Only the signing certificate, in DER.
    pub leaf_der: Arc<[u8]>,
}

impl PublishedChains {
    /// Looks up a chain for `GET /certs/{name}.pem`.
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
    /// [`SignerError`] if the SHA-256 of its bytes is not its name.
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

    /// Copies the chain `name` from `previous`; false if `previous` does not have it.
    pub fn keep(&mut self, name: &str, previous: &Self) -> bool {
        let known = previous.0.get(name);
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

/// SHA-256 of a public key (`SubjectPublicKeyInfo`), in hex. The same for all certificates of a
/// key, however they encode it.
#[must_use]
pub fn public_key_sha256(der: &[u8]) -> String {
    let canonical = canonical_spki(der);
    hex::encode(sha256(canonical.as_deref().unwrap_or(der)))
}

/// The certificate among these that issued `certificate`: of several, such as the old and the new
/// one of a CA that was renewed, the one that is valid longest.
fn issuer_of<'a>(
    certificate: &Certificate,
    known: &'a [Certificate],
    at: Time,
) -> Option<&'a Certificate> {
    let leaf = X509::from_der(certificate.as_der()).ok()?;
    let is_issuer = |candidate: &&Certificate| {
        let issuer = X509::from_der(candidate.as_der());
        (candidate.not_before()..=candidate.not_after()).contains(&at)
            && candidate.subject() == certificate.issuer()
            && issuer.is_ok_and(|issuer| {
                matches!(why_not_issued(&leaf, &issuer, candidate.is_ca()), Ok(None))
            })
    };
    let issuers = known.iter().filter(is_issuer);
    issuers.max_by_key(|candidate| candidate.not_after())
}

/// RFC 5280 §6.1.3: checks the issuer's name, key identifier and right to sign certificates, and
/// the signature itself. Returns the reason if a check fails.
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
        return Ok(Some("the latter is not a CA certificate".to_owned()));
    }
    let key = issuer.public_key()?;
    // An error means that the signature is of a different algorithm than the key, so it is invalid
    // too.
    let signed = certificate.verify(&key).unwrap_or(false);
    Ok((!signed).then(|| "the signature was not made by the issuer's key".to_owned()))
}
