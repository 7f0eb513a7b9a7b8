//! Whether the file of an SQLite database is still the one that was opened.
//!
//! SQLite keeps its files open, so it does not notice if one is removed or replaced: it goes on to
//! commit into files that no name leads to, and everything is lost when the process ends. So each
//! transaction compares the files at the path with those that were opened. A difference is final
//! until a restart, even if the files return: meanwhile another process may have written to them.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::SimpleConnection as _;
use parking_lot::Mutex;

use super::connection::{AnyConnection, IfMissing};
use super::database_url::DatabaseUrl;
use super::error::{OpenError, StoreError};

/// The files of an open database.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    file: FileId,
    wal: PathBuf,
    wal_file: FileId,
    /// The largest size of the file so far. SQLite only makes it smaller in a VACUUM.
    largest: AtomicU64,
    /// What happened to the files, once something has.
    fault: OnceLock<String>,
    /// SQLite deletes the write-ahead log with the last connection. This one is not used, but
    /// keeps it.
    _keeper: Mutex<Keeper>,
}

struct Keeper(#[expect(dead_code, reason = "it is only kept open")] AnyConnection);

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper(..)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl SqliteFile {
    /// Remembers the files of a database that exists. `None` for PostgreSQL.
    pub(super) fn open(url: &DatabaseUrl) -> Result<Option<Self>, OpenError> {
        let DatabaseUrl::Sqlite(path) = url else {
            return Ok(None);
        };
        let failed = |error: &dyn ToString| OpenError::Connect(error.to_string());
        // SQLite follows links, and puts the log beside the file that they lead to.
        let real = fs::canonicalize(path).map_err(|e| failed(&e))?;
        let file = fs::metadata(&real).map_err(|e| failed(&e))?;
        let mut keeper = url.connect(IfMissing::Fail).map_err(|e| failed(&e))?;
        // SQLite opens the log at the first read.
        keeper
            .batch_execute("SELECT count(*) FROM sqlite_master")
            .map_err(|e| failed(&e))?;
        let mut wal = real.into_os_string();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let opened = Self {
            path: path.clone(),
            file: (&file).into(),
            wal_file: (&fs::metadata(&wal).map_err(|e| failed(&e))?).into(),
            wal,
            largest: AtomicU64::new(0),
            fault: OnceLock::new(),
            _keeper: Mutex::new(Keeper(keeper)),
        };
        opened.check().map_err(|e| failed(&e))?;
        Ok(Some(opened))
    }

    /// Fails if a file was removed, replaced or truncated, now or before. Takes two system calls.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.fault.get().is_none() {
            let fault = self.find_fault();
            let fault =
                fault.map_err(|e| StoreError::Unavailable(format!("the SQLite file: {e}")))?;
            if let Some(fault) = fault
                && self.fault.set(fault.clone()).is_ok()
            {
                log::error!(
                    "{fault}; nothing is issued or changed until a restart: stop the service, put \
                     the files back or restore a backup, and start it again"
                );
            }
        }
        match self.fault.get() {
            None => Ok(()),
            Some(fault) => Err(StoreError::Unavailable(format!(
                "{fault}; restart the service when the files are in order"
            ))),
        }
    }

    fn find_fault(&self) -> std::io::Result<Option<String>> {
        let size = match examine(&self.path, self.file)? {
            Found::Same(size) => size,
            Found::Fault(fault) => return Ok(Some(fault)),
        };
        if size < self.largest.fetch_max(size, Ordering::Relaxed) {
            return Ok(Some(format!(
                "the SQLite file `{}` was truncated, overwritten or vacuumed",
                self.path.display()
            )));
        }
        // Its size says nothing: other tools may empty it after a checkpoint.
        Ok(match examine(&self.wal, self.wal_file)? {
            Found::Same(_) => None,
            Found::Fault(fault) => Some(fault),
        })
    }
}

enum Found {
    /// The file that was opened; its size.
    Same(u64),
    Fault(String),
}

/// Compares the file at a path with the one that was opened. An error of the file system itself
/// does not say that they differ.
fn examine(path: &Path, opened: FileId) -> std::io::Result<Found> {
    let what = match fs::metadata(path) {
        Ok(found) if FileId::from(&found) == opened => return Ok(Found::Same(found.len())),
        Ok(_) => "replaced",
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            "moved or removed"
        }
        Err(error) => return Err(error),
    };
    Ok(Found::Fault(format!(
        "the SQLite file `{}` was {what}",
        path.display()
    )))
}
