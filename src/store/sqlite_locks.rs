//! Locks among the processes that use one SQLite file, as locked files beside it. SQLite's own
//! locks keep the data right; these keep processes from starving each other.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::database_url::DatabaseUrl;
use super::error::OpenError;

/// The longest wait for a turn. Then a transaction begins without one: a process that was stopped
/// while it had the turn must not stop all others.
const MAX_TURN_WAIT: Duration = Duration::from_secs(1);
const TURN_RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// Held by the one process that serves. The file stays when the process ends; the lock does not.
#[derive(Debug)]
pub(super) struct ServeLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl ServeLock {
    /// Takes the lock, or says who has it. `None` for PostgreSQL, which replicas share.
    pub(super) fn acquire(url: &DatabaseUrl) -> Result<Option<Self>, OpenError> {
        let DatabaseUrl::Sqlite(database) = url else {
            return Ok(None);
        };
        let (path, file) = open_beside(database, ".lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(OpenError::Served(path)),
            Err(TryLockError::Error(error)) => Err(OpenError::Lock { path, error }),
        }
    }
}

/// Whose turn it is to begin a write transaction. SQLite's lock is not fair: a process that
/// commits and begins again at once takes it each time, and one that waits sees it free for
/// microseconds only. A process that has the turn is the next to write.
#[derive(Debug)]
pub(super) struct WriteTurns(File);

impl WriteTurns {
    pub(super) fn open(url: &DatabaseUrl) -> Result<Option<Self>, OpenError> {
        let DatabaseUrl::Sqlite(database) = url else {
            return Ok(None);
        };
        let (_, file) = open_beside(database, ".turn")?;
        Ok(Some(Self(file)))
    }

    /// Waits for the turn, which lasts until the returned value is dropped: as soon as the
    /// transaction has begun. `None` if there is none to be waited for.
    pub(super) fn wait(&self) -> Option<Turn<'_>> {
        let started = Instant::now();
        loop {
            match self.0.try_lock() {
                Ok(()) => return Some(Turn(&self.0)),
                Err(TryLockError::WouldBlock) if started.elapsed() < MAX_TURN_WAIT => {
                    thread::sleep(TURN_RETRY_INTERVAL);
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Turn<'a>(&'a File);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Gives a file the owner and the mode of the database, as SQLite does with its log: root may run a
/// command before the service, whose user then has to open the file too. Only the owner and root
/// can do that, so a failure means nothing.
fn belong_to_owner(file: &File, database: &Path) {
    let (Ok(own), Ok(database)) = (file.metadata(), fs::metadata(database)) else {
        return;
    };
    if (own.uid(), own.gid()) != (database.uid(), database.gid()) {
        let _ = fchown(file, Some(database.uid()), Some(database.gid()));
    }
    let mode = database.mode() & 0o666;
    if own.mode() & 0o777 != mode {
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
}

/// Opens a file beside the database, wherever links to it are. SQLite itself never opens it:
/// closing a second handle of one of its files would release its locks.
fn open_beside(database: &Path, suffix: &str) -> Result<(PathBuf, File), OpenError> {
    let real = fs::canonicalize(database);
    let mut path = real
        .unwrap_or_else(|_| database.to_owned())
        .into_os_string();
    path.push(suffix);
    let path = PathBuf::from(path);
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    match opened {
        Ok(file) => {
            belong_to_owner(&file, database);
            Ok((path, file))
        }
        Err(error) => Err(OpenError::Lock { path, error }),
    }
}
