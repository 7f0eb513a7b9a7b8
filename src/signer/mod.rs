//! Makes signatures: keys, certificate chains, and the tokens that they sign (RFC 9447 §4, RFC 9448 §5).
//!
//! A signer that exists may sign: its key and chain belong together, its certificate names the carrier and was in force
//! when it was opened. What the tokens say is decided elsewhere; here a recorded grant goes in and a token comes out.
//! Knows openssl and josekit; checks no tokens, which is the verifier's, and shares nothing with it but the domain.

pub mod chain;
pub mod development;
mod error;
mod jws;
pub mod key;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::domain::certificate::Certificate;
use crate::domain::grant::{Grant, Recorded};
use crate::domain::{Claims, Spc, Time};

pub use chain::{Chain, PublishedChains};
pub use error::SignerError;
pub use key::{FileKey, SigningKey};

/// What the carrier is, and where it keeps what it signs with.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// PEM file of the private key.
    pub key_file: &'a Path,
    /// PEM file of the certificate chain, leaf first.
    pub chain_file: &'a Path,
    /// The `https` URL of the service, without a slash at its end: `iss`, and the front of `x5u`.
    pub public_url: &'a str,
    /// The carrier's own service provider codes.
    pub spcs: &'a [Spc],
}

/// Signs authority tokens.
#[derive(Debug)]
pub struct Signer {
    public_url: String,
    chain: Chain,
    published: PublishedChains,
    writer: jws::TokenWriter,
}

impl Signer {
    /// Opens key and chain from files.
    ///
    /// # Errors
    /// [`SignerError`] says what is wrong with which file, as in [`Signer::new`].
    pub fn open(sources: &Sources<'_>, at: Time) -> Result<Self, SignerError> {
        let key = Arc::new(FileKey::open(sources.key_file)?);
        let pem =
            fs::read_to_string(sources.chain_file).map_err(|source| SignerError::Unreadable {
                what: "certificate chain",
                path: sources.chain_file.to_owned(),
                source,
            })?;
        let chain = Chain::from_pem(&pem)?;
        Self::new(key, chain, sources.public_url, sources.spcs, at)
    }

    /// Puts key and chain together.
    ///
    /// # Errors
    /// [`SignerError`] if the chain may not be used at `at`, names none of the carrier's codes, or is of another key.
    pub fn new(
        key: Arc<dyn SigningKey>,
        chain: Chain,
        public_url: &str,
        spcs: &[Spc],
        at: Time,
    ) -> Result<Self, SignerError> {
        chain.usable_at(at)?;
        chain.names_one_of(spcs)?;
        if key.public_key_der() != chain.leaf_key_der() {
            return Err(SignerError::OtherKey {
                subject: chain.leaf().subject(),
            });
        }
        Ok(Self {
            writer: jws::TokenWriter::new(key, chain.x5u(public_url))?,
            published: std::iter::once(&chain).collect(),
            public_url: public_url.to_owned(),
            chain,
        })
    }

    /// Signs the token of a grant that a committed transaction holds: compact serialization, RFC 7515 §7.1.
    ///
    /// # Errors
    /// [`SignerError`] if the grant was made for another chain, outlives this one, or the key does not sign.
    pub fn sign(&self, grant: &Recorded<Grant>) -> Result<String, SignerError> {
        let grant = grant.get();
        if grant.chain != self.chain.name() {
            return Err(SignerError::OtherChain {
                wanted: grant.chain.clone(),
                own: self.chain.name().to_owned(),
            });
        }
        if grant.expires_at > self.authority_ends() {
            return Err(SignerError::OutlivesChain {
                grant: grant.expires_at,
                chain: self.authority_ends(),
            });
        }
        self.writer.write(&Claims::of(grant, &self.public_url))
    }

    /// The name of the chain that signs now, as a grant records it.
    #[must_use]
    pub fn chain_name(&self) -> &str {
        self.chain.name()
    }

    /// The certificate of the signing key.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        self.chain.leaf()
    }

    /// The name of this authority (RFC 9448 §5.1).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.public_url
    }

    /// The chains to publish.
    #[must_use]
    pub const fn published(&self) -> &PublishedChains {
        &self.published
    }

    /// The latest `exp` of a token: the last second at which the whole chain is valid. `exp` is the first second at which
    /// a token is not (RFC 7519 §4.1.4), so the token ends before the chain does.
    #[must_use]
    pub fn authority_ends(&self) -> Time {
        self.chain.not_after()
    }

    /// Whether tokens can be signed at `at`.
    ///
    /// # Errors
    /// [`SignerError`] if a certificate of the chain is not in force.
    pub fn ready(&self, at: Time) -> Result<(), SignerError> {
        self.chain.usable_at(at)
    }
}

#[cfg(test)]
mod tests;
