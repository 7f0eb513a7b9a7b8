//! Reads files that operators replace while the service runs.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a regular file of at most `max_bytes`. Anything else is refused: opening a named pipe
/// would wait for its writer.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "it is longer than {max_bytes} bytes"
        )));
    }
    Ok(content)
}
