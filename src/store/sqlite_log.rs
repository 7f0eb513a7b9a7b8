//! The log of an open SQLite database: whether it still has what SQLite believes to be in it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl as _, sql_query};
use parking_lot::Mutex;

use super::connection::{AnyConnection, on_either};

/// The sizes of the headers of the log and of each frame in it, which is followed by one page
/// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The first bytes of a log. The last one differs by the byte order of the checksums.
const LOG_MAGICS: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];

/// Larger than any log, which is measured if it became smaller.
pub(super) const NOT_MEASURED: u64 = u64::MAX;

/// The first version that knows `PRAGMA wal_checkpoint(NOOP)`. An older one makes a checkpoint
/// instead, which would copy a damaged log over the database.
const COUNTS_FRAMES: [u32; 2] = [3, 51];

/// How often the frames are counted anew because others wrote meanwhile. One comparison takes
/// microseconds, and fails only if the log was emptied within them.
const MAX_COUNTS: usize = 100;

/// How often in a row frames have to be missing. Between two counts that agree, the log may have
/// been emptied and filled with as many frames; what is damaged stays so.
const MAX_MISSING: usize = 5;

/// The log, and the connection that is closed last.
#[derive(Debug)]
pub(super) struct SqliteLog {
    path: PathBuf,
    page_size: u64,
    counts_frames: bool,
    /// The last connection that is closed writes the log into the database and deletes it. This one
    /// is closed after all others, or never.
    keeper: Mutex<Option<Keeper>>,
}

struct Keeper(AnyConnection);

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper(..)")
    }
}

impl SqliteLog {
    /// The log of the database at this path, without symbolic links.
    pub(super) fn open(connection: AnyConnection, database: &Path) -> QueryResult<Self> {
        let mut keeper = Keeper(connection);
        // SQLite opens the log at the first read.
        keeper.number("SELECT count(*) AS number FROM sqlite_master")?;
        let page_size = keeper.number("SELECT page_size AS number FROM pragma_page_size")?;
        let version = keeper.sqlite_version()?;
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        Ok(Self {
            path: path.into(),
            page_size,
            counts_frames: is_able_to_count_frames(&version),
            keeper: Mutex::new(Some(keeper)),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether SQLite says how many frames it counts. If not, every log that becomes smaller is
    /// taken for damaged.
    pub(super) const fn counts_frames(&self) -> bool {
        self.counts_frames
    }

    /// The size of the log, or `None` if it lacks frames that SQLite counts in its shared memory.
    /// `known` is its former size.
    pub(super) fn measure(&self, known: u64) -> io::Result<Option<u64>> {
        let size = || Ok(fs::metadata(&self.path)?.len());
        if !self.counts_frames {
            let size = size()?;
            return Ok((known == NOT_MEASURED || size >= known).then_some(size));
        }
        let mut keeper = self.keeper.lock();
        let Some(keeper) = keeper.as_mut() else {
            return Ok(None);
        };
        let frames = || keeper.log_frames().map_err(io::Error::other);
        compare(frames, size, self.page_size, || self.begins_like_a_log())
    }

    /// Whether the log is empty or begins like one. SQLite has no locks on it that closing it would
    /// release.
    pub(super) fn begins_like_a_log(&self) -> io::Result<bool> {
        let mut start = Vec::new();
        File::open(&self.path)?
            .take(LOG_MAGICS[0].len() as u64)
            .read_to_end(&mut start)?;
        Ok(start.is_empty() || LOG_MAGICS.iter().any(|magic| *magic == *start))
    }

    /// Never closes the connection. While it is open, no other one of this process is the last.
    pub(super) fn keep_open(&mut self) {
        std::mem::forget(self.keeper.get_mut().take());
    }
}

/// The size of the log, or `None` if it lacks frames that are counted.
///
/// # Errors
/// If others change the log faster than it can be measured, which says nothing about it.
fn compare(
    mut frames: impl FnMut() -> io::Result<u64>,
    size: impl Fn() -> io::Result<u64>,
    page_size: u64,
    begins_like_a_log: impl Fn() -> io::Result<bool>,
) -> io::Result<Option<u64>> {
    let (mut counted, mut missing) = (frames()?, 0);
    for _ in 0..MAX_COUNTS {
        // SQLite writes frames before it counts them, and truncates the log after it has set the
        // count to zero.
        let size = size()?;
        if counted == 0 {
            return Ok(Some(size));
        }
        let needed = LOG_HEADER + counted * (FRAME_HEADER + page_size);
        if size >= needed && begins_like_a_log()? {
            return Ok(Some(size));
        }
        let before = counted;
        counted = frames()?;
        missing = if counted == before { missing + 1 } else { 0 };
        if missing == MAX_MISSING {
            return Ok(None);
        }
    }
    Err(io::Error::other(
        "the log changes too often to be measured; retry when less is written",
    ))
}

fn is_able_to_count_frames(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0)] >= COUNTS_FRAMES
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

    /// The version of the library that is linked, which need not be the one of the build.
    fn sqlite_version(&mut self) -> QueryResult<String> {
        #[derive(QueryableByName)]
        struct SqliteVersion {
            #[diesel(sql_type = Text)]
            version: String,
        }
        let query = sql_query("SELECT sqlite_version() AS version");
        let found: SqliteVersion = on_either!(&mut self.0, c => query.get_result(c))?;
        Ok(found.version)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use diesel::Connection as _;
    use diesel::connection::SimpleConnection as _;
    use diesel::sqlite::SqliteConnection;

    use super::*;

    #[test]
    fn an_old_sqlite_is_not_asked_to_count() {
        for (version, is_able) in [
            ("3.51.0", true),
            ("3.51.3", true),
            ("3.53.0", true),
            ("4.0.0", true),
            ("3.50.4", false),
            ("3.46.1", false),
            ("3.6", false),
            ("", false),
            ("x.y", false),
        ] {
            assert_eq!(is_able_to_count_frames(version), is_able, "{version}");
        }
    }

    #[test]
    fn a_log_that_always_changes_is_neither_sound_nor_damaged() {
        let mut count = 1_000_000;
        let counted = std::cell::Cell::new(0);
        let frames = || {
            counted.set(counted.get() + 1);
            count -= 1;
            Ok(count)
        };
        let outcome = compare(frames, || Ok(0), 4096, || Ok(true));
        assert!(
            outcome
                .expect_err("no end")
                .to_string()
                .contains("too often")
        );
        assert_eq!(counted.get(), MAX_COUNTS + 1);
    }

    #[test]
    fn frames_that_are_counted_and_missing_are_found() {
        let measured = |size| compare(|| Ok(2), || Ok(size), 4096, || Ok(true)).expect("a size");
        let whole = LOG_HEADER + 2 * (FRAME_HEADER + 4096);
        assert_eq!(measured(whole), Some(whole));
        assert_eq!(measured(whole - 1), None);
        // Emptied and filled anew, twice, while it was measured.
        let times = std::cell::Cell::new(0);
        let size = || {
            times.set(times.get() + 1);
            Ok(if times.get() < 3 { 0 } else { whole })
        };
        let refilled = compare(|| Ok(2), size, 4096, || Ok(true));
        assert_eq!(refilled.expect("a size"), Some(whole));
        let emptied = compare(|| Ok(0), || Ok(0), 4096, || Ok(false));
        assert_eq!(emptied.expect("a size"), Some(0));
    }

    /// What a build with the SQLite of the system does.
    #[test]
    fn without_a_count_a_smaller_log_is_damaged_and_no_checkpoint_is_made() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let database = dir.path().join("old.sqlite");
        let connect = || SqliteConnection::establish(&database.to_string_lossy());
        let mut writer = connect().expect("a database");
        writer
            .batch_execute(
                "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x); \
                 INSERT INTO t VALUES (1);",
            )
            .expect("a table");
        let connection = AnyConnection::Sqlite(connect().expect("a connection"));
        let log = SqliteLog::open(connection, &database).expect("a log");
        let log = SqliteLog {
            counts_frames: false,
            ..log
        };
        let before = fs::metadata(&database).expect("the file").len();
        let size = log.measure(NOT_MEASURED).expect("a size").expect("sound");
        assert!(size > LOG_HEADER && log.begins_like_a_log().expect("a start"));
        assert_eq!(log.measure(size).expect("a size"), Some(size));
        let file = OpenOptions::new().write(true).open(log.path()).expect("it");
        file.set_len(size / 2).expect("truncated");
        assert_eq!(log.measure(size).expect("a size"), None);
        let after = fs::metadata(&database).expect("the file").len();
        assert_eq!(before, after, "nothing was copied into the database");
        let mut log = log;
        log.keep_open();
        std::mem::forget(writer);
    }
}
