//! The files of `redeem`: keys that nobody else can read, and certificates that are there as a whole or not at all.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;
use tn_authority::domain::Passphrase;
use tn_authority::signer::FileKey;
use tn_authority::signer::key::warn_if_open_to_others;

use crate::commands::file;

/// Reads a key, or makes one.
pub(super) fn key(path: &Path) -> Result<FileKey, Box<dyn Error>> {
    match fs::exists(path) {
        Ok(true) => {
            let pem = file::bytes(path)?;
            warn_if_open_to_others("key", path);
            Ok(FileKey::from_pem(&pem)
                .map_err(|e| format!("the key in `{}`: {e}", path.display()))?)
        }
        Ok(false) => Ok(super::super::certificate::new_key_file(path)?),
        Err(e) => Err(format!("`{}` cannot be looked at: {e}", path.display()).into()),
    }
}

/// Reads a text that nobody else should read.
pub(super) fn secret(path: &Path) -> Result<Passphrase, Box<dyn Error>> {
    Ok(Passphrase::from(file::text(path)?.trim()))
}

/// Puts a certificate into its place, for everybody to read: beside it first, then on disk, then by its name.
pub(super) fn publish(path: &Path, pem: &[u8]) -> Result<(), String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let written = || {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(pem)?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(folder)?.sync_all()
    };
    written().map_err(|e: std::io::Error| format!("`{}` cannot be written: {e}", path.display()))
}
