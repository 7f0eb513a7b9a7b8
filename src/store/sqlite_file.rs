//! Whether the file of an SQLite database is still the one that was opened.
//!
//! SQLite keeps its files open, so it does not notice if one is removed or replaced: it goes on to
//! commit into files that no name leads to, and everything is lost when the process ends. So each
//! transaction compares the files at the path with those that were opened. A difference is final
//! until a restart, even if the files return: meanwhile another process may have written to them.
//!
//! Nor does SQLite notice if its log loses content (`sqlite_log`). It would copy zeros over the
//! database when the last connection is closed, so in that case one is never closed.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::ConnectionError;

use super::connector::IfMissing;
use super::database_url::DatabaseUrl;
use super::error::{OpenError, StoreError};
use super::sqlite_log::{NOT_MEASURED, SqliteLog};

/// Refuses a database file that has several names. SQLite names its log and we name our locks after
/// the file, so processes that use different names would overwrite each other's transactions.
pub(super) fn refuse_hard_links(url: &DatabaseUrl) -> Result<(), ConnectionError> {
    let DatabaseUrl::Sqlite(path) = url else {
        return Ok(());
    };
    match fs::metadata(path) {
        Ok(found) if found.nlink() > 1 => Err(ConnectionError::BadConnection(linked(path))),
        // An error is that of the connection too.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn linked(path: &Path) -> String {
    format!(
        "the SQLite file `{}` has a second name (a hard link), under which it would be damaged: \
         stop all that use it, and remove a name that has no `-wal` beside it; \
         `find / -xdev -samefile FILE` lists the names",
        path.display()
    )
}

/// The files of an open database.
#[derive(Debug)]
pub(super) struct SqliteFile {
    path: PathBuf,
    file: FileId,
    wal: SqliteLog,
    wal_file: FileId,
    /// The largest size of the file so far. SQLite only makes it smaller in a VACUUM.
    largest: AtomicU64,
    /// The size of the log at the last check, or [`NOT_MEASURED`].
    wal_size: AtomicU64,
    /// What happened to the files, once something has.
    fault: OnceLock<FileFault>,
}

#[derive(Debug, Clone)]
struct FileFault {
    what: String,
    /// Whether an open file lost content. If it was only moved or removed, SQLite still has all.
    loses_content: bool,
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
        let connection = url.connect(IfMissing::Fail).map_err(|e| failed(&e))?;
        let wal = SqliteLog::open(connection, &real).map_err(|e| failed(&e))?;
        let opened = Self {
            path: path.clone(),
            file: (&file).into(),
            wal_file: (&fs::metadata(wal.path()).map_err(|e| failed(&e))?).into(),
            wal,
            largest: AtomicU64::new(0),
            wal_size: AtomicU64::new(NOT_MEASURED),
            fault: OnceLock::new(),
        };
        opened.check().map_err(|e| failed(&e))?;
        Ok(Some(opened))
    }

    /// Fails if a file was removed, replaced, truncated or linked, now or before. Takes two system
    /// calls.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.fault.get().is_none() {
            let fault = self.find_fault();
            let fault =
                fault.map_err(|e| StoreError::Unavailable(format!("the SQLite file: {e}")))?;
            if let Some(fault) = fault
                && self.fault.set(fault.clone()).is_ok()
            {
                log::error!(
                    "{}; nothing is issued or changed until a restart: stop the service, put \
                     the files back or restore a backup, and start it again",
                    fault.what
                );
            }
        }
        match self.fault.get() {
            None => Ok(()),
            Some(fault) => Err(StoreError::Unavailable(format!(
                "{}; restart the service when the files are in order",
                fault.what
            ))),
        }
    }

    /// Whether a log that becomes smaller can be told from a damaged one.
    pub(super) const fn log_may_shrink(&self) -> bool {
        self.wal.counts_frames()
    }

    fn find_fault(&self) -> io::Result<Option<FileFault>> {
        let file = examine(&self.path, self.file)?;
        let wal = examine(self.wal.path(), self.wal_file)?;
        // Lost content comes first, since it decides how to stop.
        if let Found::Same { size, .. } = file
            && size < self.largest.fetch_max(size, Ordering::Relaxed)
        {
            return Ok(Some(FileFault::of_content(
                &self.path,
                "truncated, overwritten or vacuumed",
            )));
        }
        if let Found::Same { size, .. } = wal {
            let known = self.wal_size.fetch_max(size, Ordering::Relaxed);
            if size < known {
                // Other tools may empty it after a checkpoint.
                match self.wal.measure(known)? {
                    Some(size) => self.wal_size.store(size, Ordering::Relaxed),
                    None => return Ok(Some(self.lost_log())),
                }
            }
        }
        let what = match (file, wal) {
            (Found::Other(what), _) | (_, Found::Other(what)) => what,
            (Found::Same { links, .. }, Found::Same { .. }) if links > 1 => linked(&self.path),
            (Found::Same { .. }, Found::Same { .. }) => return Ok(None),
        };
        Ok(Some(FileFault {
            what,
            loses_content: false,
        }))
    }

    /// The same before the last connection is closed, which writes the log into the database.
    fn find_fault_at_stop(&self) -> io::Result<Option<FileFault>> {
        if self.wal.counts_frames() {
            self.wal_size.store(NOT_MEASURED, Ordering::Relaxed);
            return self.find_fault();
        }
        let fault = self.find_fault()?;
        if fault.is_none() && !self.wal.begins_like_a_log()? {
            return Ok(Some(self.lost_log()));
        }
        Ok(fault)
    }

    fn lost_log(&self) -> FileFault {
        let what = if self.wal.counts_frames() {
            "truncated or overwritten"
        } else {
            "truncated or overwritten, or emptied by another tool, which this version of SQLite does not tell"
        };
        FileFault::of_content(self.wal.path(), what)
    }
}

impl Drop for SqliteFile {
    fn drop(&mut self) {
        let noticed = self.fault.get().cloned();
        let fault = match noticed {
            Some(fault) if fault.loses_content => Ok(Some(fault)),
            Some(_) | None => self.find_fault_at_stop(),
        };
        let why = match fault {
            Ok(Some(fault)) if fault.loses_content => fault.what,
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        log::error!(
            "{why}; the log `{}` is left as it is, and not written into the database",
            self.wal.path().display()
        );
        self.wal.keep_open();
    }
}

impl FileFault {
    fn of_content(path: &Path, what: &str) -> Self {
        Self {
            what: format!("the SQLite file `{}` was {what}", path.display()),
            loses_content: true,
        }
    }
}

enum Found {
    /// The file that was opened.
    Same { size: u64, links: u64 },
    /// What happened to it.
    Other(String),
}

/// Compares the file at a path with the one that was opened. An error of the file system itself
/// does not say that they differ.
fn examine(path: &Path, opened: FileId) -> io::Result<Found> {
    let what = match fs::metadata(path) {
        Ok(found) if FileId::from(&found) == opened => {
            return Ok(Found::Same {
                size: found.len(),
                links: found.nlink(),
            });
        }
        Ok(_) => "replaced",
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            "moved or removed"
        }
        Err(error) => return Err(error),
    };
    Ok(Found::Other(format!(
        "the SQLite file `{}` was {what}",
        path.display()
    )))
}
