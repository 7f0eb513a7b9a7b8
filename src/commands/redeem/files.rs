//! The keys and secrets of `redeem`.

use std::error::Error;
use std::fs;
use std::path::Path;

use tn_authority::domain::Passphrase;
use tn_authority::signer::FileKey;
use tn_authority::signer::key::warn_if_open_to_others;

use crate::commands::file;

/// Reads a key; generates it if the file does not exist.
pub(super) fn key(path: &Path) -> Result<FileKey, Box<dyn Error>> {
    match fs::exists(path) {
        Ok(true) => file::own_key(path),
        Ok(false) => Ok(super::super::certificate::new_key_file(path)?),
        Err(e) => Err(format!("cannot check whether `{}` exists: {e}", path.display()).into()),
    }
}

/// Reads a secret, without the white space around it; warns if other users can read its file.
pub(super) fn secret(path: &Path) -> Result<Passphrase, Box<dyn Error>> {
    let text = file::text(path)?;
    warn_if_open_to_others("secret", path);
    Ok(Passphrase::from(text.trim()))
}
