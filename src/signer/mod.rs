//! Makes signatures: keys, certificate chains, and the tokens that they sign (RFC 9447 §4, RFC 9448 §5).
//!
//! A signer that exists may sign: its key and chain belong together, its certificate names the carrier and was in force
//! when it was opened. What the tokens say is decided elsewhere; here a recorded grant goes in and a token comes out.
//! Knows openssl, josekit and cryptoki; checks no tokens, which is the verifier's, and shares nothing with it but the
//! domain.

pub mod chain;
pub mod csr;
pub mod development;
mod error;
mod jws;
pub mod key;
pub mod key_pool;
pub mod keyring;
pub mod pkcs11;
pub mod secret;

use std::sync::Arc;

use crate::domain::signing::certificate::Certificate;
use crate::domain::tokens::grant::{Grant, Recorded};
use crate::domain::{Claims, Spc, Time};

pub use chain::{Chain, PublishedChains};
pub use error::{HsmError, SignerError};
pub use key::{FileKey, Signature, Signing, SigningKey};
pub use keyring::{Keyring, RefusedFile, ScanMode, ScanResult, Sources};
pub use secret::SecretSource;

/// Signs authority tokens with one key, whose chain the tokens name.
#[derive(Debug)]
pub struct Signer {
    public_url: String,
    chain: Chain,
    key: Arc<dyn SigningKey>,
    writer: jws::TokenWriter,
}

impl Signer {
    /// Puts key and chain together. With `x5c` the tokens also carry the chain itself.
    ///
    /// # Errors
    /// [`SignerError`] if the chain may not be used at `at`, names none of the carrier's codes, or is of another key.
    pub fn new(
        key: Arc<dyn SigningKey>,
        chain: Chain,
        public_url: &str,
        x5c: bool,
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
        let certificates: Vec<&[u8]> = if x5c {
            chain.ders().collect()
        } else {
            Vec::new()
        };
        Ok(Self {
            writer: jws::TokenWriter::new(chain.x5u(public_url), &certificates)?,
            public_url: public_url.to_owned(),
            chain,
            key,
        })
    }

    /// Signs the token of a grant that a committed transaction holds: compact serialization, RFC 7515 §7.1.
    ///
    /// # Errors
    /// [`SignerError`] if the grant was made for another chain, outlives this one, or the key does not sign.
    pub async fn sign(&self, grant: &Recorded<Grant>) -> Result<String, SignerError> {
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
        let claims = Claims::of(grant, &self.public_url);
        self.writer.write(&claims, &*self.key).await
    }

    /// The chain of the signing key.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The certificate of the signing key.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        self.chain.leaf()
    }

    /// Where the key is: `file` or `pkcs11`.
    #[must_use]
    pub fn key_kind(&self) -> &'static str {
        self.key.kind()
    }

    /// The name of this authority (RFC 9448 §5.1).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.public_url
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
