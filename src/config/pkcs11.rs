//! `[signer.pkcs11]`: keys in hardware security modules.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{at_least_one, exclude_each_other, within};
use crate::domain::Passphrase;

/// Hardware security modules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pkcs11 {
    /// The module's shared library.
    pub module: Option<PathBuf>,
    pub pin: Option<Passphrase>,
    pub pin_file: Option<PathBuf>,
    /// Signatures at the same time, per key.
    pub sessions: usize,
    /// The capacity of the queue; when it is full, requests get 503.
    pub queue: usize,
    /// The timeout of a signature, in seconds, including its time in the queue.
    pub timeout: u64,
    /// The timeout for opening a key, in seconds: loading the module, the login and a signature.
    pub open_timeout: u64,
}

impl Default for Pkcs11 {
    fn default() -> Self {
        Self {
            module: None,
            pin: None,
            pin_file: None,
            sessions: 4,
            queue: 256,
            timeout: 5,
            open_timeout: 30,
        }
    }
}

impl Pkcs11 {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        exclude_each_other(
            ("signer.pkcs11.pin", self.pin.is_some()),
            ("signer.pkcs11.pin_file", self.pin_file.is_some()),
        )?;
        within("signer.pkcs11.sessions", self.sessions as u64, 256)?;
        within("signer.pkcs11.queue", self.queue as u64, 100_000)?;
        at_least_one("signer.pkcs11.timeout", self.timeout)?;
        within("signer.pkcs11.open_timeout", self.open_timeout, 3_600)
    }
}
