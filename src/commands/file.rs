//! Files that the user names: read as a whole, up to a bound. A device or a mistaken name must not fill the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than any key, certificate chain, list of roots or token has.
const MOST_BYTES: u64 = 4 << 20;

/// The bytes of a file; a pipe may be one.
///
/// # Errors
/// Says which file cannot be read, and why.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map_err(|e| unreadable(path, &e))
}

/// The text of a file.
///
/// # Errors
/// Says which file cannot be read, and why.
pub fn text(path: &Path) -> Result<String, String> {
    utf8(path, bytes(path)?)
}

/// The text of a file, if there is one.
///
/// # Errors
/// Says which file cannot be read, and why.
pub fn text_if_any(path: &Path) -> Result<Option<String>, String> {
    match read(path) {
        Ok(bytes) => utf8(path, bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// All that comes, up to the same bound.
///
/// # Errors
/// Whatever keeps it from being read; or that it is too much.
pub fn all_of(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let why = format!("there are more than {MOST_BYTES} bytes");
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
