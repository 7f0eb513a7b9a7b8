//! Whether the file of an SQLite database is still the one that was opened.
//!
//! SQLite keeps its files open, so it does not notice if one is removed or replaced: it goes on to
//! commit into files that no name leads to, and everything is lost when the process ends. So each
//! transaction compares the files at the path with those that were opened. A difference is final
//! until a restart, even if the files return: meanwhile another process may have written to them.
//!
//! Nor does SQLite notice if its log loses content. It would copy zeros over the database when the
//! last connection is closed, so in that case one is never closed.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::sql_types::BigInt;
use diesel::{ConnectionError, QueryResult, QueryableByName, RunQueryDsl as _, sql_query};
use parking_lot::Mutex;

use super::connection::{AnyConnection, IfMissing, on_either};
use super::database_url::DatabaseUrl;
use super::error::{OpenError, StoreError};

/// The sizes of the headers of the log and of each frame in it, which is followed by one page
/// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The first bytes of a log. The last one differs by the byte order of the checksums.
const LOG_MAGICS: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];

/// Larger than any log, which is measured if it became smaller.
const NOT_MEASURED: u64 = u64::MAX;

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
    wal: PathBuf,
    wal_file: FileId,
    /// The largest size of the file so far. SQLite only makes it smaller in a VACUUM.
    largest: AtomicU64,
    page_size: u64,
    /// The size of the log at the last check, or [`NOT_MEASURED`].
    wal_size: AtomicU64,
    /// What happened to the files, once something has.
    fault: OnceLock<FileFault>,
    /// The last connection that is closed writes the log into the database and deletes it. This one
    /// is closed after all others, or never.
    keeper: Mutex<Option<Keeper>>,
}

#[derive(Debug, Clone)]
struct FileFault {
    what: String,
    /// Whether an open file lost content. If it was only moved or removed, SQLite still has all.
    loses_content: bool,
}

struct Keeper(AnyConnection);

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
        let mut keeper = Keeper(url.connect(IfMissing::Fail).map_err(|e| failed(&e))?);
        // SQLite opens the log at the first read.
        keeper
            .number("SELECT count(*) AS number FROM sqlite_master")
            .map_err(|e| failed(&e))?;
        let page_size = keeper
            .number("SELECT page_size AS number FROM pragma_page_size")
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
            page_size,
            wal_size: AtomicU64::new(NOT_MEASURED),
            fault: OnceLock::new(),
            keeper: Mutex::new(Some(keeper)),
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

    fn find_fault(&self) -> io::Result<Option<FileFault>> {
        let file = examine(&self.path, self.file)?;
        let wal = examine(&self.wal, self.wal_file)?;
        // Lost content comes first, since it decides how to stop.
        if let Found::Same { size, .. } = file
            && size < self.largest.fetch_max(size, Ordering::Relaxed)
        {
            return Ok(Some(FileFault::of_content(
                &self.path,
                "truncated, overwritten or vacuumed",
            )));
        }
        if let Found::Same { size, .. } = wal
            && size < self.wal_size.fetch_max(size, Ordering::Relaxed)
        {
            // Other tools may empty it after a checkpoint.
            match self.measure_log()? {
                Some(size) => self.wal_size.store(size, Ordering::Relaxed),
                None => {
                    return Ok(Some(FileFault::of_content(
                        &self.wal,
                        "truncated or overwritten",
                    )));
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

    /// The size of the log, or `None` if it lacks frames that SQLite counts in its shared memory.
    fn measure_log(&self) -> io::Result<Option<u64>> {
        let mut keeper = self.keeper.lock();
        let Some(keeper) = keeper.as_mut() else {
            return Ok(None);
        };
        let mut frames = keeper.log_frames().map_err(io::Error::other)?;
        loop {
            // SQLite writes frames before it counts them, and truncates the log after it has set
            // the count to zero.
            let size = fs::metadata(&self.wal)?.len();
            if frames == 0 {
                return Ok(Some(size));
            }
            if size >= LOG_HEADER + frames * (FRAME_HEADER + self.page_size) && self.is_log()? {
                return Ok(Some(size));
            }
            let before = frames;
            frames = keeper.log_frames().map_err(io::Error::other)?;
            if frames == before {
                return Ok(None);
            }
        }
    }

    /// Whether the log begins like one. SQLite has no locks on it that closing it would release.
    fn is_log(&self) -> io::Result<bool> {
        let mut magic = [0; 4];
        File::open(&self.wal)?.read_exact(&mut magic)?;
        Ok(LOG_MAGICS.contains(&magic))
    }
}

impl Drop for SqliteFile {
    fn drop(&mut self) {
        let noticed = self.fault.get().cloned();
        self.wal_size = AtomicU64::new(NOT_MEASURED);
        let fault = match noticed {
            Some(fault) if fault.loses_content => Ok(Some(fault)),
            Some(_) | None => self.find_fault(),
        };
        let why = match fault {
            Ok(Some(fault)) if fault.loses_content => fault.what,
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        log::error!(
            "{why}; the log `{}` is left as it is, and not written into the database",
            self.wal.display()
        );
        // While it is open, no other connection of this process is the last.
        std::mem::forget(self.keeper.get_mut().take());
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

impl Keeper {
    /// The frames of the log that are valid. Makes no checkpoint.
    fn log_frames(&mut self) -> QueryResult<u64> {
        #[derive(QueryableByName)]
        struct Checkpoint {
            #[diesel(sql_type = BigInt)]
            log: i64,
        }
        let query = sql_query("PRAGMA wal_checkpoint(NOOP)");
        let found: Checkpoint = on_either!(&mut self.0, c => query.get_result(c))?;
        // It is negative while another connection rebuilds the shared memory.
        let frames = found.log.try_into();
        frames.map_err(|e| diesel::result::Error::DeserializationError(Box::new(e)))
    }

    fn number(&mut self, query: &str) -> QueryResult<u64> {
        #[derive(QueryableByName)]
        struct PragmaValue {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let found: PragmaValue = on_either!(&mut self.0, c => sql_query(query).get_result(c))?;
        Ok(found.number.try_into().unwrap_or(0))
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
