//! The files of a keyring: which ones there are, and what is in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FileCache, Keyring, ScanMode, ScanResult};
use crate::domain::signing::certificate::Certificate;
use crate::regular_file;
use crate::signer::file_stamp::KeyFileStamp;
use crate::signer::key::warn_if_open_to_others;
use crate::signer::pem;
use crate::signer::pkcs11::KeyUri;
use crate::signer::{Chain, FileKey, SignerError, SigningKey};

/// What the files of a folder are called that can be of use.
const KNOWN: [&str; 5] = ["pem", "crt", "cer", "key", "uri"];
/// The names under which others put issuers' certificates beside a key and its chain. Such a file
/// may be empty.
const OF_ISSUERS: [&str; 2] = ["ca.crt", "chain.pem"];

/// The contents of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) key: Option<Arc<dyn SigningKey>>,
    pub(super) certificates: Option<Certificates>,
    pub(super) uri: Option<KeyUri>,
}

/// The certificates of a file.
#[derive(Debug, Clone)]
pub(super) enum Certificates {
    Chain(Box<Chain>),
    /// Certificates of CAs only, which need not be a chain.
    OfCas(Vec<Certificate>),
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScannedFile {
    pub(super) path: PathBuf,
    /// Whether the configuration names the file, and not only its folder.
    pub(super) is_named: bool,
}

impl Keyring {
    /// The configured files, then those of the folder, sorted by name.
    pub(super) fn files(&self, found: &mut ScanResult) -> Vec<ScannedFile> {
        let configured = [&self.sources.key_file, &self.sources.chain_file];
        let mut files: Vec<ScannedFile> = configured
            .into_iter()
            .flatten()
            .map(|path| ScannedFile {
                path: path.clone(),
                is_named: true,
            })
            .collect();
        let Some(dir) = &self.sources.dir else {
            return files;
        };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(source) => {
                let path = dir.clone();
                found.refuse(dir.display(), &SignerError::Folder { path, source }, None);
                return files;
            }
        };
        let is_known = |path: &PathBuf| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| KNOWN.contains(&extension))
        };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(is_known)
            .collect();
        paths.sort_unstable();
        files.extend(paths.into_iter().map(|path| ScannedFile {
            path,
            is_named: false,
        }));
        files
    }

    /// Where the link leads that all files of a volume of Kubernetes go through. It is turned to
    /// another folder when the files change, all at once.
    pub(super) fn volume(&self) -> Option<PathBuf> {
        fs::read_link(self.sources.dir.as_ref()?.join("..data")).ok()
    }

    /// The contents of a file, from the cache if it has not changed; an error if it is still being
    /// written.
    pub(super) fn content(
        &self,
        path: &Path,
        mode: ScanMode,
        cache: &mut FileCache,
    ) -> Result<Content, SignerError> {
        let stamp = KeyFileStamp::of(path).map_err(|source| unreadable(path, source))?;
        if let Some((known, content)) = cache.files.get(path)
            && *known == stamp
        {
            return Ok(content.clone());
        }
        let previous = cache.stamps.insert(path.to_owned(), stamp);
        if mode == ScanMode::Polled && previous != Some(stamp) {
            return Err(SignerError::Unsettled);
        }
        let content = if stamp.is_empty() && is_named_after_issuers(path) {
            Content::default()
        } else {
            self.read(path)?
        };
        if KeyFileStamp::of(path).map_err(|source| unreadable(path, source))? != stamp {
            return Err(SignerError::Unsettled);
        }
        cache
            .files
            .insert(path.to_owned(), (stamp, content.clone()));
        Ok(content)
    }

    fn read(&self, path: &Path) -> Result<Content, SignerError> {
        let bytes = regular_file::read(path, regular_file::MAX_BYTES)
            .map_err(|source| unreadable(path, source))?;
        let text = pem::text(&bytes);
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
            content.certificates = Some(Certificates::from_pem(&text)?);
        }
        let mut uris = text.lines().filter_map(key_uri);
        match (uris.next(), uris.next()) {
            (Some(uri), None) => content.uri = Some(uri.parse()?),
            (Some(_), Some(_)) => {
                return Err(SignerError::SeveralUris(path.display().to_string()));
            }
            (None, _) => {}
        }
        if content.key.is_none() && content.certificates.is_none() && content.uri.is_none() {
            return Err(SignerError::NotForSigning(path.display().to_string()));
        }
        Ok(content)
    }
}

impl Certificates {
    fn from_pem(text: &str) -> Result<Self, SignerError> {
        let all = Certificate::chain_from_pem(text)?;
        if all.iter().all(Certificate::is_ca) {
            return Ok(Self::OfCas(all));
        }
        Chain::from_pem(text).map(|chain| Self::Chain(Box::new(chain)))
    }
}

fn is_named_after_issuers(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| OF_ISSUERS.contains(&name))
}

/// The URI in a line, which may be one that `p11tool` printed.
fn key_uri(line: &str) -> Option<&str> {
    let line = line.trim();
    let uri = line.strip_prefix("URL:").map_or(line, str::trim_start);
    uri.starts_with("pkcs11:").then_some(uri)
}

fn unreadable(path: &Path, source: std::io::Error) -> SignerError {
    SignerError::Unreadable {
        what: "file",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_as_p11tool_prints_it() {
        for line in [
            "pkcs11:token=carrier",
            "\tURL: pkcs11:token=carrier",
            "URL:pkcs11:token=carrier\r",
            "  pkcs11:token=carrier ",
        ] {
            assert_eq!(key_uri(line), Some("pkcs11:token=carrier"), "{line:?}");
        }
        for line in [
            "# pkcs11:token=carrier",
            "Object 0:",
            "",
            "\tLabel: pkcs11:x",
        ] {
            assert_eq!(key_uri(line), None, "{line:?}");
        }
    }
}
