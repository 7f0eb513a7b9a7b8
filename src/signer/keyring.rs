//! What there is to sign with: keys and chains from files, from a folder that may change at any time, and from modules of
//! hardware. Each chain finds its key by the public key, so that a renewed certificate needs nothing but its own file.
//!
//! A bad file changes nothing: it is refused with its reason, and looked at again the next time.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::key::warn_if_open_to_others;
use super::pkcs11::{KeyUri, Pkcs11};
use super::{Chain, FileKey, SecretSource, Signer, SignerError, SigningKey};
use crate::domain::{Spc, Time};

/// Where the carrier keeps what it signs with, and what it is.
#[derive(Debug, Clone)]
pub struct Sources {
    /// PEM file of a private key.
    pub key_file: Option<PathBuf>,
    /// A key in a module of hardware (RFC 7512).
    pub key_uri: Option<KeyUri>,
    /// Keys that somebody has opened already.
    pub keys: Vec<Arc<dyn SigningKey>>,
    /// PEM file of a certificate chain, leaf first.
    pub chain_file: Option<PathBuf>,
    /// A folder of chains and keys, in files `*.pem`, `*.crt`, `*.cer`, `*.key` and `*.uri`.
    pub dir: Option<PathBuf>,
    /// Opens encrypted keys.
    pub passphrase: Option<SecretSource>,
    pub pkcs11: Pkcs11,
    /// The `https` URL of the service, without a slash at its end: `iss`, and the front of `x5u`.
    pub public_url: String,
    /// Whether tokens carry the chain itself too (RFC 7515 §4.1.6).
    pub x5c: bool,
    /// The carrier's own service provider codes.
    pub spcs: Vec<Spc>,
}

/// Whether somebody vouches that the files are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanMode {
    /// Nobody does: a new file is taken when it looks the same twice.
    Polled,
    /// Whoever asks for it now has finished writing.
    Asked,
}

/// What was found.
#[derive(Debug, Default)]
pub struct ScanResult {
    /// What can sign, each chain once.
    pub signers: Vec<Arc<Signer>>,
    pub refused: Vec<RefusedFile>,
}

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// Its path, or the URI of a key.
    pub file: String,
    pub reason: String,
    /// The chain in it, if that much could be read.
    pub chain: Option<String>,
}

/// Looks for keys and chains, again and again.
#[derive(Debug)]
pub struct Keyring {
    sources: Sources,
    memory: Mutex<FileCache>,
}

/// What does not have to be read again.
#[derive(Debug, Default)]
struct FileCache {
    seen: BTreeMap<PathBuf, Stamp>,
    files: BTreeMap<PathBuf, (Stamp, Content)>,
    /// Keys in modules of hardware, by their URI: each has threads and sessions.
    hsm: BTreeMap<String, Arc<dyn SigningKey>>,
}

/// Changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

/// What a file holds.
#[derive(Debug, Clone, Default)]
struct Content {
    key: Option<Arc<dyn SigningKey>>,
    chain: Option<Chain>,
    uri: Option<KeyUri>,
}

impl Keyring {
    /// A keyring that has not looked yet.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            memory: Mutex::default(),
        }
    }

    /// The carrier's codes.
    #[must_use]
    pub fn spcs(&self) -> &[Spc] {
        &self.sources.spcs
    }

    /// The front of `x5u`.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.sources.public_url
    }

    /// Looks at everything. Blocks: it reads files, and may ask a module of hardware.
    #[must_use]
    pub fn scan(&self, at: Time, patience: ScanMode) -> ScanResult {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = ScanResult::default();
        let mut keys = self.sources.keys.clone();
        let mut chains = Vec::new();
        let mut uris: Vec<KeyUri> = self.sources.key_uri.iter().cloned().collect();

        let paths = self.paths(&mut found);
        memory.seen.retain(|path, _| paths.contains(path));
        memory.files.retain(|path, _| paths.contains(path));
        for path in paths {
            match self.content(&path, patience, &mut memory) {
                Ok(content) => {
                    keys.extend(content.key);
                    uris.extend(content.uri);
                    chains.extend(content.chain.map(|chain| (path, chain)));
                }
                // The next look will tell.
                Err(SignerError::Unsettled) => {}
                Err(error) => found.refuse(path.display(), &error, None),
            }
        }
        for uri in uris {
            match self.hsm_key(&uri, &mut memory) {
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

    /// The files, in the order of their names.
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
        let known = |path: &PathBuf| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| KNOWN.contains(&extension))
        };
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(known)
            .collect();
        inside.sort_unstable();
        paths.append(&mut inside);
        paths
    }

    /// What a file holds, unless it is still being written.
    fn content(
        &self,
        path: &Path,
        patience: ScanMode,
        memory: &mut FileCache,
    ) -> Result<Content, SignerError> {
        let stamp = Stamp::of(path)?;
        if let Some((known, content)) = memory.files.get(path)
            && *known == stamp
        {
            return Ok(content.clone());
        }
        let before = memory.seen.insert(path.to_owned(), stamp);
        if patience == ScanMode::Polled && before != Some(stamp) {
            return Err(SignerError::Unsettled);
        }
        let content = self.read(path)?;
        if Stamp::of(path)? != stamp {
            return Err(SignerError::Unsettled);
        }
        memory
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
        memory: &mut FileCache,
    ) -> Result<Arc<dyn SigningKey>, SignerError> {
        if let Some(key) = memory.hsm.get(&uri.to_string()) {
            return Ok(Arc::clone(key));
        }
        let key: Arc<dyn SigningKey> = Arc::new(self.sources.pkcs11.open(uri)?);
        memory.hsm.insert(uri.to_string(), Arc::clone(&key));
        Ok(key)
    }

    fn signer(
        &self,
        chain: Chain,
        keys: &[Arc<dyn SigningKey>],
        at: Time,
    ) -> Result<Signer, SignerError> {
        let (url, x5c) = (&self.sources.public_url, self.sources.x5c);
        // What is wrong with the certificate itself is said first.
        chain.usable_at(at)?;
        chain.names_one_of(&self.sources.spcs)?;
        let its_own = |key: &&Arc<dyn SigningKey>| key.public_key_der() == chain.leaf_key_der();
        let key = match (keys.iter().find(its_own), keys) {
            (Some(key), _) => key,
            // With one key and no other, it was meant to be that one.
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

    /// Refuses to go on without anything that signs, and says why each file cannot.
    ///
    /// # Errors
    /// [`SignerError::NothingSigns`].
    pub fn require_any(self) -> Result<Self, SignerError> {
        if !self.signers.is_empty() {
            return Ok(self);
        }
        let why = |refused: &RefusedFile| format!("`{}`: {}", refused.file, refused.reason);
        let mut reasons: Vec<String> = self.refused.iter().map(why).collect();
        if reasons.is_empty() {
            reasons.push("there is no certificate".to_owned());
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
