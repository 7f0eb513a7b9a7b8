//! Reads files that operators replace while the service runs: only regular ones, and only up to a
//! bound. A named pipe would wait for its writer, and a device or a mistyped name can fill the
//! memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file, through any symbolic links. Never waits.
///
/// # Errors
/// If the file cannot be opened, or is anything else.
pub fn open(path: &Path) -> io::Result<File> {
    // The check is of what was opened: a file can be replaced at any time. Regular files ignore the
    // flag.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// If it cannot be read, is longer, or is anything else.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = open(path)?;
    file.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "it is longer than {max_bytes} bytes"
        )));
    }
    Ok(content)
}

/// Reads a regular file of at most `max_bytes` of UTF-8.
///
/// # Errors
/// As for [`read`], and if it is not UTF-8.
pub fn text(path: &Path, max_bytes: u64) -> io::Result<String> {
    String::from_utf8(read(path, max_bytes)?).map_err(|_| io::Error::other("it is not UTF-8"))
}
