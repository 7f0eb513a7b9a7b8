//! Metadata that tells whether a file has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Metadata that changes when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyFileStamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl KeyFileStamp {
    /// The stamp of the file that a path leads to, through any symbolic links.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    pub(super) const fn is_empty(self) -> bool {
        self.length == 0
    }
}
