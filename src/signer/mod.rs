//! Signs tokens: keys, certificate chains and the JWS format (RFC 9447 §4, RFC 9448 §5).
//!
//! A [`Signer`] that exists may sign: its key matches its chain, and its certificate is for the
//! carrier and was valid when the signer was created. The contents of tokens are decided elsewhere:
//! a recorded grant goes in, a token comes out. This module uses openssl, josekit and cryptoki.
//! Verification belongs to `verifier`, which deliberately shares only the domain types with this
//! module, so that one cannot repeat the other's mistakes.

pub mod csr;
pub mod development;
mod error;
mod file_stamp;
mod jws;
pub mod key;
pub mod key_pool;
pub mod keyring;
mod p256;
pub mod pem;
pub mod pkcs11;
pub mod published_chain;
pub mod secret;

use std::sync::Arc;

use crate::domain::signing::certificate::Certificate;
use crate::domain::tokens::grant::{Grant, Recorded};
use crate::domain::{Claims, Spc, Time};

pub use error::{HsmError, SignerError};
pub use key::{FileKey, Signature, Signing, SigningKey};
pub use keyring::{Keyring, RefusedFile, ScanMode, ScanResult, Sources};
pub use published_chain::{Chain, PublishedChains};
pub use secret::SecretSource;

/// Signs authority tokens with one key and its chain.
#[derive(Debug)]
pub struct Signer {
    public_url: String,
    chain: Chain,
    key: Arc<dyn SigningKey>,
    writer: jws::TokenWriter,
}

impl Signer {
    /// Combines a key with its chain. With `x5c`, tokens also contain the chain itself.
    ///
    /// # Errors
    /// [`SignerError`] if the chain is not usable at `at`, is for none of the carrier's codes, or
    /// does not match the key.
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

    /// Signs the token of a committed grant, in compact serialization (RFC 7515 §7.1).
    ///
    /// # Errors
    /// [`SignerError`] if the grant was made for another chain, expires after this one, or the key
    /// does not sign.
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

    /// The `iss` of this authority's tokens (RFC 9448 §5.1).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.public_url
    }

    /// The latest `exp` that a token can have: the last second at which the whole chain is valid.
    /// `exp` is the first second at which a token is no longer valid (RFC 7519 §4.1.4), so the
    /// token expires before the chain.
    #[must_use]
    pub fn authority_ends(&self) -> Time {
        self.chain.not_after()
    }

    /// Checks that tokens can be signed at `at`.
    ///
    /// # Errors
    /// [`SignerError`] if a certificate of the chain is not valid at that time.
    pub fn ready(&self, at: Time) -> Result<(), SignerError> {
        self.chain.usable_at(at)
    }
}

#[cfg(test)]
mod tests;
