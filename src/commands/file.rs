//! Files that the user names: read whole, and written atomically. Reads are bounded, so that a
//! device or a mistyped name cannot fill the memory.

use std::error::Error;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;
use tn_authority::signer::FileKey;
use tn_authority::signer::key::warn_if_open_to_others;

/// Larger than any key, certificate chain, list of roots or token.
const MAX_BYTES: u64 = 4 << 20;

/// The bytes of a file, which can be a pipe.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map_err(|e| unreadable(path, &e))
}

/// The text of a file.
pub fn text(path: &Path) -> Result<String, String> {
    utf8(path, bytes(path)?)
}

/// The text of a file; `None` if the file does not exist.
pub fn text_if_any(path: &Path) -> Result<Option<String>, String> {
    match read(path) {
        Ok(bytes) => utf8(path, bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// Reads a private key; warns if other users can read its file.
pub fn own_key(path: &Path) -> Result<FileKey, Box<dyn Error>> {
    let pem = bytes(path)?;
    warn_if_open_to_others("key", path);
    Ok(FileKey::from_pem(&pem)
        .map_err(|e| format!("the key in `{}` cannot be used: {e}", path.display()))?)
}

/// Writes a world-readable file atomically, replacing an existing one.
pub fn publish(path: &Path, content: &[u8]) -> Result<(), String> {
    put(path, content, 0o644, |file| file.persist(path).map(drop))
}

/// Writes a file atomically that only its owner can read. Never replaces an existing one.
pub fn keep(path: &Path, content: &[u8]) -> Result<(), String> {
    put(path, content, 0o600, |file| {
        file.persist_noclobber(path).map(drop)
    })
}

/// Writes a temporary file in the same folder, syncs it, then renames it, and syncs the folder.
fn put(
    path: &Path,
    content: &[u8],
    mode: u32,
    persist: impl FnOnce(NamedTempFile) -> Result<(), tempfile::PersistError>,
) -> Result<(), String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let written = || {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        persist(file)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|e: io::Error| format!("`{}` cannot be written: {e}", path.display()))
}

/// Reads to the end, up to the same bound.
///
/// # Errors
/// `FileTooLarge` if there is more than the bound.
pub fn all_of(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("more than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    all_of(File::open(path)?)
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|_| format!("`{}` cannot be read: it is not UTF-8", path.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("`{}` cannot be read: {error}", path.display())
}
