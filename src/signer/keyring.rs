//! Finds signing keys and certificate chains: in configured files, in a folder that may change at
//! any time, and in HSMs. A chain and its key are matched by the public key, so a renewed
//! certificate needs only its own file.
//!
//! An unusable file has no effect on the others: it is refused with a reason, and read again at the
//! next scan.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::key::warn_if_open_to_others;
use super::pkcs11::{KeyUri, Pkcs11};
use super::{Chain, FileKey, SecretSource, Signer, SignerError, SigningKey};
use crate::domain::{Spc, Time};

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
#[derive(Debug, Default)]
pub struct ScanResult {
    /// The usable signers, one for each chain.
    pub signers: Vec<Arc<Signer>>,
    pub refused: Vec<RefusedFile>,
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
    stamps: BTreeMap<PathBuf, Stamp>,
    files: BTreeMap<PathBuf, (Stamp, Content)>,
    /// Keys in HSMs, by their URI. They stay open because each has threads and sessions.
    hsm: BTreeMap<String, Arc<dyn SigningKey>>,
}

/// Metadata that changes when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

/// The contents of a file.
#[derive(Debug, Clone, Default)]
struct Content {
    key: Option<Arc<dyn SigningKey>>,
    chain: Option<Chain>,
    uri: Option<KeyUri>,
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
        let mut found = ScanResult::default();
        let mut keys = self.sources.keys.clone();
        let mut chains = Vec::new();
        let mut uris: Vec<KeyUri> = self.sources.key_uri.iter().cloned().collect();

        let paths = self.paths(&mut found);
        cache.stamps.retain(|path, _| paths.contains(path));
        cache.files.retain(|path, _| paths.contains(path));
        for path in paths {
            match self.content(&path, mode, &mut cache) {
                Ok(content) => {
                    keys.extend(content.key);
                    uris.extend(content.uri);
                    chains.extend(content.chain.map(|chain| (path, chain)));
                }
                // It is read at the next scan.
                Err(SignerError::Unsettled) => {}
                Err(error) => found.refuse(path.display(), &error, None),
            }
        }
        for uri in uris {
            match self.hsm_key(&uri, &mut cache) {
                Ok(key) => keys.push(key),
                Err(error) => found.refuse(&uri, &error, None),
            }
        }
        for (path, chain) in chains {
            let name = chain.name().to_owned();
            if found
                .signers
                .iter()
                .any(|known| known.chain().name() == name)
            {
                continue;
            }
            match self.signer(chain, &keys, at) {
                Ok(signer) => found.signers.push(Arc::new(signer)),
                Err(error) => found.refuse(path.display(), &error, Some(name)),
            }
        }
        found
    }

    /// The configured files, then those of the folder, sorted by name.
    fn paths(&self, found: &mut ScanResult) -> Vec<PathBuf> {
        const KNOWN: [&str; 5] = ["pem", "crt", "cer", "key", "uri"];
        let configured = [&self.sources.key_file, &self.sources.chain_file];
        let mut paths: Vec<PathBuf> = configured.into_iter().flatten().cloned().collect();
        let Some(dir) = &self.sources.dir else {
            return paths;
        };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(source) => {
                let path = dir.clone();
                found.refuse(dir.display(), &SignerError::Folder { path, source }, None);
                return paths;
            }
        };
        let is_known = |path: &PathBuf| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| KNOWN.contains(&extension))
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_known)
            .collect();
        files.sort_unstable();
        paths.append(&mut files);
        paths
    }

    /// The contents of a file, from the cache if it has not changed; an error if it is still being
    /// written.
    fn content(
        &self,
        path: &Path,
        mode: ScanMode,
        cache: &mut FileCache,
    ) -> Result<Content, SignerError> {
        let stamp = Stamp::of(path)?;
        if let Some((known, content)) = cache.files.get(path)
            && *known == stamp
        {
            return Ok(content.clone());
        }
        let previous = cache.stamps.insert(path.to_owned(), stamp);
        if mode == ScanMode::Polled && previous != Some(stamp) {
            return Err(SignerError::Unsettled);
        }
        let content = self.read(path)?;
        if Stamp::of(path)? != stamp {
            return Err(SignerError::Unsettled);
        }
        cache
            .files
            .insert(path.to_owned(), (stamp, content.clone()));
        Ok(content)
    }

    fn read(&self, path: &Path) -> Result<Content, SignerError> {
        let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut content = Content::default();
        if text.contains("PRIVATE KEY-----") {
            warn_if_open_to_others("signing key", path);
            let passphrase = self.sources.passphrase.as_ref();
            let passphrase = passphrase.map(|source| source.read("passphrase of the signing key"));
            let key = match passphrase.transpose()? {
                Some(passphrase) => FileKey::from_encrypted_pem(&bytes, &passphrase)?,
                None => FileKey::from_pem(&bytes)?,
            };
            content.key = Some(Arc::new(key));
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            let chain = Chain::from_pem(&text)?;
            for warning in chain.warnings() {
                let path = path.display().to_string();
                log::warn!(path; "{warning}");
            }
            content.chain = Some(chain);
        }
        if let Some(uri) = text.lines().find(|line| line.starts_with("pkcs11:")) {
            content.uri = Some(uri.trim().parse()?);
        }
        if content.key.is_none() && content.chain.is_none() && content.uri.is_none() {
            return Err(SignerError::NotForSigning(path.display().to_string()));
        }
        Ok(content)
    }

    fn hsm_key(
        &self,
        uri: &KeyUri,
        cache: &mut FileCache,
    ) -> Result<Arc<dyn SigningKey>, SignerError> {
        if let Some(key) = cache.hsm.get(&uri.to_string()) {
            return Ok(Arc::clone(key));
        }
        let key: Arc<dyn SigningKey> = Arc::new(self.sources.pkcs11.open(uri)?);
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
        self.refused.push(RefusedFile {
            file: file.to_string(),
            reason: error.to_string(),
            chain,
        });
    }

    /// Requires at least one signer.
    ///
    /// # Errors
    /// [`SignerError::NothingSigns`] with the reason for each refused file.
    pub fn require_any(self) -> Result<Self, SignerError> {
        if !self.signers.is_empty() {
            return Ok(self);
        }
        let describe = |refused: &RefusedFile| format!("`{}`: {}", refused.file, refused.reason);
        let mut reasons: Vec<String> = self.refused.iter().map(describe).collect();
        if reasons.is_empty() {
            reasons.push("no certificate was found".to_owned());
        }
        Err(SignerError::NothingSigns(reasons))
    }
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, SignerError> {
        let metadata: Metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        Ok(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> SignerError {
    SignerError::Unreadable {
        what: "file",
        path: path.to_owned(),
        source,
    }
}
