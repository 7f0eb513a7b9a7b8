//! Finds signing keys and certificate chains: in configured files, in a folder that may change at
//! any time, and in HSMs. A chain and its key are matched by the public key, so a renewed
//! certificate needs only its own file.
//!
//! An unusable file has no effect on the others: it is refused with a reason, and read again at the
//! next scan.

mod chains;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::file_stamp::KeyFileStamp;
use super::pkcs11::{KeyUri, Pkcs11};
use super::{Chain, SecretSource, Signer, SignerError, SigningKey};
use crate::domain::{Spc, Time};
use chains::{chains, public_keys};
use files::Content;

/// How often a scan is repeated because the files were exchanged meanwhile.
const MAX_REPEATED_SCANS: usize = 3;

/// Where the carrier's keys and chains are, and the URL and codes to use them with.
#[derive(Debug, Clone)]
pub struct Sources {
    /// PEM file of a private key.
    pub key_file: Option<PathBuf>,
    /// A key in an HSM (RFC 7512).
    pub key_uri: Option<KeyUri>,
    /// Keys that are already open.
    pub keys: Vec<Arc<dyn SigningKey>>,
    /// PEM file of a certificate chain, leaf first.
    pub chain_file: Option<PathBuf>,
    /// A folder of chains and keys, in files `*.pem`, `*.crt`, `*.cer`, `*.key` and `*.uri`.
    pub dir: Option<PathBuf>,
    /// Decrypts encrypted keys.
    pub passphrase: Option<SecretSource>,
    pub pkcs11: Pkcs11,
    /// The `https` URL of the service, without a trailing slash: `iss`, and the prefix of `x5u`.
    pub public_url: String,
    /// Whether tokens also contain the chain itself as `x5c` (RFC 7515 §4.1.6).
    pub x5c: bool,
    /// The carrier's own service provider codes.
    pub spcs: Vec<Spc>,
}

/// Whether the files can be assumed to be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanMode {
    /// No: a new file is used once two consecutive scans found it unchanged.
    Polled,
    /// Yes: an operator requested the scan, after writing the files.
    Asked,
}

/// The result of a scan.
#[derive(Debug, Clone, Default)]
pub struct ScanResult {
    /// The usable signers, one for each chain.
    pub signers: Vec<Arc<Signer>>,
    pub refused: Vec<RefusedFile>,
    /// Files that have only certificates of CAs, which are used to complete the chains of others.
    pub issuers: Vec<String>,
    /// The file of each chain that a signer has, by the name of the chain.
    pub files: BTreeMap<String, String>,
    /// Whether an HSM has refused the PIN.
    pub pin_refused: bool,
}

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// The path, or the URI of a key.
    pub file: String,
    pub reason: String,
    /// The name of the chain in it, if the chain could be read.
    pub chain: Option<String>,
}

/// Scans for keys and chains, and caches what has not changed since the previous scan.
#[derive(Debug)]
pub struct Keyring {
    sources: Sources,
    cache: Mutex<FileCache>,
}

/// Files and keys that do not have to be read or opened again.
#[derive(Debug, Default)]
struct FileCache {
    stamps: BTreeMap<PathBuf, KeyFileStamp>,
    files: BTreeMap<PathBuf, (KeyFileStamp, Content)>,
    /// Keys in HSMs, by their URI. They stay open because each has threads and sessions.
    hsm: BTreeMap<String, Arc<dyn SigningKey>>,
    /// The chains whose warnings have been logged, by name.
    warned: BTreeSet<String>,
}

impl Keyring {
    /// A keyring; call [`Keyring::scan`] to fill it.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            cache: Mutex::default(),
        }
    }

    /// The carrier's own service provider codes.
    #[must_use]
    pub fn spcs(&self) -> &[Spc] {
        &self.sources.spcs
    }

    /// The prefix of `x5u`.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.sources.public_url
    }

    /// Scans all sources. Blocks: it reads files, and may open a session with an HSM.
    #[must_use]
    pub fn scan(&self, at: Time, mode: ScanMode) -> ScanResult {
        let mut cache = self.cache.lock();
        let mut volume = self.volume();
        let mut found = self.scan_once(at, mode, &mut cache);
        // Files of two states of a volume do not go together.
        for _ in 0..MAX_REPEATED_SCANS {
            let now = self.volume();
            if now == volume {
                break;
            }
            volume = now;
            found = self.scan_once(at, mode, &mut cache);
        }
        found
    }

    fn scan_once(&self, at: Time, mode: ScanMode, cache: &mut FileCache) -> ScanResult {
        let mut found = ScanResult::default();
        let mut keys = self.sources.keys.clone();
        let mut certificates = Vec::new();
        let mut uris: Vec<KeyUri> = self.sources.key_uri.iter().cloned().collect();

        let files = self.files(&mut found);
        let is_there = |path: &PathBuf| files.iter().any(|file| file.path == *path);
        cache.stamps.retain(|path, _| is_there(path));
        cache.files.retain(|path, _| is_there(path));
        for file in files {
            match self.content(&file.path, mode, cache) {
                Ok(content) => {
                    keys.extend(content.key);
                    uris.extend(content.uri);
                    certificates.extend(content.certificates.map(|found| (file, found)));
                }
                // It is read at the next scan.
                Err(SignerError::Unsettled) => {}
                Err(error) => found.refuse(file.path.display(), &error, None),
            }
        }
        let known = public_keys(&certificates);
        for uri in uris {
            match self.hsm_key(&uri, &known, cache) {
                Ok(key) => keys.push(key),
                Err(error) => found.refuse(&uri, &error, None),
            }
        }
        for (path, chain) in chains(certificates, &keys, at, &mut found) {
            let name = chain.name().to_owned();
            if cache.warned.insert(name.clone()) {
                for warning in chain.warnings() {
                    let path = path.display().to_string();
                    log::warn!(path; "{warning}");
                }
            }
            match self.signer(chain, &keys, at) {
                Ok(signer) => {
                    found.files.insert(name, path.display().to_string());
                    found.signers.push(Arc::new(signer));
                }
                Err(error) => found.refuse(path.display(), &error, Some(name)),
            }
        }
        found
    }

    fn hsm_key(
        &self,
        uri: &KeyUri,
        known: &[Vec<u8>],
        cache: &mut FileCache,
    ) -> Result<Arc<dyn SigningKey>, SignerError> {
        if let Some(key) = cache.hsm.get(&uri.to_string()) {
            return Ok(Arc::clone(key));
        }
        let key: Arc<dyn SigningKey> = Arc::new(self.sources.pkcs11.open(uri, known)?);
        cache.hsm.insert(uri.to_string(), Arc::clone(&key));
        Ok(key)
    }

    fn signer(
        &self,
        chain: Chain,
        keys: &[Arc<dyn SigningKey>],
        at: Time,
    ) -> Result<Signer, SignerError> {
        let (url, x5c) = (&self.sources.public_url, self.sources.x5c);
        // Report faults of the certificate itself before a missing key.
        chain.usable_at(at)?;
        chain.names_one_of(&self.sources.spcs)?;
        let matches = |key: &&Arc<dyn SigningKey>| key.public_key_der() == chain.leaf_key_der();
        let key = match (keys.iter().find(matches), keys) {
            (Some(key), _) => key,
            // With a single configured key, report that it does not match rather than that none was
            // found.
            (None, [only]) if self.sources.dir.is_none() => only,
            (None, _) => {
                return Err(SignerError::NoKey {
                    subject: chain.leaf().subject(),
                });
            }
        };
        Signer::new(Arc::clone(key), chain, url, x5c, &self.sources.spcs, at)
    }
}

impl ScanResult {
    fn refuse(&mut self, file: impl std::fmt::Display, error: &SignerError, chain: Option<String>) {
        self.pin_refused |= matches!(error, SignerError::Hsm(error) if error.is_about_the_pin());
        self.refused.push(RefusedFile {
            file: file.to_string(),
            reason: error.to_string(),
            chain,
        });
    }

    /// Requires at least one signer.
    ///
    /// # Errors
    /// [`SignerError::NothingSigns`] or [`SignerError::PinRefused`], with the reason for each
    /// refused file.
    pub fn require_any(self) -> Result<Self, SignerError> {
        if !self.signers.is_empty() {
            return Ok(self);
        }
        let describe = |refused: &RefusedFile| format!("`{}`: {}", refused.file, refused.reason);
        let mut reasons: Vec<String> = self.refused.iter().map(describe).collect();
        let of_issuers = |file: &String| format!("`{file}` has only certificates of CAs");
        reasons.extend(self.issuers.iter().map(of_issuers));
        if reasons.is_empty() {
            reasons.push("no certificate was found".to_owned());
        }
        Err(if self.pin_refused {
            SignerError::PinRefused(reasons)
        } else {
            SignerError::NothingSigns(reasons)
        })
    }
}
