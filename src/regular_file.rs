//! Reads files that the configuration names, which operators replace while the service runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::OFlags;

/// Larger than any key, certificate chain, bundle of CAs or secret.
pub const MAX_BYTES: u64 = 4 << 20;

/// Metadata that changes when a file is replaced or written: device, inode, length, and the times
/// of the last write and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    file: (u64, u64),
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// The stamp of a file, or of what a link leads to; `None` if there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            file: (file.dev(), file.ino()),
            length: file.len(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// A file that is read again when it has changed.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    /// From before it was last read.
    stamp: Mutex<Option<FileStamp>>,
}

impl WatchedFile {
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self {
            path,
            stamp: Mutex::new(None),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is another one than when it was last read.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        *self.stamp.lock() != FileStamp::of(&self.path)
    }

    /// Reads it, as [`read_text`] does.
    ///
    /// # Errors
    /// As for [`read_text`].
    pub fn read_text(&self) -> io::Result<String> {
        *self.stamp.lock() = FileStamp::of(&self.path);
        read_text(&self.path)
    }
}

/// Opens a regular file. Anything else is refused: a named pipe would wait for its writer, and a
/// device can be endless.
///
/// # Errors
/// That of the system, or that it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Does not wait for the writer of a pipe; for a regular file it has no effect.
    let flags = OFlags::NONBLOCK
        .bits()
        .try_into()
        .map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// As for [`open`], or that the file is longer.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "it is longer than {max_bytes} bytes"
        )));
    }
    Ok(content)
}

/// Reads a regular file of at most [`MAX_BYTES`] as text.
///
/// # Errors
/// As for [`read`], or that the text is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path, MAX_BYTES)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("text"), "1234").expect("a file");
        std::os::unix::fs::symlink(path("text"), path("link")).expect("a link");
        mknodat(
            CWD,
            path("pipe"),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe");
        assert_eq!(read_text(&path("text")).expect("text"), "1234");
        assert_eq!(read(&path("link"), 4).expect("bytes"), b"1234");
        let why = |outcome: io::Result<Vec<u8>>| outcome.expect_err("not read").to_string();
        assert!(why(read(&path("text"), 3)).contains("longer than 3 bytes"));
        for name in [path("pipe"), dir.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(why(read(&name, 9)), "it is not a regular file");
        }
        assert!(read(&path("none"), 9).is_err());
        fs::write(path("text"), b"\xff").expect("a file");
        assert!(
            read_text(&path("text"))
                .expect_err("not text")
                .to_string()
                .contains("UTF-8")
        );
    }
}
