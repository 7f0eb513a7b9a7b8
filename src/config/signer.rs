//! `[signer]`: the keys and certificate chains that sign tokens.

use std::path::PathBuf;

use serde::Deserialize;

use super::bounds::{at_least_one, exclude_each_other, wrong};
use super::{ConfigError, Pkcs11};
use crate::domain::Passphrase;

/// The keys and certificate chains that sign tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signer {
    /// A folder of keys and certificate chains, which is polled. The files named below are used in
    /// addition.
    pub dir: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// A key in a hardware security module (RFC 7512).
    pub key_uri: Option<String>,
    pub chain_file: Option<PathBuf>,
    /// The passphrase of encrypted keys.
    pub passphrase: Option<Passphrase>,
    pub passphrase_file: Option<PathBuf>,
    /// Whether tokens also contain their certificate chain.
    pub x5c: bool,
    /// Seconds between two polls of the files.
    pub poll_interval: u32,
    /// Seconds between the publication of a chain and its first signature.
    pub publication_delay: u32,
    pub pkcs11: Pkcs11,
}

impl Default for Signer {
    fn default() -> Self {
        Self {
            dir: None,
            key_file: None,
            key_uri: None,
            chain_file: None,
            passphrase: None,
            passphrase_file: None,
            x5c: false,
            poll_interval: 10,
            publication_delay: 300,
            pkcs11: Pkcs11::default(),
        }
    }
}

impl Signer {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let key = self.key_file.is_some() || self.key_uri.is_some();
        if self.dir.is_none() && key != self.chain_file.is_some() {
            return wrong(
                "signer.key_file",
                "and `signer.chain_file` go together; one of them is missing",
            );
        }
        exclude_each_other(
            ("signer.key_file", self.key_file.is_some()),
            ("signer.key_uri", self.key_uri.is_some()),
        )?;
        exclude_each_other(
            ("signer.passphrase", self.passphrase.is_some()),
            ("signer.passphrase_file", self.passphrase_file.is_some()),
        )?;
        at_least_one("signer.poll_interval", self.poll_interval.into())?;
        self.pkcs11.validate()?;
        let shortest = self.poll_interval.saturating_mul(3);
        if self.publication_delay != 0 && self.publication_delay < shortest {
            return wrong(
                "signer.publication_delay",
                format!(
                    "must be at least three times `signer.poll_interval`, which is {shortest} seconds, so that every \
                     replica publishes a chain before any signs with it; or 0, for a process without replicas"
                ),
            );
        }
        Ok(())
    }
}
